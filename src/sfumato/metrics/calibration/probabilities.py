"""Class probabilities beside reference labels: how they fit together, and reading them in chunks."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sfumato.errors import DTypeError, ShapeError, ValueRangeError

# Voxels that are handled at a time: a sum of this many 32-bit fixed-point numbers is exact in float64.
CHUNK = 2**20


def class_axis(probs: Tensor, labels: Tensor) -> int:
    """Return which axis of ``probs`` holds the classes: 1 for a batch, 0 for one case.

    Where both readings fit, as with two 2-D images and two classes, the one whose probabilities sum to 1
    is right; if both do, a batch.

    Raises:
        ShapeError: ``labels`` fits neither ``(B, K, *S)`` nor ``(K, *S)``; or both, and the values, as
            logits, do not tell; or there is only one class.
    """
    shape, wanted = tuple(probs.shape), tuple(labels.shape)
    fitting = [axis for axis in (1, 0) if axis < len(shape) and shape[:axis] + shape[axis + 1 :] == wanted]
    if not fitting:
        raise ShapeError(
            f"probs has shape {shape} and labels {wanted}: give probs (B, K, *S) with labels (B, *S), "
            "or probs (K, *S) with labels (*S)"
        )
    if len(fitting) > 1:
        fitting = [axis for axis in fitting if _sums_to_one(probs, axis)]
    if not fitting:
        raise ShapeError(
            f"shapes {shape} and {wanted} may be a batch (B, K, *S) or one case (K, *S), and the values do "
            "not tell: give one case at a time, as (1, K, *S) with labels (1, *S)"
        )
    axis = fitting[0]
    if shape[axis] < 2:
        raise ShapeError(
            f"probs has shape {shape}, so {shape[axis]} class: calibration needs at least two; "
            "for one foreground channel p, stack (1 - p, p)"
        )
    return axis


def _sums_to_one(probs: Tensor, axis: int) -> bool:
    total = probs.sum(dim=axis, dtype=torch.float64)
    return bool(((total - 1).abs() <= _sum_tolerance(probs.shape[axis])).all())


def _sum_tolerance(num_classes: int) -> float:
    """Return how far from 1 a sum of probabilities may be: all rounded to 1/255, and a little more."""
    return 1e-3 + num_classes / 510


def cases(probs: Tensor, labels: Tensor, mask: Tensor | None) -> Iterator[tuple[Tensor, ...]]:
    """Yield ``(K, *S)`` probabilities, ``(*S)`` labels and the mask, if any, per item of the batch."""
    arrays = (probs, labels) if mask is None else (probs, labels, mask)
    if class_axis(probs, labels) == 0:
        yield arrays
        return
    for item in range(len(labels)):
        yield tuple(array[item] for array in arrays)


def chunks(arrays: tuple[Tensor, ...]) -> Iterator[tuple[np.ndarray, ...]]:
    """Cut one case into flat pieces of at most ``CHUNK`` voxels, on the CPU.

    Slabs are taken along the spatial axis that is outermost in memory, so that no more than a slab is
    copied whatever the memory order.

    Args:
        arrays: ``(K, *S)`` probabilities, then arrays of shape ``(*S)``.

    Yields:
        ``(K, n)`` float32, contiguous, and one flat array of ``n`` voxels for each of the others.
    """
    probs, *others = (array.detach() for array in arrays)
    if probs.ndim == 1:
        probs, others = probs[:, None], [array[None] for array in others]
    axis = max(range(probs.ndim - 1), key=lambda a: probs.stride(a + 1))
    length = probs.shape[axis + 1]
    slab = max(probs[0].numel() // max(length, 1), 1)
    step = max(CHUNK // slab, 1)
    for start in range(0, length, step):
        size = min(step, length - start)
        piece = probs.narrow(axis + 1, start, size).to("cpu", torch.float32)
        flat = piece.reshape(len(probs), -1).numpy()
        rest = [array.narrow(axis, start, size).cpu().reshape(-1).numpy() for array in others]
        for first in range(0, flat.shape[1], CHUNK):
            part = slice(first, first + CHUNK)
            yield np.ascontiguousarray(flat[:, part]), *(array[part] for array in rest)


def require_distribution(probs: np.ndarray) -> None:
    """Raise unless ``(K, n)`` probabilities lie in [0, 1] and sum to 1, up to an 8-bit file's rounding."""
    if probs.size == 0:
        return
    low, high = float(probs.min()), float(probs.max())
    if not (low >= -1e-4 and high <= 1 + 1e-4):  # refuses NaN too, which compares as false
        raise ValueRangeError(f"probs holds values {low:g} .. {high:g}: probabilities must lie in [0, 1]")
    total = probs[0].copy()
    for channel in probs[1:]:
        total += channel
    worst = float(total[np.abs(total - 1).argmax()])
    if abs(worst - 1) > _sum_tolerance(len(probs)):
        raise ValueRangeError(
            f"probs sum to {worst:g} over the classes in some voxel: they must sum to 1, background included"
        )


def require_floating(probs: Tensor) -> None:
    """Raise unless ``probs`` holds floating-point numbers."""
    if not probs.is_floating_point():
        raise DTypeError(f"probs has dtype {probs.dtype}: probabilities must be floating point")


def require_bins(num_bins: int, threshold: float | int = 0.0) -> None:
    """Raise unless there is at least one bin and the threshold lies in [0, 1)."""
    if num_bins < 1:
        raise ValueRangeError(f"num_bins is {num_bins}: it must be at least 1")
    if not (math.isfinite(threshold) and 0 <= threshold < 1):
        raise ValueRangeError(f"threshold is {threshold}: it must lie in [0, 1)")


def equal_mass_edges(count: int, num_bins: int) -> np.ndarray:
    """Return the ranks that cut ``count`` items into bins of equal count, none empty; no bin for no item."""
    bins = min(count, num_bins)
    # Python's integers: count * bins may exceed int64 for a very long stream.
    return np.array([j * count // max(bins, 1) for j in range(bins + 1)], dtype=np.int64)
