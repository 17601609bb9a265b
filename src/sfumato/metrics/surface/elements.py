"""Where the surfaces of two masks lie: their joint box, and the surface elements inside it.

A mask becomes a grid of bytes with a rim of zeros, always with three axes (a 2-D mask gets a middle
axis of one). The planes of both masks alternate in one array, ``(planes, 2, rows, row)``, prediction
first, and elements are flat positions in it. Eight voxels at a time are looked at as the bits of a byte,
so that only the few bytes with a surface are unpacked, and a grid takes little memory while it is kept.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sfumato.metrics.surface.areas import surface_sizes

Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Box = tuple[tuple[int, int], ...]

_ONE, _SEVEN = np.uint8(1), np.uint8(7)


@dataclass(frozen=True)
class Grid:
    """The joint box of two masks, their voxels on it, and its spacing; the finest axis comes first."""

    bits: Bytes  # (planes, 2, rows, row / 8), with the rim; lowest bit first
    spacing: tuple[float, float, float]  # mm per axis of the grid; of no meaning for the flat axis
    flat: bool  # the middle axis stands for nothing

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that stand for an axis of the image."""
        return (0, 2) if self.flat else (0, 1, 2)

    @property
    def span(self) -> tuple[int, int, int]:
        """The furthest that two elements can lie apart along each axis."""
        planes, rows, row_length = self.shape
        return planes - 2, 0 if self.flat else rows - 2, row_length - 2

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sides of the grid of one mask, with the rim."""
        planes, _, rows, row_bytes = self.bits.shape
        return planes, rows, 8 * row_bytes


# Flat positions, ascending, and the weight of each: mm2 (2-D: mm), or 1 per voxel.
Elements = tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]


def bounding_box(mask: Mask) -> Box | None:
    """Return the first and one past the last True position per axis; None for an empty mask."""
    order = sorted(range(mask.ndim), key=lambda axis: -abs(mask.strides[axis]))
    stored = mask.transpose(order)  # in memory order, where the scan below is fastest
    planes = _extent(np.logical_or.reduce(stored.reshape(len(stored), -1), axis=1))
    if planes is None:
        return None
    shadow: Mask = np.logical_or.reduce(stored[planes[0] : planes[1]], axis=0)
    extents = {order[0]: planes}
    for axis in range(shadow.ndim):
        others = tuple(other for other in range(shadow.ndim) if other != axis)
        extents[order[axis + 1]] = _extent(np.logical_or.reduce(shadow, axis=others)) or (0, 0)
    return tuple(extents[axis] for axis in range(mask.ndim))


def _extent(filled: Mask) -> tuple[int, int] | None:
    where = np.flatnonzero(filled)
    return (int(where[0]), int(where[-1]) + 1) if len(where) else None


def joint_grid(pred: Mask, ref: Mask, boxes: tuple[Box, Box], spacing: tuple[float, ...]) -> Grid:
    """Cut both masks to the box that holds both, with the finest axis first."""
    box = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(*boxes, strict=True)]
    finest = min(range(pred.ndim), key=lambda axis: spacing[axis])
    order = [finest, *(axis for axis in range(pred.ndim) if axis != finest)]
    sides = [box[axis][1] - box[axis][0] for axis in order]
    steps = [spacing[axis] for axis in order]
    flat = len(order) == 2
    if flat:
        sides.insert(1, 1)
        steps.insert(1, 1.0)
    # Rows are a multiple of eight long, so that a byte of packed bits never spans two of them.
    row_length = -(-(sides[2] + 2) // 8) * 8
    occupied = np.zeros((sides[0] + 2, 2, sides[1] + 2, row_length), np.uint8)
    inner = occupied[1 : sides[0] + 1, :, 1 : sides[1] + 1, 1 : sides[2] + 1]
    cut = tuple(slice(*extent) for extent in box)
    for which, mask in enumerate((pred, ref)):
        inner[:, which] = mask[cut].transpose(order).reshape(sides).view(np.uint8)
    bits = np.packbits(occupied, bitorder="little").reshape(*occupied.shape[:-1], -1)
    return Grid(bits, (steps[0], steps[1], steps[2]), flat)


def area_elements(grid: Grid) -> Elements:
    """Return the 2x2x2 (2x2) blocks with voxels of both kinds, each with the size of its surface.

    A block's position is that of its first corner; the blocks' centres are half a voxel further, in both
    masks alike, which leaves the distances as they are.
    """
    following = _next_bits(grid.bits)
    some, every = grid.bits | following, grid.bits & following
    for axis in grid.axes[:-1]:
        first, second = _pairs(axis)
        some[first] |= some[second]
        every[first] &= every[second]
    positions = _set_bits(some ^ every)
    strides = (2 * grid.shape[1] * grid.shape[2], grid.shape[2], 1)
    filling = np.zeros(len(positions), np.uint8)
    voxels = np.unpackbits(grid.bits, bitorder="little")
    for bit, corner in enumerate(itertools.product((0, 1), repeat=len(grid.axes))):
        step = sum(strides[axis] * side for axis, side in zip(grid.axes, corner, strict=True))
        filling |= voxels.take(positions + step) << np.uint8(bit)
    sizes = surface_sizes(tuple(grid.spacing[axis] for axis in grid.axes))
    return positions, sizes.take(filling)


def voxel_elements(grid: Grid) -> Elements:
    """Return the voxels of a mask that have a face neighbour outside it, or outside the image."""
    bits = grid.bits
    inner = bits & _next_bits(bits) & _previous_bits(bits)
    for axis in grid.axes[:-1]:
        first, second = _pairs(axis)
        inner[first] &= bits[second]
        inner[second] &= bits[first]
    positions = _set_bits(bits & ~inner)
    return positions, np.ones(len(positions))


def _pairs(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the two views whose elements are neighbours along ``axis``."""
    before = (slice(None),) * (2 * axis)  # the masks lie between the first axis and the second
    return (*before, slice(None, -1)), (*before, slice(1, None))


def _next_bits(bits: Bytes) -> Bytes:
    """Bring, to every voxel's place, the bit of the next voxel of its row."""
    shifted: Bytes = np.right_shift(bits, _ONE)
    shifted[..., :-1] |= np.left_shift(bits[..., 1:], _SEVEN)
    return shifted


def _previous_bits(bits: Bytes) -> Bytes:
    """Bring, to every voxel's place, the bit of the previous voxel of its row."""
    shifted: Bytes = np.left_shift(bits, _ONE)
    shifted[..., 1:] |= np.right_shift(bits[..., :-1], _SEVEN)
    return shifted


def _set_bits(bits: Bytes) -> npt.NDArray[np.intp]:
    """Return the flat positions of the set bits, ascending."""
    flat = bits.reshape(-1)
    filled = np.flatnonzero(flat != 0)
    voxels = np.flatnonzero(np.unpackbits(flat[filled], bitorder="little").view(np.bool_))
    positions: npt.NDArray[np.intp] = filled[voxels >> 3] * 8 + (voxels & 7)
    return positions
