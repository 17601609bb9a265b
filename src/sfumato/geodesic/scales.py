"""The z-score of float32 images in few passes, side by side in threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sfumato.geodesic import voxelwise
from sfumato.geodesic.distance import threads_for
from sfumato.geodesic.engine import run_side_by_side

Array = np.ndarray[Any, np.dtype[Any]]
_BLOCKS = 32  # Blocks that a thread works on at a time: half a million values.


def zscored(values: Array, threads: int | None = None) -> Array | None:
    """``(values - mean) / deviation`` with sums in float64; the same bits for any number of threads.

    Args:
        values: Float32, C-ordered.
        threads: As in ``geodesic_distance``.

    Returns:
        Float32 like ``values``, all 0 where they are constant; ``None`` where some value is not finite.
    """
    if values.size == 0:
        return np.empty_like(values)
    flat = values.reshape(-1)
    count = -(-flat.size // voxelwise.BLOCK)
    sums, squares = np.empty(count), np.empty(count)
    low, high = np.empty(count, np.float32), np.empty(count, np.float32)
    workers, parts = threads_for(threads), -(-count // _BLOCKS)

    def span(part: int) -> tuple[int, int]:
        return part * _BLOCKS, min((part + 1) * _BLOCKS, count)

    def measure(middle: float) -> None:
        run_side_by_side(
            lambda part: voxelwise.moments(flat, middle, sums, squares, low, high, span(part)), parts, workers
        )

    # Squares of differences from near the mean lose nothing, so the mean comes first.
    measure(0.0)
    if not math.isfinite(sums.sum()):
        return None
    middle = float(sums.sum()) / flat.size
    measure(middle)
    out = np.zeros_like(flat)
    scale = math.sqrt(float(squares.sum()) / flat.size)
    # A constant image's deviation is rounding noise, not a scale.
    if scale > 0 and low.min() < high.max():
        run_side_by_side(
            lambda part: voxelwise.shift_and_divide(flat, middle, scale, out, span(part)), parts, workers
        )
    return out.reshape(values.shape)
