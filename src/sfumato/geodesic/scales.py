"""The z-score of float32 images in few passes, side by side in threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sfumato.geodesic import voxelwise
from sfumato.geodesic.distance import threads_for
from sfumato.geodesic.engine.solve import run_side_by_side

Array = np.ndarray[Any, np.dtype[Any]]
_BLOCKS = 32  # Blocks that a thread works on at a time: half a million values.


def zscored(values: Array, threads: int | None = None, out: Array | None = None) -> Array | None:
    """``(values - mean) / deviation`` with sums in float64; the same bits for any number of threads.

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
    count = -(-flat.size // voxelwise.BLOCK)
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
    side_by_side(lambda span: voxelwise.moments(flat, middle, sums, squares, low, high, span))
    mean = float(sums.sum()) / flat.size
    if not math.isfinite(mean):
        return None
    variance = float(squares.sum()) / flat.size - mean * mean
    # A constant image's deviation is rounding noise, not a scale.
    if variance > 0 and low.min() < high.max():
        factor = 1 / math.sqrt(variance)
        side_by_side(
            lambda span: voxelwise.shift_and_scale(flat, middle + mean, factor, result.reshape(-1), span)
        )
    else:
        result.fill(0)
    return result
