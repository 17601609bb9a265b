"""One pass over the voxels where NumPy or torch would need ten: class weights, and the z-score's sums.

A row at a time goes through small buffers that stay in the processor's first cache. The loops are written so
that LLVM turns them into vector code; no sum depends on how the voxels are shared among threads.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

from sfumato.geodesic.jit import compiled

# ruff: noqa: ANN001, ANN201, ANN202  # Compiled code: its types are Numba's, chosen at the call.
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
BLOCK = 1 << 14  # Voxels per partial sum.
_COLUMNS = 128  # Running sums per block.


@compiled
def farthest(distance, limit):
    """Largest of flat distances; infinite as soon as one is above ``limit``."""
    largest = ZERO
    for start in range(0, distance.size, BLOCK):
        part = distance[start : min(start + BLOCK, distance.size)]
        for i in range(len(part)):
            largest = part[i] if part[i] > largest else largest
        if not largest <= limit:
            return np.float32(np.inf)
    return largest


@register_jitable
def _kept(values, nearest, margin, side):
    """First and one past the last value within the margin; those before and after become 0."""
    left, right = side
    while left < right and not values[left] <= nearest[left] + margin:
        values[left] = ZERO
        left += 1
    while left < right and not values[right - 1] <= nearest[right - 1] + margin:
        right -= 1
        values[right] = ZERO
    return left, right


@register_jitable
def _fall(values, nearest, margin, power):
    """Replace distances by ``exp(nearest - distance)``, 0 beyond the margin."""
    factor = power.view(np.float32)
    for x in range(len(values)):
        here, near = values[x], nearest[x]
        gap = min(here - near, _END) if here > near else ZERO
        whole_part = np.int32(gap * _LOG2E + HALF)
        steps = np.float32(whole_part)
        rest = (steps * _LN2_HIGH - gap) + steps * _LN2_LOW
        series = _C2 + rest * (_C3 + rest * (_C4 + rest * (_C5 + rest * _C6)))
        series = ONE + (rest + rest * rest * series)
        values[x] = series if here <= near + margin else ZERO
        power[x] = (_NO_POWER - whole_part) << _MANTISSA
    for x in range(len(values)):
        values[x] *= factor[x]


@register_jitable
def _bend(values, distance, end):
    """Multiply by ``(1 - exp(distance - end)) / (1 - exp(-end))``: the min-max over the image."""
    whole = -math.expm1(-float(end))
    for x in range(len(values)):
        here = min(distance[x], end)
        values[x] *= np.float32(-math.expm1(float(here - end)) / whole)


@register_jitable
def _limit(out, z, y, ends, total):
    """The weights of ``exp(-end)`` where ``total`` is 0: every class that is near is at its end there."""
    for x in range(len(total)):
        if total[x] == ZERO:
            first = np.float32(np.inf)
            for c in range(len(ends)):
                first = min(first, ends[c])
            for c in range(len(ends)):
                if ends[c] < np.float32(np.inf):
                    out[c, z, y, x] = np.float32(math.exp(float(first - ends[c])))
                    total[x] += out[c, z, y, x]


@register_jitable
def _add_own(out, z, y, labels, own):
    """Add each voxel's own share; rows of one label, most of them, go as one."""
    first, other = labels[0], np.int64(0)
    for x in range(len(labels)):
        other |= labels[x] ^ first
    if other == 0:
        target = out[first, z, y]
        for x in range(len(target)):
            target[x] += own
    else:
        for x in range(len(labels)):
            out[labels[x], z, y, x] += own


@compiled
def weigh(out, labels, boxes, ends, margin, alpha, planes):
    """Turn distances into ``(1 - alpha) onehot + alpha nearness / its sum``, in place.

    Args:
        out: ``(K, Z, Y, X)`` float32, the distances, 0 outside each class's box.
        labels: ``(Z, Y, X)`` int64.
        boxes: ``(K, 3, 2)``: first and one past the last voxel per axis.
        ends: ``(K,)`` float32: the largest distance where the nearness is scaled to a minimum of 0, 0 where
            all distances are 0; else infinite.
        margin: A class farther than this beyond the nearest one is nowhere near.
        alpha: Share of the nearness.
        planes: First and one past the last plane to work on.
    """
    classes, _, height, width = out.shape
    own, share = np.float32(1.0 - alpha), np.float32(alpha)
    infinite = np.float32(np.inf)
    near, spans = np.empty(classes, np.int64), np.empty((classes, 2), np.int64)
    nearest, total, before = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )
    power = np.empty(width, np.int32)
    for z in range(planes[0], planes[1]):
        for y in range(height):
            count, scaled = 0, False
            for c in range(classes):
                if boxes[c, 0, 0] <= z < boxes[c, 0, 1] and boxes[c, 1, 0] <= y < boxes[c, 1, 1]:
                    near[count] = c
                    count += 1
                    scaled |= ends[c] < infinite
            if count == 1 and not scaled:  # The only class near takes it all.
                out[near[0], z, y] = share
                _add_own(out, z, y, labels[z, y], own)
                continue
            nearest[:] = infinite
            total[:] = ZERO
            for n in range(count):
                values = out[near[n], z, y]
                for x in range(boxes[near[n], 2, 0], boxes[near[n], 2, 1]):
                    nearest[x] = min(nearest[x], values[x])
            for n in range(count):
                c = near[n]
                left, right = _kept(out[c, z, y], nearest, margin, boxes[c, 2])
                spans[n] = left, right
                values = out[c, z, y, left:right]
                bends = ZERO < ends[c] < infinite
                if bends:
                    before[left:right] = values
                _fall(values, nearest[left:right], margin, power[: right - left])
                if bends:
                    _bend(values, before[left:right], ends[c])
                total[left:right] += values
            if scaled:
                _limit(out, z, y, ends, total)
            for x in range(width):
                total[x] = share / total[x]
            for n in range(count):
                left, right = spans[n]
                out[near[n], z, y, left:right] *= total[left:right]
            _add_own(out, z, y, labels[z, y], own)


@compiled
def moments(values, middle, sums, squares, low, high, blocks):
    """Per block of ``BLOCK`` values: sum and sum of squares of ``value - middle``, smallest and largest.

    Values that are not finite make the block's sum so too.
    """
    total, square = np.empty(_COLUMNS), np.empty(_COLUMNS)
    least, most = np.empty(_COLUMNS, np.float32), np.empty(_COLUMNS, np.float32)
    for block in range(blocks[0], blocks[1]):
        first, last = block * BLOCK, min(block * BLOCK + BLOCK, values.size)
        total[:] = 0
        square[:] = 0
        least[:] = np.inf
        most[:] = -np.inf
        for start in range(first, last, _COLUMNS):
            part = values[start : min(start + _COLUMNS, last)]
            for i in range(len(part)):
                shifted = np.float64(part[i]) - middle
                total[i] += shifted
                square[i] += shifted * shifted
            for i in range(len(part)):
                least[i] = part[i] if part[i] < least[i] else least[i]
                most[i] = part[i] if part[i] > most[i] else most[i]
        sums[block], squares[block] = total.sum(), square.sum()
        low[block], high[block] = least.min(), most.max()


@compiled
def shift_and_scale(values, middle, factor, out, blocks):
    """``(value - middle) * factor``, in float64, rounded once."""
    first, last = blocks[0] * BLOCK, min(blocks[1] * BLOCK, values.size)
    # Slices, because an index that LLVM takes for negative would keep it from making vector code.
    source, target = values[first:last], out[first:last]
    for i in range(len(source)):
        target[i] = np.float32((np.float64(source[i]) - middle) * factor)
