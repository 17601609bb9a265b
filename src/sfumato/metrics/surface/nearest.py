"""Exact distance from each element of either of two surfaces to the nearest element of the other.

Surfaces of two similar masks lie within a few voxels of each other. So each line of the grid first
learns, by two sweeps, how far its voxels are from the nearest element on the same line; then every point
asks the lines around it, nearest first, until no line further out can hold anything nearer. That is one
byte looked up per point and line, and about ``pi r^2`` lines for a distance of ``r`` voxels. Where this
would cost more than a k-d tree (distant surfaces), the points that are left go to one.

The search is an idea of our own; its first step is that of the separable distance transforms: Saito and
Toriwaki (1994), New algorithms for euclidean distance transformation, 10.1016/0031-3203(94)90133-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Positions = npt.NDArray[np.intp]
Lengths = npt.NDArray[np.float64]
Triple = tuple[int, int, int]

_FAR = 254  # on a line: no target, or one at least this many voxels away
_MOST_LINES = 1200
# What things cost, in nanoseconds on one core; they only decide when to change over to the tree.
_LOOKUP, _TREE_TARGET, _TREE_POINT = 1.5, 100.0, 2.5e3
_BLOCK = 4096  # lookups at a time, so that their results stay in the cache
_ONE = np.uint8(1)


@dataclass(frozen=True)
class Field:
    """A grid in which distances are wanted; the first axis should be the finest."""

    shape: Triple
    span: Triple  # the furthest that two positions can lie apart, in voxels
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class _Lines:
    """The lines around a point, nearest first."""

    rows: Positions
    columns: Positions
    squares: Lengths  # squared distance from the point, mm2
    ring_ends: Positions  # per line, one past the last line of the same distance
    end: float  # squared distance up to which, exclusively, every line is listed


def nearest_distances(positions: Positions, field: Field) -> Lengths:
    """Compute the distance in mm from each element to the nearest element of the other surface.

    Args:
        positions: Flat positions in two grids of ``field.shape`` whose planes alternate; at least one
            in each grid.
        field: The grid.

    Returns:
        One distance per position, float64.
    """
    around = _lines_around(field)
    squared, left = _search_lines(positions, field, around)
    if len(left):
        squared[left] = _search_tree(positions, left, field)
    return np.sqrt(squared)


@lru_cache(maxsize=32)
def _lines_around(field: Field) -> _Lines:
    """List the lines nearest to a point, up to about ``_MOST_LINES`` of them."""
    (_, row_span, column_span), (line_mm, row_mm, column_mm) = field.span, field.spacing
    # A circle of that many lines, or, in a narrow grid, a strip of them.
    radius = max(
        np.sqrt(_MOST_LINES * row_mm * column_mm / np.pi),
        _MOST_LINES * column_mm / (4 * row_span + 2),
        _MOST_LINES * row_mm / (4 * column_span + 2),
    )
    row_reach = int(min(row_span, radius // row_mm))
    column_reach = int(min(column_span, radius // column_mm))
    grid = np.mgrid[-row_reach : row_reach + 1, -column_reach : column_reach + 1]
    rows, columns = grid.reshape(2, -1)
    squares = (rows * row_mm) ** 2 + (columns * column_mm) ** 2
    whole = row_reach == row_span and column_reach == column_span
    end = np.inf if whole else min((row_reach + 1) * row_mm, (column_reach + 1) * column_mm) ** 2
    if field.span[0] >= _FAR:
        end = min(end, (_FAR * line_mm) ** 2)  # a target that far along its own line is not seen
    order = np.argsort(squares, kind="stable")
    order = order[: np.searchsorted(squares[order], end)]
    squares = squares[order]
    ring_ends = np.searchsorted(squares, squares, side="right")
    return _Lines(rows[order], columns[order], squares, ring_ends, float(end))


def _search_lines(positions: Positions, field: Field, around: _Lines) -> tuple[Lengths, Positions]:
    """Compute squared distances, and the indices of the points for which they may still be too large."""
    rim = (int(around.rows.max()), int(around.columns.max()))
    row_length = field.shape[2] + rim[1]
    plane_size = (field.shape[1] + rim[0]) * row_length
    plane = positions // (field.shape[1] * field.shape[2])
    at = positions + (positions // field.shape[2]) * rim[1] + plane * (rim[0] * row_length)
    lines = _distances_along_lines(at, field.shape[0], plane_size)
    at += np.where(plane & 1, -plane_size, plane_size)  # from here on, the same place in the other grid
    steps = around.rows * row_length + around.columns
    squares = np.full(_FAR + 1, np.inf)
    squares[:_FAR] = (np.arange(_FAR) * field.spacing[0]) ** 2

    squared = np.full(len(at), np.inf)
    best, left = squared, np.arange(len(at))
    spent, line, end = 0.0, 0, around.end
    while line < len(steps):
        going_on = best > around.squares[line]
        count = np.count_nonzero(going_on)
        if count < 0.8 * len(left):
            squared[left] = best
            keep = np.flatnonzero(going_on)
            best, left, at = best.take(keep), left.take(keep), at.take(keep)
        if count == 0:
            break
        if spent > _TREE_TARGET * len(positions) + _TREE_POINT * count:
            end = around.squares[line]
            break
        block = max(_BLOCK // len(left), 1)
        if block > 1:  # few points: many lines at once
            upto = line + block
            along = lines.take(steps[line:upto, None] + at, mode="wrap")
            here = squares.take(along)
            here += around.squares[line:upto, None]
            here = here.min(axis=0)
        else:  # many points: the lines of one ring after another
            upto = int(around.ring_ends[line])
            along = lines.take(at + steps[line], mode="wrap")
            for step in steps[line + 1 : upto]:
                np.minimum(along, lines.take(at + step, mode="wrap"), out=along)
            here = (squares + around.squares[line]).take(along)
        best = np.minimum(best, here)
        spent += _LOOKUP * len(left) * (upto - line)
        line = upto
    squared[left] = best
    return squared, left[best > end]


def _distances_along_lines(targets: Positions, planes: int, plane_size: int) -> npt.NDArray[np.uint8]:
    """Compute, flat, each voxel's distance in voxels to the nearest target along the first axis."""
    grid = np.full((planes, 2 * plane_size), _FAR, np.uint8)
    grid.reshape(-1)[targets] = 0
    step = np.empty_like(grid[0])
    for order in (range(1, planes), range(planes - 2, -1, -1)):
        for index in order:
            plane = grid[index]
            np.add(grid[index - order.step], _ONE, out=step)  # at most _FAR + 1, which a byte still holds
            np.minimum(plane, step, out=plane)
    return grid.reshape(-1)


def _search_tree(positions: Positions, left: Positions, field: Field) -> Lengths:
    """Compute the squared distances of the elements ``left``, by a k-d tree."""
    planes = np.unravel_index(positions, (field.shape[0], 2, *field.shape[1:]))
    voxels = np.stack((planes[0], *planes[2:]), axis=1)
    squared = np.empty(len(left))
    for which in (0, 1):
        wanted = planes[1][left] == which
        if not wanted.any():
            continue
        here, there = voxels[left[wanted]], voxels[planes[1] != which]
        tree = cKDTree(there * field.spacing, leafsize=32, balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(here * field.spacing)
        # From whole voxels again, so that equal offsets give equal distances to the last bit.
        squared[wanted] = (((here - there[nearest]) * field.spacing) ** 2).sum(axis=1)
    return squared
