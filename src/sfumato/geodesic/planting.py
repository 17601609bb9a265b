"""Where a transform starts: seeds and their prices, written into padded rows."""

from __future__ import annotations

import numpy as np
from numba import uint64

from sfumato.geodesic.jit import compiled
from sfumato.geodesic.simd import LANES
from sfumato.geodesic.sweeps import ONE, ROW0, WAITING

# ruff: noqa: ANN001, ANN201  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"


@compiled
def plant(distance, image, starts, price, todo, shape, pitch, group, box):
    """Give every seed its price, and let it wait to be passed on; returns how many there are.

    Args:
        distance: Padded distances, lowered in place.
        image: The first padded channel: no seed where it is NaN.
        starts: ``(Z, Y, X)`` uint8, non-zero at seeds.
        price: ``(Z, Y, X)`` float32, or of size 0 if every seed costs nothing.
        todo: ``(5, rows + 1)`` words of bits.
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
                    value = price[z, y, x] if price.size else np.float32(0)
                    if value < distance[row + x] and image[row + x] == image[row + x]:
                        distance[row + x] = value
                        todo[WAITING, z * height + y] |= ONE << uint64(x // (LANES * group))
                        count += 1
    return count


@compiled
def seed_box(starts):
    """First and one past the last seed per axis of ``(Z, Y, X)`` uint8; all 0 where there is none."""
    depth, height, width = starts.shape
    z0, z1, y0, y1, x0, x1 = depth, 0, height, 0, width, 0
    for z in range(depth):
        for y in range(height):
            some = np.uint8(0)
            for x in range(width):
                some |= starts[z, y, x]
            if some:
                z0, z1 = min(z0, z), z + 1
                y0, y1 = min(y0, y), max(y1, y + 1)
                left, right = 0, width
                while starts[z, y, left] == 0:
                    left += 1
                while starts[z, y, right - 1] == 0:
                    right -= 1
                x0, x1 = min(x0, left), max(x1, right)
    if z1 == 0:
        return (0, 0), (0, 0), (0, 0)
    return (z0, z1), (y0, y1), (x0, x1)
