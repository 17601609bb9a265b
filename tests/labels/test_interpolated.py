import numpy as np
import pytest
import torch
from hypothesis import given
from scipy import ndimage

from sfumato.errors import ShapeError, ValueRangeError
from sfumato.labels import interpolated, one_hot
from strategies import label_maps


@given(label_maps())
def test_without_a_size_the_mask_stays_and_becomes_float(case):
    regions = case[0][None] == 1
    assert torch.equal(interpolated(regions), regions.float())


@pytest.mark.parametrize(("shape", "size"), [((6, 9), (4, 13)), ((5, 6, 4), (7, 3, 4)), ((4, 6), (4, 1))])
def test_it_is_the_linear_interpolation_between_voxel_centres(shape, size):
    regions = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) > 0.5
    found = interpolated(regions, size=size)
    centres = [(np.arange(new) + 0.5) * old / new - 0.5 for old, new in zip(shape, size, strict=True)]
    grid = np.meshgrid(*centres, indexing="ij")
    for region, each in zip(regions.numpy(), found, strict=True):
        expected = ndimage.map_coordinates(region.astype(np.float64), grid, order=1, mode="nearest")
        torch.testing.assert_close(each, torch.from_numpy(expected).float(), atol=1e-6, rtol=0)


def test_halving_a_fine_mask_recovers_partial_volume_that_one_hot_loses():
    axis = torch.arange(40.0) + 0.5
    fine = ((axis[:, None] - 19.3) ** 2 + (axis[None] - 20.8) ** 2 < 12.4**2)[None]
    truth = fine.float().reshape(1, 20, 2, 20, 2).mean(dim=(2, 4))
    soft = interpolated(fine, size=(20, 20))
    hard = one_hot(fine[0, ::2, ::2].long(), num_classes=2)[1:]
    assert (soft - truth).abs().max() < 1e-6
    assert (hard - truth).abs().mean() > 0.02


def test_a_distribution_over_classes_stays_one():
    labels = torch.randint(0, 3, (5, 6, 4), generator=torch.Generator().manual_seed(0))
    soft = interpolated(one_hot(labels, num_classes=4), size=(7, 4, 3))
    torch.testing.assert_close(soft.sum(0), torch.ones(7, 4, 3))
    assert soft[3].abs().max() == 0


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="size has 1 values"):
        interpolated(torch.ones(1, 3, 4), size=(2,))
    with pytest.raises(ValueRangeError, match=r"must lie in \[0, 1\]"):
        interpolated(torch.full((1, 3, 4), 1.5))
    with pytest.raises(ValueRangeError, match="at least 1"):
        interpolated(torch.ones(1, 3, 4), size=(0, 2))
    with pytest.raises(ShapeError, match="one to three spatial axes"):
        interpolated(torch.ones(3))
