"""One pass over the voxels where NumPy or torch would need ten: class weights, and the z-score's sums.

A row at a time goes through small buffers that stay in the processor's first cache. The loops are written so
that LLVM turns them into vector code; no sum depends on how the voxels are shared among threads.
"""

from __future__ import annotations

import math

import numpy as np

from sfumato.geodesic.jit import compiled

# ruff: noqa: ANN001, ANN201  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
_NO_POWER = np.int32(127)  # Float32's exponent is stored with this offset, above 23 bits of mantissa.
_MANTISSA = np.int32(23)
_END = np.float32(40)  # exp(-40) is still a normal number.
_LOG2E = np.float32(1.4426950408889634)
# The natural logarithm of 2, split so that small multiples of the first part are exact.
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# Taylor's series of exp to the sixth power, good to the last bits of float32 for |x| <= log(2) / 2.
_C2, _C3, _C4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
_C5, _C6 = np.float32(1 / 120), np.float32(1 / 720)
LANES = 16
BLOCK = 1 << 14  # Voxels per partial sum.


@compiled
def farthest(distance, start, pitch, shape, scale, limit):
    """Largest distance in a padded map; infinite as soon as one is above ``limit``."""
    largest = ZERO
    for r in range(shape[0] * shape[1]):
        row = start + r * pitch
        for x in range(shape[2]):
            value = distance[row + x] * scale
            if not value <= limit:
                return np.float32(np.inf)
            largest = max(largest, value)
    return largest


@compiled
def nearness(distance, nearest, start, pitch, height, box, scale, margin, end, out):
    """Write ``exp(Dmin - D)`` into ``out``, 0 where it is beyond the margin.

    Args:
        distance: ``D``, flat, rows of ``pitch`` values from index ``start`` on.
        nearest: ``Dmin``, likewise.
        start: Where the first row starts.
        pitch: Values per row.
        height: Rows per plane.
        box: First and one past the last voxel per axis: only there is anything written.
        scale: Factor of both distances.
        margin: Beyond ``Dmin + margin`` the result is 0.
        end: Largest ``D``: the result is multiplied by ``(1 - exp(D - end)) / (1 - exp(-end))``; not if
            it is infinite or 0.
        out: ``(Z, Y, X)`` float32.
    """
    (z0, z1), (y0, y1), (x0, x1) = box
    width = x1 - x0
    value = np.empty(width, np.float32)
    power = np.empty(width, np.int32)
    factor = power.view(np.float32)
    bends = ZERO < end < np.float32(np.inf)
    whole = -math.expm1(-float(end)) if bends else 1.0
    for z in range(z0, z1):
        for y in range(y0, y1):
            row = start + (z * height + y) * pitch + x0
            for x in range(width):
                near = nearest[row + x] * scale
                here = distance[row + x] * scale
                gap = min(here - near, _END) if here > near else ZERO
                whole_part = np.int32(gap * _LOG2E + HALF)
                steps = np.float32(whole_part)
                rest = (steps * _LN2_HIGH - gap) + steps * _LN2_LOW
                series = _C2 + rest * (_C3 + rest * (_C4 + rest * (_C5 + rest * _C6)))
                series = ONE + (rest + rest * rest * series)
                value[x] = series if here <= near + margin else ZERO
                power[x] = (_NO_POWER - whole_part) << _MANTISSA
            for x in range(width):
                out[z, y, x0 + x] = value[x] * factor[x]
            if bends:
                for x in range(width):
                    here = min(distance[row + x] * scale, end)
                    out[z, y, x0 + x] *= np.float32(-math.expm1(float(here - end)) / whole)


@compiled
def blend(out, labels, boxes, ends, alpha, planes):
    """Turn nearness into class weights, in place: ``(1 - alpha) onehot + alpha nearness / its sum``.

    Args:
        out: ``(K, Z, Y, X)`` float32, the nearness, 0 outside each class's box.
        labels: ``(Z, Y, X)`` int64.
        boxes: ``(K, 3, 2)``: first and one past the last voxel per axis.
        ends: ``(K,)`` float32, as ``end`` of ``nearness``. Where all nearness is 0, every class that is near
            is at its end, and the weights are those of ``exp(-end)``.
        alpha: Share of the nearness.
        planes: First and one past the last plane to work on.
    """
    classes, _, height, width = out.shape
    own = np.float32(1.0 - alpha)
    share = np.float32(alpha)
    total = np.empty(width, np.float32)
    for z in range(planes[0], planes[1]):
        for y in range(height):
            for x in range(width):
                total[x] = ZERO
            for c in range(classes):
                if boxes[c, 0, 0] <= z < boxes[c, 0, 1] and boxes[c, 1, 0] <= y < boxes[c, 1, 1]:
                    for x in range(boxes[c, 2, 0], boxes[c, 2, 1]):
                        total[x] += out[c, z, y, x]
            for x in range(width):
                if total[x] == ZERO:
                    first = np.float32(np.inf)
                    for c in range(classes):
                        first = min(first, ends[c])
                    for c in range(classes):
                        if ends[c] < np.float32(np.inf):
                            out[c, z, y, x] = np.float32(math.exp(float(first - ends[c])))
                            total[x] += out[c, z, y, x]
            for x in range(width):
                total[x] = share / total[x]
            for c in range(classes):
                if boxes[c, 0, 0] <= z < boxes[c, 0, 1] and boxes[c, 1, 0] <= y < boxes[c, 1, 1]:
                    for x in range(boxes[c, 2, 0], boxes[c, 2, 1]):
                        out[c, z, y, x] *= total[x]
            for x in range(width):
                out[labels[z, y, x], z, y, x] += own


@compiled
def moments(values, middle, sums, squares, low, high, blocks):
    """Per block of ``BLOCK`` values: sum and sum of squares of ``value - middle``, smallest and largest.

    Values that are not finite make the block's sum so too.
    """
    for block in range(blocks[0], blocks[1]):
        first, last = block * BLOCK, min(block * BLOCK + BLOCK, values.size)
        total, square = np.zeros(LANES), np.zeros(LANES)
        least = np.full(LANES, np.float32(np.inf))
        most = np.full(LANES, np.float32(-np.inf))
        for start in range(first, last, LANES):
            for lane in range(min(LANES, last - start)):
                value = values[start + lane]
                shifted = np.float64(value) - middle
                total[lane] += shifted
                square[lane] += shifted * shifted
                least[lane] = min(least[lane], value)
                most[lane] = max(most[lane], value)
        sums[block], squares[block] = total.sum(), square.sum()
        low[block], high[block] = least.min(), most.max()


@compiled
def shift_and_divide(values, middle, scale, out, blocks):
    """``(value - middle) / scale``, in float64, rounded once."""
    for i in range(blocks[0] * BLOCK, min(blocks[1] * BLOCK, values.size)):
        out[i] = np.float32((np.float64(values[i]) - middle) / scale)
