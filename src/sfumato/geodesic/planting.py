"""Where a transform starts: seeds and their prices, written into padded rows."""

from __future__ import annotations

import numpy as np
from numba import uint64

from sfumato.geodesic.jit import compiled
from sfumato.geodesic.simd import LANES, below, load, splat
from sfumato.geodesic.sweeps import CHANGED, ONE, ROW0, WAITING

# ruff: noqa: ANN001, ANN201  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

_EVERY_LANE = (1 << LANES) - 1


@compiled
def plant(distance, starts, price, todo, shape, pitch, group, box):
    """Give every seed its price, and let it wait to be passed on; returns how many there are.

    Args:
        distance: Padded distances, lowered in place.
        starts: ``(Z, Y, X)`` uint8, non-zero at seeds.
        price: ``(Z, Y, X)``, of the distances' type.
        todo: ``(6, rows + 1)`` words of bits.
        shape: Voxels per axis.
        pitch: Floats per row.
        group: Blocks per bit.
        box: First and one past the last voxel per axis, around all seeds.
    """
    height = shape[1]
    count = 0
    for z in range(box[0][0], box[0][1]):
        for y in range(box[1][0], box[1][1]):
            row = ROW0 + (z * height + y) * pitch
            for x in range(box[2][0], box[2][1]):
                if starts[z, y, x]:
                    value = price[z, y, x]
                    if value < distance[row + x]:
                        distance[row + x] = value
                        bit = ONE << uint64(x // (LANES * group))
                        todo[WAITING, z * height + y] |= bit
                        todo[CHANGED, z * height + y] |= bit
                        count += 1
    return count


@compiled
def plant_free(distance, starts, shape, pitch, box):
    """Lower every seed to 0, as ``plant`` where no seed has a price; ``mark`` then lets them wait."""
    height = shape[1]
    zero = distance.dtype.type(0)
    for z in range(box[0][0], box[0][1]):
        for y in range(box[1][0], box[1][1]):
            row = ROW0 + (z * height + y) * pitch
            # Slices, because an index that LLVM takes for negative would keep it from making vector code.
            flags = starts[z, y, box[2][0] : box[2][1]]
            target = distance[row + box[2][0] : row + box[2][1]]
            for x in range(len(flags)):
                target[x] = zero if flags[x] else target[x]


@compiled
def mark(distance, todo, shape, pitch, group, box):
    """Let the voxels at 0 wait to be passed on; returns the number of rows with such a voxel.

    Nothing can be lowered below 0, so a block among blocks of zeros only has nothing to pass on.

    Args:
        distance: Padded distances, at least 0.
        todo: ``(6, rows + 1)`` words of bits.
        shape: Voxels per axis.
        pitch: Floats per row.
        group: Blocks per bit.
        box: First and one past the last voxel per axis, around all zeros.
    """
    depth, height, width = shape
    (z0, z1), (y0, y1), _ = box
    blocks = pitch // LANES
    zero = splat(distance.dtype.type(0))
    # Rows beyond the box hold no zero; a word of ones for each stands around the words of the box.
    some = np.zeros((z1 - z0 + 2, y1 - y0 + 2), np.uint64)
    high = np.full((z1 - z0 + 2, y1 - y0 + 2), ~uint64(0), np.uint64)
    count = 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            row = ROW0 + (z * height + y) * pitch
            seeds, open_ = uint64(0), uint64(0)
            for k in range(blocks):
                lanes = below(zero, load(distance, row + LANES * k))
                inside = _EVERY_LANE >> max(LANES * (k + 1) - width, 0)
                bit = ONE << uint64(k // group)
                if lanes != _EVERY_LANE:
                    seeds |= bit
                if lanes & inside:
                    open_ |= bit
            some[z - z0 + 1, y - y0 + 1] = seeds
            high[z - z0 + 1, y - y0 + 1] = open_
            count += seeds != 0
    # Beyond the volume nothing can be lowered.
    if z0 == 0:
        high[0] = 0
    if z1 == depth:
        high[-1] = 0
    if y0 == 0:
        high[:, 0] = 0
    if y1 == height:
        high[:, -1] = 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            a, b = z - z0, y - y0
            around = uint64(0)
            for c in range(3):
                for d in range(3):
                    around |= high[a + c, b + d]
            around |= (around << ONE) | (around >> ONE)
            todo[WAITING, z * height + y] |= some[a + 1, b + 1] & around
            todo[CHANGED, z * height + y] |= some[a + 1, b + 1]
    return count


@compiled
def seed_box(starts):
    """First and one past the last seed per axis of ``(Z, Y, X)`` uint8 (or all 0), and their number."""
    depth, height, width = starts.shape
    z0, z1, y0, y1, x0, x1 = depth, 0, height, 0, width, 0
    count = 0
    for z in range(depth):
        for y in range(height):
            flags = starts[z, y]
            some = np.uint8(0)
            for x in range(width):
                some |= flags[x]
            if some:
                for x in range(width):
                    count += flags[x] != 0
                z0, z1 = min(z0, z), z + 1
                y0, y1 = min(y0, y), max(y1, y + 1)
                left, right = 0, width
                while flags[left] == 0:
                    left += 1
                while flags[right - 1] == 0:
                    right -= 1
                x0, x1 = min(x0, left), max(x1, right)
    if z1 == 0:
        return ((0, 0), (0, 0), (0, 0)), count
    return ((z0, z1), (y0, y1), (x0, x1)), count
