"""Nearest distances: every pair of elements compared, along each of the search's ways."""

import numpy as np
import pytest

from sfumato.metrics.surface import nearest as surface_nearest
from sfumato.metrics.surface.nearest import Field, nearest_distances


def scattered(shape, counts, seed):
    """Flat positions of elements of both grids, ascending, inside a rim as the search expects."""
    rng = np.random.default_rng(seed)
    occupied = np.zeros((shape[0], 2, *shape[1:]), dtype=bool)
    for which, count in enumerate(counts):
        for _ in range(count):
            occupied[
                rng.integers(0, shape[0]), which, rng.integers(0, shape[1]), rng.integers(0, shape[2])
            ] = True
    return np.flatnonzero(occupied)


def every_pair(positions, shape, spacing):
    planes, which, rows, columns = np.unravel_index(positions, (shape[0], 2, *shape[1:]))
    at = np.stack([planes, rows, columns], axis=1)
    result = np.zeros(len(at))
    for side in (0, 1):
        gaps = (at[which == side][:, None] - at[which != side][None]) * np.array(spacing)
        result[which == side] = np.sqrt((gaps**2).sum(axis=2)).min(axis=1)
    return result


CASES = [
    ((9, 8, 16), (60, 80), (1.0, 1.0, 1.0)),
    ((9, 8, 16), (1, 200), (0.5, 0.78, 2.5)),
    ((12, 3, 8), (5, 4), (0.5, 50.0, 0.5)),
    ((3, 30, 40), (300, 3), (1.0, 1.0, 1.0)),
    ((40, 3, 56), (1, 1), (0.1, 3.0, 0.3)),
]


def field(shape, spacing):
    return Field(shape, tuple(side - 1 for side in shape), spacing)


@pytest.mark.parametrize(("shape", "counts", "spacing"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_distance_is_the_smallest_over_every_pair(shape, counts, spacing, seed):
    positions = scattered(shape, counts, seed)
    found = nearest_distances(positions, field(shape, spacing))
    np.testing.assert_allclose(found, every_pair(positions, shape, spacing), rtol=1e-12)


@pytest.mark.parametrize(("shape", "counts", "spacing"), CASES)
def test_tree_gives_what_the_lines_give(shape, counts, spacing, monkeypatch):
    positions = scattered(shape, counts, 7)
    monkeypatch.setattr(surface_nearest, "_TREE_TARGET", 0.0)
    monkeypatch.setattr(surface_nearest, "_TREE_POINT", 1e-3)
    found = nearest_distances(positions, field(shape, spacing))
    np.testing.assert_allclose(found, every_pair(positions, shape, spacing), rtol=1e-12)


@pytest.mark.parametrize("block", [1, 50, 10**6])
def test_number_of_lines_at_a_time_changes_nothing(block, monkeypatch):
    shape, spacing = (9, 12, 16), (0.7, 1.0, 1.3)
    positions = scattered(shape, (40, 30), 3)
    monkeypatch.setattr(surface_nearest, "_BLOCK", block)
    found = nearest_distances(positions, field(shape, spacing))
    np.testing.assert_allclose(found, every_pair(positions, shape, spacing), rtol=1e-12)


def test_points_beyond_the_listed_lines_go_to_the_tree(monkeypatch):
    shape, spacing = (5, 40, 40), (1.0, 1.0, 1.0)
    monkeypatch.setattr(surface_nearest, "_MOST_LINES", 20)
    surface_nearest._lines_around.cache_clear()
    positions = scattered(shape, (30, 6), 5)
    found = nearest_distances(positions, field(shape, spacing))
    surface_nearest._lines_around.cache_clear()
    assert found.max() > 5
    np.testing.assert_allclose(found, every_pair(positions, shape, spacing), rtol=1e-12)


@pytest.mark.parametrize("planes", [128, 254, 255, 256, 257, 700])
def test_far_ends_of_a_long_line_see_each_other(planes):
    # A byte holds distances up to 253 voxels; the first element has a nearer one on another line.
    shape, spacing = (planes, 3, 8), (0.5, 1.0, 60.0)
    occupied = np.zeros((planes, 2, 3, 8), dtype=bool)
    occupied[0, 0, 1, 1] = occupied[planes - 1, 1, 1, 1] = True
    occupied[1, 1, 2, 6] = occupied[planes // 2, 0, 0, 7] = True
    positions = np.flatnonzero(occupied)
    found = nearest_distances(positions, field(shape, spacing))
    np.testing.assert_allclose(found, every_pair(positions, shape, spacing), rtol=1e-12)


def test_the_far_side_of_a_row_is_not_its_neighbour():
    # One rim serves both ends of a row: no element may be seen through it.
    shape, spacing = (3, 4, 8), (1.0, 1.0, 1.0)
    occupied = np.zeros((3, 2, 4, 8), dtype=bool)
    occupied[0, 0, 0, 0] = occupied[2, 1, 3, 7] = True
    found = nearest_distances(np.flatnonzero(occupied), field(shape, spacing))
    np.testing.assert_allclose(found, [np.sqrt(4 + 9 + 49)] * 2)
