import numpy as np
import pytest
import torch

from sfumato.report import Overlay
from sfumato.report.slices import (
    across,
    aspect,
    foreground_maps,
    fullest,
    grey,
    painted,
    shown_mask,
    view,
    window,
)
from sfumato.structures import TARGET_KINDS


def test_volume_is_shown_with_the_earlier_axis_right_and_the_later_one_up():
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    for axis, (right, up) in {0: (1, 2), 1: (0, 2), 2: (0, 1)}.items():
        picture = view(array, axis, 1)
        assert picture.shape == (array.shape[up], array.shape[right])
        place = [1, 1, 1]
        place[right], place[up] = array.shape[right] - 1, 0
        assert picture[-1, -1] == array[tuple(place)]


def test_picture_stays_as_it_is_stored():
    array = np.arange(6).reshape(2, 3)
    assert np.array_equal(view(array, None, 0), array)


def test_coarse_axis_is_sliced_across_and_the_last_one_otherwise():
    assert across((0.5, 0.5, 7.5)) == 2
    assert across((7.5, 0.5, 0.5)) == 0
    assert across((1.0, 1.2, 1.0)) == 2
    assert across((1.0, 1.0)) is None


def test_aspect_is_the_height_over_the_width_of_a_voxel():
    assert aspect((1.0, 2.0, 5.0), 2) == 2.0
    assert aspect((1.0, 2.0, 5.0), 0) == 2.5
    assert aspect((3.0, 1.5), None) == 2.0


def test_fullest_slice_of_an_empty_mask_is_the_middle_one():
    mask = np.zeros((4, 5, 7), dtype=bool)
    assert fullest(mask, 2) == 3
    mask[1:3, 2, 5] = True
    mask[1, 0, 1] = True
    assert (fullest(mask, 2), fullest(mask, 0)) == (5, 1)


def test_window_holds_the_whole_mask():
    mask = np.zeros((40, 60), dtype=bool)
    mask[3:9, 20:50] = True
    assert mask[window(mask)].sum() == mask.sum()
    assert window(np.zeros((4, 5), dtype=bool)) == (slice(None), slice(None))


def test_grey_runs_from_black_to_white_whatever_the_image():
    image = torch.linspace(-500, 900, 1000).reshape(1, 10, 10, 10)
    values = grey(image)
    assert (values.min(), values.max(), values.dtype) == (0.0, 1.0, np.float32)
    assert not grey(torch.full((1, 3, 4), 7.0)).any()
    colours = torch.stack([torch.zeros(3, 4), torch.ones(3, 4), torch.eye(3, 4) * 2])
    assert np.array_equal(grey(colours) == 1.0, np.eye(3, 4, dtype=bool))


@pytest.mark.parametrize("kind", TARGET_KINDS)
def test_foreground_maps_are_weights_of_the_foreground(kind):
    weights = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    stored = {
        "classes": torch.cat([torch.ones(1, 3, 4), weights]),
        "regions": weights,
        "signed": weights * 2 - 1,
    }[kind]
    overlay = Overlay(torch.zeros(3, 4, dtype=torch.int64), stored, TARGET_KINDS[kind])
    np.testing.assert_allclose(foreground_maps(stored, overlay), weights.numpy(), atol=1e-6)


def test_no_soft_value_leaves_the_picture_grey_and_a_full_one_covers_it():
    background = np.full((2, 3), 0.5, dtype=np.float32)
    empty, full = np.zeros((2, 3), dtype=np.float32), np.ones((2, 3), dtype=np.float32)
    assert np.allclose(painted(background, [empty, empty]), 0.5)
    covered = painted(background, [full, empty], strength=1.0)
    np.testing.assert_allclose(covered[0, 0] * 255, [0xE6, 0x9F, 0x00], atol=0.5)


def test_case_without_reference_is_shown_where_something_is_predicted(made_up):
    case = made_up.case("c")
    assert np.array_equal(shown_mask(case), case.reference.numpy() > 0)
