"""Temperature scaling: one number per model that corrects its confidence and keeps its decisions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_choice, require_labels, require_positive
from sfumato.errors import InputError, ValueRangeError
from sfumato.metrics.probabilities import cases, chunks, class_axis, require_distribution, require_floating
from sfumato.types import ArrayLike

_LOWEST = float(np.finfo(np.float32).tiny)
_COOLEST, _HOTTEST = 0.01, 100.0
_PASSES = 60


def fit_temperature(batches: Iterable[tuple[ArrayLike, ArrayLike]], *, kind: str = "logits") -> float:
    """Fit the temperature T that minimises the negative log-likelihood of ``softmax(logits / T)``.

    The objective is convex in ``1 / T``; Newton steps inside a shrinking bracket find its minimum. Each
    step is one pass over the batches, in chunks, so that only one batch is in memory.

    Args:
        batches: Pairs of logits ``(B, K, *S)`` with labels ``(B, *S)``, or ``(K, *S)`` with ``(*S)``, from
            validation data. They are gone through several times: a list or a loader, not a generator.
        kind: ``"logits"``, or ``"probs"`` for probabilities; their logarithm then serves as logits, which
            gives the same T.

    Returns:
        T, in [0.01, 100]: above 1 for an overconfident model. Where every voxel is classified rightly, any
        cooling helps: the result is 0.01, or a T above it at which the loss is 0 already. Where guessing is
        better than the model, it is 100.

    Raises:
        InputError: ``batches`` can be gone through only once.
        ShapeError: The shapes of a pair do not fit together.
        UnknownNameError: ``kind`` is neither of the two.
        ValueRangeError: There is no voxel, logits are not finite, or a label has no channel.

    References:
        Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, arXiv:1706.04599
    """
    require_choice("kind of input", kind, ("logits", "probs"))
    if isinstance(batches, Iterator):
        raise InputError("batches can be gone through only once: give a list or a loader, not a generator")

    def slope(coolness: float) -> tuple[float, float]:
        totals = np.zeros(3)
        for values, labels in batches:
            totals += _derivatives(as_tensor(values), as_tensor(labels), kind, coolness)
        if totals[2] == 0:
            raise ValueRangeError("batches hold no voxel: a temperature cannot be fitted to nothing")
        return float(totals[0] / totals[2]), float(totals[1] / totals[2])

    return 1 / _root(slope, 1 / _HOTTEST, 1 / _COOLEST)


def scale_probabilities(probs: ArrayLike, temperature: float | int, *, axis: int = 1) -> Tensor:
    """Give ``softmax(log(probs) / T)`` over the class axis; every voxel keeps its largest class.

    Args:
        probs: Class probabilities, ``(B, K, *S)``, or ``(K, *S)`` with ``axis=0``.
        temperature: T, above 0; 1 gives the same probabilities.
        axis: The class axis.

    Returns:
        Probabilities of the same shape and type.

    Raises:
        ValueRangeError: ``temperature`` is not finite and above 0.
        DTypeError: ``probs`` is not floating point.
    """
    require_positive("temperature", temperature)
    tensor = as_tensor(probs)
    require_floating(tensor)
    logits = tensor.double().clamp_min(_LOWEST).log() / temperature
    scaled = logits.softmax(dim=axis).to(tensor.dtype)
    # Rounding can make the two largest classes equal; the winner then gets the next larger number.
    winner = tensor.argmax(dim=axis, keepdim=True)
    top = scaled.amax(dim=axis, keepdim=True)
    lost = scaled.argmax(dim=axis, keepdim=True) != winner
    if not lost.any():
        return scaled
    return scaled.scatter(axis, winner, torch.where(lost, torch.nextafter(top, top + 1), top))


def _root(slope: Callable[[float], tuple[float, float]], low: float, high: float) -> float:
    """Find where the increasing ``slope`` crosses 0, by Newton steps kept inside a bracket."""
    point = 1.0
    for _ in range(_PASSES):
        value, curvature = slope(point)
        if value == 0:
            return point
        low, high = (low, point) if value > 0 else (point, high)
        step = point - value / curvature if curvature > 0 else math.nan
        target = step if low < step < high else math.sqrt(low * high)
        if abs(target - point) <= 1e-9 * point or high - low <= 1e-9 * high:
            return target
        point = target
    return point


def _derivatives(values: Tensor, labels: Tensor, kind: str, coolness: float) -> np.ndarray:
    """Sum over voxels of the first and second derivative of the NLL by 1/T, and the voxels."""
    require_floating(values)
    require_labels(labels, values.shape[class_axis(values, labels)])
    totals = np.zeros(3)
    for case in cases(values, labels, None):
        for piece, reference in chunks(case):
            logits = piece.astype(np.float64)
            if kind == "probs":
                require_distribution(piece)
                logits = np.log(np.maximum(logits, _LOWEST))
            elif not np.isfinite(logits).all():
                raise ValueRangeError("logits hold NaN or infinite values: a temperature cannot be fitted")
            weights = np.exp(coolness * (logits - logits.max(axis=0)))
            weights /= weights.sum(axis=0)
            mean = (weights * logits).sum(axis=0)
            true = np.take_along_axis(logits, reference[None].astype(np.int64), axis=0)[0]
            spread = (weights * (logits - mean) ** 2).sum()
            totals += (mean - true).sum(), spread, len(reference)
    return totals
