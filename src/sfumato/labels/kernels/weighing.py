"""Class weights from distances, in one pass over the voxels where torch would need ten.

The definition is ``sfumato.labels.geols.nearness_weights``. A row at a time goes through small buffers that
stay in the processor's first cache. The loops are written so that LLVM turns them into vector code.
"""

from __future__ import annotations

import math

import numpy as np
from numba import uint64
from numba.extending import register_jitable

from sfumato.geodesic.engine.blocks import run_of
from sfumato.geodesic.engine.jit import compiled

# ruff: noqa: ANN001, ANN201, ANN202  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
ONE_BIT = uint64(1)
_NO_POWER = np.int32(127)  # Float32's exponent is stored with this offset, above 23 bits of mantissa.
_MANTISSA = np.int32(23)
_END = np.float32(40)  # exp(-40) is still a normal number.
_LOG2E = np.float32(1.4426950408889634)
# The natural logarithm of 2, split so that small multiples of the first part are exact.
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# Taylor's series of exp to the sixth power, good to the last bits of float32 for |x| <= log(2) / 2.
_C2, _C3, _C4 = np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
_C5, _C6 = np.float32(1 / 120), np.float32(1 / 720)
_BLOCK = 1 << 14  # Voxels between two looks at the limit.


@compiled
def farthest(distance, limit):
    """Return the largest of flat distances; infinite as soon as one is above ``limit``."""
    largest = ZERO
    for start in range(0, distance.size, _BLOCK):
        part = distance[start : min(start + _BLOCK, distance.size)]
        for i in range(len(part)):
            largest = part[i] if part[i] > largest else largest
        if not largest <= limit:
            return np.float32(np.inf)
    return largest


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
def _limit(values, near, ends, total):
    """Set the weights ``exp(-end)`` where ``total`` is 0: every class that is near is at its end there."""
    for x in range(len(total)):
        if total[x] == ZERO:
            first = np.float32(np.inf)
            for c in near:
                first = min(first, ends[c])
            for n in range(len(near)):
                if ends[near[n]] < np.float32(np.inf):
                    values[n, x] = np.float32(math.exp(float(first - ends[near[n]])))
                    total[x] += values[n, x]


@register_jitable
def _gather(out, words, size, r, near, values, nearest):
    """Read one row's distances, class by class; returns the classes' number, and the blocks several share."""
    _, _, height, width = out.shape
    z, y = r // height, r % height
    nearest[:] = np.float32(np.inf)
    count, some, several = 0, uint64(0), uint64(0)
    for c in range(len(out)):
        word = words[r, c]
        if word == 0:
            continue
        several |= some & word
        some |= word
        near[count] = c
        source = out[c, z, y]
        while word:
            left, right, word = run_of(word, size, width)
            here, there, lowest = source[left:right], values[count, left:right], nearest[left:right]
            for x in range(len(here)):
                there[x] = here[x]
                lowest[x] = min(lowest[x], here[x])
        count += 1
    return count, several


@register_jitable
def _write(out, words, size, r, near, values, factor, labels, own):
    """Write one row's weights times ``factor``, and each voxel's own share."""
    _, _, height, width = out.shape
    z, y = r // height, r % height
    first, other = labels[0], np.int64(0)
    for x in range(width):
        other |= labels[x] ^ first
    given = 0
    for n in range(len(near)):
        c = near[n]
        line, word = out[c, z, y], words[r, c]
        while word:
            left, right, word = run_of(word, size, width)
            there, weights, times = line[left:right], values[n, left:right], factor[left:right]
            if other == 0:
                more = own if c == first else ZERO
                for x in range(len(there)):
                    there[x] = weights[x] * times[x] + more
            else:
                owners = labels[left:right]
                for x in range(len(there)):
                    there[x] = weights[x] * times[x] + (own if owners[x] == c else ZERO)
                    given += owners[x] == c
    # A voxel's own class may be far away.
    if other == 0:
        word = words[r, first]
        for left in range(0, width, size):
            if not word & ONE_BIT:
                out[first, z, y, left : left + size] = own
            word >>= ONE_BIT
    elif given < width:
        for block in range((width + size - 1) // size):
            bit = ONE_BIT << uint64(block)
            for x in range(block * size, min(block * size + size, width)):
                if not words[r, labels[x]] & bit:
                    out[labels[x], z, y, x] = own


@compiled
def weigh(out, labels, words, size, ends, margin, alpha, rows):
    """Turn distances into ``(1 - alpha) onehot + alpha nearness / its sum``, in place.

    Args:
        out: ``(K, Z, Y, X)`` float32, the distances, 0 where there is no bit.
        labels: ``(Z, Y, X)`` int64.
        words: ``(Z * Y, K)`` uint64: which blocks hold distances. Every block is some class's.
        size: Voxels per block.
        ends: ``(K,)`` float32: the largest distance where the nearness is scaled to a minimum of 0, 0 where
            all distances are 0; else infinite.
        margin: A class farther than this beyond the nearest one is nowhere near.
        alpha: Share of the nearness.
        rows: First and one past the last row to work on.
    """
    classes, _, height, width = out.shape
    own, share = np.float32(1.0 - alpha), np.float32(alpha)
    every = np.empty(classes, np.int64)
    values = np.empty((classes, width), np.float32)
    nearest, total, before = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )
    power = np.empty(width, np.int32)
    for r in range(rows[0], rows[1]):
        count, several = _gather(out, words, size, r, every, values, nearest)
        near = every[:count]
        scaled = False
        for c in near:
            scaled |= ends[c] < np.float32(np.inf)
        total[:] = ZERO
        for n in range(count):
            c = near[n]
            word = words[r, c]
            if not scaled:  # The only class near takes it all.
                alone = word & ~several
                word &= several
                while alone:
                    left, right, alone = run_of(alone, size, width)
                    values[n, left:right] = ONE
                    total[left:right] = ONE
            while word:
                left, right, word = run_of(word, size, width)
                here = values[n, left:right]
                bends = ZERO < ends[c] < np.float32(np.inf)
                if bends:
                    before[left:right] = here
                _fall(here, nearest[left:right], margin, power[left:right])
                if bends:
                    _bend(here, before[left:right], ends[c])
                total[left:right] += here
        if scaled:
            _limit(values, near, ends, total)
        for x in range(width):
            total[x] = share / total[x]
        _write(out, words, size, r, near, values, total, labels[r // height, r % height], own)
