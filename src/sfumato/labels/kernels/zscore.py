"""The z-score of float32 images in few passes, side by side in threads.

The definition is ``sfumato.labels.intensity.zscore``. The loops are written so that LLVM turns them into
vector code; no sum depends on how the values are shared among threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sfumato.geodesic.cpu import threads_for
from sfumato.geodesic.engine.jit import compiled
from sfumato.geodesic.engine.solve import run_side_by_side
from sfumato.types import Array

# ruff: noqa: ANN001, ANN201  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

BLOCK = 1 << 14  # Values per partial sum.
_COLUMNS = 128  # Running sums per block.
_BLOCKS = 32  # Blocks that a thread works on at a time: half a million values.


def zscored(values: Array, threads: int | None = None, out: Array | None = None) -> Array | None:
    """Compute ``(values - mean) / deviation`` with sums in float64; the same bits for any number of threads.

    Args:
        values: Float32, C-ordered.
        threads: As in ``geodesic_distance``.
        out: Where to write: float32, shaped as ``values``, C-ordered.

    Returns:
        Float32 like ``values``, all 0 where they are constant; ``None`` where some value is not finite.
    """
    result = np.empty_like(values) if out is None else out
    if values.size == 0:
        return result
    flat = values.reshape(-1)
    count = -(-flat.size // BLOCK)
    sums, squares = np.empty(count), np.empty(count)
    low, high = np.empty(count, np.float32), np.empty(count, np.float32)

    def side_by_side(work: Callable[[tuple[int, int]], None]) -> None:
        parts = -(-count // _BLOCKS)
        run_side_by_side(
            lambda part: work((part * _BLOCKS, min((part + 1) * _BLOCKS, count))), parts, threads_for(threads)
        )

    # Of N values none is farther than sqrt(N) deviations from the mean, so that squares of differences from
    # any one of them keep their digits.
    middle = float(flat[0])
    side_by_side(lambda span: moments(flat, middle, sums, squares, low, high, span))
    mean = float(sums.sum()) / flat.size
    if not math.isfinite(mean):
        return None
    variance = float(squares.sum()) / flat.size - mean * mean
    # A constant image's deviation is rounding noise, not a scale.
    if variance > 0 and low.min() < high.max():
        factor = 1 / math.sqrt(variance)
        side_by_side(lambda span: shift_and_scale(flat, middle + mean, factor, result.reshape(-1), span))
    else:
        result.fill(0)
    return result


@compiled
def moments(values, middle, sums, squares, low, high, blocks):
    """Compute sum and sum of squares of ``value - middle``, smallest and largest, per block of values.

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
    """Compute ``(value - middle) * factor``, in float64, rounded once."""
    first, last = blocks[0] * BLOCK, min(blocks[1] * BLOCK, values.size)
    # Slices, because an index that LLVM takes for negative would keep it from making vector code.
    source, target = values[first:last], out[first:last]
    for i in range(len(source)):
        target[i] = np.float32((np.float64(source[i]) - middle) * factor)
