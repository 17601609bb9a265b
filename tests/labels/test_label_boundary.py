import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.feature import canny

from sfumato.errors import ValueRangeError
from sfumato.labels import boundary_voxels
from strategies import label_maps


@given(label_maps())
def test_inner_and_outer_are_what_erosion_and_dilation_change(case):
    region = case[0] == 1
    array = region.numpy()
    cross = ndimage.generate_binary_structure(array.ndim, 1)
    inner = array & ~ndimage.binary_erosion(array, cross)
    outer = ~array & ndimage.binary_dilation(array, cross)
    if not array.any():
        return
    assert np.array_equal(boundary_voxels(region, rule="inner").voxels.numpy(), inner)
    assert np.array_equal(
        boundary_voxels(region, rule="outer").voxels.numpy(), outer if outer.any() else inner
    )
    assert np.array_equal(boundary_voxels(region, rule="both").voxels.numpy(), inner | outer)


@pytest.mark.parametrize("rule", ["canny", "inner", "outer", "both"])
@pytest.mark.parametrize("shape", [(4, 6), (3, 4, 5), (1, 4, 5), (1, 1, 1)])
def test_a_region_that_fills_the_image_has_the_image_border(rule, shape):
    found = boundary_voxels(torch.ones(shape, dtype=torch.bool), rule=rule)
    border = torch.ones(shape, dtype=torch.bool)
    border[tuple(slice(1, side - 1) for side in shape)] = False
    assert torch.equal(found.voxels, border)
    assert found.found_by == ("both" if rule == "both" else "inner")


@pytest.mark.parametrize("rule", ["canny", "inner", "outer", "both"])
def test_an_empty_region_has_no_boundary(rule):
    found = boundary_voxels(torch.zeros(3, 4, dtype=torch.bool), rule=rule)
    assert not found.voxels.any()


@given(st.sampled_from((0, 1, 2, -1)))
def test_canny_goes_slice_by_slice_along_the_axis(slice_axis):
    region = torch.zeros(9, 10, 11, dtype=torch.bool)
    region[3:7, 2:8, 4:9] = True
    found = boundary_voxels(region, rule="canny", slice_axis=slice_axis)
    for index in range(region.shape[slice_axis]):
        expected = canny(region.select(slice_axis, index).double().numpy())
        assert np.array_equal(found.voxels.select(slice_axis, index).numpy(), expected)
    assert found.found_by == "canny"


def test_canny_of_a_flat_image_is_that_of_the_image():
    region = torch.zeros(12, 9, dtype=torch.bool)
    region[3:8, 2:7] = True
    expected = canny(region.double().numpy())
    assert np.array_equal(boundary_voxels(region).voxels.numpy(), expected)
    assert expected.any()


def test_a_slice_axis_beyond_the_image_is_refused():
    with pytest.raises(ValueRangeError, match="slice_axis is 3, but the region has 3 axes"):
        boundary_voxels(torch.ones(2, 2, 2, dtype=torch.bool), slice_axis=3)
