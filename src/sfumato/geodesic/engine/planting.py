"""Where a transform starts: seeds and their prices, written into padded rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import uint64

from sfumato.geodesic.engine.jit import compiled
from sfumato.geodesic.engine.simd import LANES, below, load, splat
from sfumato.geodesic.engine.sweeps import CHANGED, ONE, ROW0, WAITING
from sfumato.types import Array

# ruff: noqa: ANN001, ANN201  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

_EVERY_LANE = (1 << LANES) - 1


@compiled
def plant(distance, starts, price, todo, shape, pitch, group, box):
    """Set every seed to its price, and let it wait to be passed on; returns how many there are.

    ``starts``, ``(Z, Y, X)`` uint8, is not 0 at seeds; ``price``, ``(Z, Y, X)``, has the distances' type;
    ``box`` holds the first and one past the last voxel per axis, around all seeds. The rest is as in
    ``sweeps.relax``.
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
def plant_free(distance, starts, words, aside, shape, pitch, group, box, planes):
    """Lower every seed to 0, as ``plant`` where no seed has a price; ``mark`` then lets them wait.

    ``words`` and ``aside`` come from ``seed_words``; ``words`` is filled in for ``planes``, the first and one
    past the last plane of the box to work on. The rest is as in ``plant``.
    """
    _, height, width = shape
    (z0, _), (y0, y1), (x0, x1) = box
    nothing = distance.dtype.type(0)
    zero = splat(nothing)
    first, last = x0 // LANES, (x1 + LANES - 1) // LANES
    for z in range(planes[0], planes[1]):
        for y in range(y0, y1):
            row = ROW0 + (z * height + y) * pitch
            # Slices, because an index that LLVM takes for negative would keep it from making vector code.
            flags = starts[z, y, x0:x1]
            some = np.uint8(0)
            for x in range(len(flags)):
                some |= flags[x]
            words[0, z - z0 + 1, y - y0 + 1] = some
            if some == 0:
                continue
            target = distance[row + x0 : row + x1]
            for x in range(len(flags)):
                target[x] = nothing if flags[x] else target[x]
        for y in range(y0, y1):
            if words[0, z - z0 + 1, y - y0 + 1] == 0:
                continue
            row = ROW0 + (z * height + y) * pitch
            seeds, others = uint64(0), aside
            for k in range(first, last):
                lanes = below(zero, load(distance, row + LANES * k))
                inside = _EVERY_LANE >> max(LANES * (k + 1) - width, 0)
                bit = ONE << uint64(k // group)
                if lanes != _EVERY_LANE:
                    seeds |= bit
                if lanes & inside:
                    others |= bit
            words[0, z - z0 + 1, y - y0 + 1] = seeds
            words[1, z - z0 + 1, y - y0 + 1] = others


def seed_words(shape: Sequence[int], group: int, box: Sequence[Sequence[int]]) -> tuple[Array, np.uint64]:
    """Return words of bits for the rows of ``box`` and one around: blocks with seeds, and with other voxels.

    Returns:
        The words, which say that no block has seeds and every block within the volume has others; and the
        bits of the blocks aside of the box, of which that is taken for granted.
    """
    (z0, z1), (y0, y1), (x0, x1) = box
    depth, height, width = shape
    blocks = -(-width // LANES)
    every = (1 << -(-blocks // group)) - 1
    last = -(-x1 // LANES)
    last = -(-blocks // group) if last == blocks else last // group
    covered = (1 << last) - 1 & -(1 << -(-(x0 // LANES) // group))
    words = np.zeros((2, z1 - z0 + 2, y1 - y0 + 2), np.uint64)
    # Beyond the volume nothing can be lowered.
    planes = slice(int(z0 == 0), z1 - z0 + 2 - (z1 == depth))
    words[1, planes, int(y0 == 0) : y1 - y0 + 2 - (y1 == height)] = every
    return words, np.uint64(every & ~covered)


@compiled
def mark(words, todo, height, box):
    """Mark the seeds as waiting to be passed on; returns the number of rows with seeds.

    Nothing can be lowered below 0, so a block among blocks of seeds only has nothing to pass on. ``words``
    comes from ``plant_free``; there are ``height`` rows per plane.
    """
    (z0, z1), (y0, y1), _ = box
    count = 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            a, b = z - z0, y - y0
            seeds = words[0, a + 1, b + 1]
            if seeds == 0:
                continue
            count += 1
            around = uint64(0)
            for c in range(3):
                for d in range(3):
                    around |= words[1, a + c, b + d]
            around |= (around << ONE) | (around >> ONE)
            todo[WAITING, z * height + y] |= seeds & around
            todo[CHANGED, z * height + y] |= seeds
    return count


@compiled
def seed_box(starts):
    """Find first and one past the last seed per axis of ``(Z, Y, X)`` uint8 (or all 0), and their number."""
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
