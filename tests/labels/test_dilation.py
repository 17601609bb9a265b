import numpy as np
import pytest
import torch
from hypothesis import given
from scipy import ndimage

from sfumato.errors import ValueRangeError
from sfumato.labels import dilation
from strategies import label_maps


@given(label_maps())
def test_each_ring_is_what_one_more_dilation_adds(case):
    labels, num_classes, _ = case
    regions = torch.stack([labels == k for k in range(num_classes)])
    maps = dilation(regions, values=(0.6, 0.2))
    cross = ndimage.generate_binary_structure(labels.ndim, 1)
    for region, each in zip(regions.numpy(), maps, strict=True):
        once = ndimage.binary_dilation(region, cross)
        twice = ndimage.binary_dilation(once, cross)
        expected = np.where(region, 1.0, np.where(once, 0.6, np.where(twice, 0.2, 0.0)))
        torch.testing.assert_close(each, torch.from_numpy(expected).float())


def test_without_rings_the_region_stays_hard():
    regions = torch.tensor([[[0, 1, 0]]])
    assert torch.equal(dilation(regions, values=()), regions.float())


def test_a_value_beyond_one_is_named():
    with pytest.raises(ValueRangeError, match=r"value 2 of the rings is 1\.5"):
        dilation(torch.ones(1, 2, 2), values=(0.5, 1.5))
