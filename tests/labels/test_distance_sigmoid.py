import math

import pytest
import torch
from hypothesis import given

from sfumato.errors import ValueRangeError
from sfumato.labels import distance_sigmoid
from strategies import label_maps


def test_it_is_the_sigmoid_of_millimetres_over_the_width():
    region = torch.tensor([[[0, 0, 1, 1, 1, 1]]])
    found = distance_sigmoid(region, spacing=(1.0, 3.0), width_mm=2.0)[0, 0]
    expected = [1 / (1 + math.exp(-d / 2)) for d in (-6, -3, 3, 6, 9, 12)]
    assert found.tolist() == pytest.approx(expected)


@given(label_maps())
def test_a_threshold_of_one_half_gives_the_region_back(case):
    labels, num_classes, spacing = case
    regions = torch.stack([labels == k for k in range(num_classes)])
    maps = distance_sigmoid(regions, spacing=spacing)
    assert torch.equal(maps > 0.5, regions)
    for region, each in zip(regions, maps, strict=True):
        if not region.any():
            assert each.max() == 0
        if region.all():
            assert each.min() == 1


def test_a_narrow_fade_tends_to_the_mask():
    region = torch.tensor([[[0, 1, 1, 0]]])
    torch.testing.assert_close(
        distance_sigmoid(region, spacing=(1.0, 1.0), width_mm=1e-3), region.float(), atol=1e-6, rtol=0
    )


def test_a_width_of_zero_is_refused():
    with pytest.raises(ValueRangeError, match="width_mm is 0"):
        distance_sigmoid(torch.ones(1, 2, 2), spacing=(1.0, 1.0), width_mm=0.0)
