"""Surface elements: the definition over every block and voxel, done by SciPy on the whole image."""

import numpy as np
import pytest
from scipy import ndimage

from sfumato.metrics.surface.elements import area_elements, bounding_box, joint_grid, voxel_elements

SHAPES = [(7, 5, 6), (1, 9, 4), (5, 1, 1), (4, 3, 17), (6, 11), (1, 8), (9, 1)]


def pair(shape, seed, density=0.4):
    rng = np.random.default_rng(seed)
    masks = [rng.random(shape) < density for _ in range(2)]
    for mask in masks:
        mask[tuple(rng.integers(0, side) for side in shape)] = True
    return masks


def grid_of(pred, ref, spacing=None):
    spacing = spacing or (1.0,) * pred.ndim
    return joint_grid(pred, ref, (bounding_box(pred), bounding_box(ref)), spacing)


def split(grid, positions):
    """Coordinates of the elements of each mask, without the middle axis of a 2-D grid."""
    planes, which, rows, columns = np.unravel_index(positions, (grid.shape[0], 2, *grid.shape[1:]))
    axes = (planes, columns) if grid.flat else (planes, rows, columns)
    return [np.stack([axis[which == side] for axis in axes], axis=1) for side in (0, 1)]


def joint_box(pred, ref):
    where = np.argwhere(pred | ref)
    return tuple(slice(low, high + 1) for low, high in zip(where.min(0), where.max(0), strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_surface_voxels_are_those_that_an_erosion_removes(shape, seed):
    masks = pair(shape, seed)
    grid = grid_of(*masks)
    positions, weights = voxel_elements(grid)
    for found, mask in zip(split(grid, positions), masks, strict=True):
        edge = mask & ~ndimage.binary_erosion(mask)
        # The grid has a rim of one voxel around the box.
        np.testing.assert_array_equal(found - 1, np.argwhere(edge[joint_box(*masks)]))
    assert (weights == 1).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_surface_blocks_are_those_with_voxels_of_both_kinds(shape, seed):
    masks = pair(shape, seed)
    grid = grid_of(*masks)
    positions, weights = area_elements(grid)
    for found, mask in zip(split(grid, positions), masks, strict=True):
        padded = np.pad(mask[joint_box(*masks)], 1)
        origin = (-1,) * mask.ndim  # the window reaches from a voxel to its next one
        some = ndimage.maximum_filter(padded, 2, origin=origin, mode="constant")
        every = ndimage.minimum_filter(padded, 2, origin=origin, mode="constant")
        np.testing.assert_array_equal(found, np.argwhere(some & ~every))
    assert (weights > 0).all()


def test_box_is_that_of_the_mask_in_every_memory_order():
    rng = np.random.default_rng(0)
    mask = np.zeros((6, 7, 8), dtype=bool)
    mask[1:3, 4, 2:7] = rng.random((2, 5)) < 2
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        stored = np.ascontiguousarray(mask.transpose(order)).transpose(np.argsort(order))
        assert bounding_box(stored) == ((1, 3), (4, 5), (2, 7))
    assert bounding_box(mask[::-1, :, ::2]) == ((3, 5), (4, 5), (1, 4))


def test_empty_mask_has_no_box():
    assert bounding_box(np.zeros((3, 4), dtype=bool)) is None


def test_finest_axis_comes_first():
    pred, ref = pair((5, 6, 4), 0)
    grid = grid_of(pred, ref, (7.5, 0.5, 2.0))
    assert grid.spacing == (0.5, 7.5, 2.0)
    assert grid.shape == (8, 7, 8)


def test_grid_is_a_copy_of_the_masks():
    pred, ref = pair((5, 6, 4), 0)
    grid = grid_of(pred, ref)
    before = grid.bits.copy()
    pred[:] = False
    np.testing.assert_array_equal(grid.bits, before)
