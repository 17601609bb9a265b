"""Temperature scaling: one number per model that corrects its confidence and keeps its decisions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_choice, require_labels, require_positive, require_same_shape
from sfumato.errors import InputError, ValueRangeError
from sfumato.metrics.calibration.probabilities import (
    cases,
    chunks,
    class_axis,
    require_distribution,
    require_floating,
)
from sfumato.metrics.masks import mask
from sfumato.types import ArrayLike

# Maps are kept this far from 0 and 1, where a logit is infinite: NormReLU and saturated sigmoids reach both.
MAP_EPSILON = 1e-6

_LOWEST = float(np.finfo(np.float32).tiny)
_COOLEST, _HOTTEST = 0.01, 100.0
_PASSES = 60


def fit_temperature(batches: Iterable[tuple[ArrayLike, ArrayLike]], *, kind: str = "logits") -> float:
    """Fit the temperature T that minimises the negative log-likelihood of ``softmax(logits / T)``.

    The objective is convex in ``1 / T``; Newton steps inside a shrinking bracket find its minimum. Each
    step is one pass over the batches, in chunks, so that only one batch is in memory.

    Args:
        batches: Pairs of logits ``(B, K, *S)`` with labels ``(B, *S)``, or ``(K, *S)`` with ``(*S)``, from
            validation data. Where both readings fit (``B = K``), give one case at a time, as
            ``(1, K, *S)``. They are gone through several times: a list or a loader, not a generator.
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
    """Compute ``softmax(log(probs) / T)`` over the class axis; every voxel keeps its largest class.

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


def fit_map_temperature(batches: Sequence[tuple[ArrayLike, ArrayLike]]) -> float:
    """Fit the temperature of maps that each stand for one region, whatever activation made them.

    ``T`` minimises the binary negative log-likelihood of ``sigmoid(logit(m) / T)``, over all regions and
    voxels together: one T for the model. Maps are clamped to ``[1e-6, 1 - 1e-6]`` first. For a sigmoid this
    is ordinary temperature scaling; for tanh (as ``(z + 1) / 2``) and NormReLU the logit of the map stands in
    for the logits that such a network does not have.

    Args:
        batches: Pairs of maps ``(R, *S)`` in [0, 1] and boolean masks of the same shape.

    Returns:
        T, in [0.01, 100], as of :func:`fit_temperature`.

    Raises:
        ShapeError: A pair's shapes differ.
        DTypeError: Maps are not floating point, or masks not boolean.
        ValueRangeError: There is no voxel, or a map leaves [0, 1].
    """
    pairs = []
    for maps, masks in batches:
        inside, truth = _clamped(as_tensor(maps)), mask("masks", masks)
        require_same_shape("maps", inside.shape, "masks", truth.shape)
        # A batch of one, so that the axis of the two classes is never mistaken.
        pairs.append((torch.stack((1 - inside, inside))[None], truth.to(torch.int64)[None]))
    return fit_temperature(pairs, kind="probs")


def map_logits(maps: ArrayLike) -> Tensor:
    """Compute class logits of maps that exclude each other: 0 for the background, the logit of each map.

    Their softmax says background where every map is below 0.5, else the largest map, as the maps themselves
    do; divided by a temperature it stays a distribution, which ``1 - sum of maps`` for the background does
    not.

    Args:
        maps: One map per foreground class, ``(R, *S)`` in [0, 1]; clamped to ``[1e-6, 1 - 1e-6]``.

    Returns:
        ``(R + 1, *S)``, float64, background first.

    Raises:
        ValueRangeError: A map leaves [0, 1].
        DTypeError: ``maps`` is not floating point.
    """
    logits = _clamped(as_tensor(maps)).logit()
    return torch.cat((torch.zeros_like(logits[:1]), logits))


def scale_maps(maps: ArrayLike, temperature: float | int) -> Tensor:
    """Compute ``sigmoid(logit(m) / T)`` of each value of maps in [0, 1]; 0.5 and the order of values stay.

    Values are clamped to ``[1e-6, 1 - 1e-6]`` before and after, so that none is certain. The decisions of a
    model stay its own by definition: a threshold other than 0.5 is not moved along, the model's masks are
    kept.

    Args:
        maps: Maps of any shape.
        temperature: T, above 0.

    Returns:
        Maps of the same shape and type.

    Raises:
        ValueRangeError: ``temperature`` is not finite and above 0, or a map leaves [0, 1].
        DTypeError: ``maps`` is not floating point.
    """
    require_positive("temperature", temperature)
    tensor = as_tensor(maps)
    scaled = torch.sigmoid(_clamped(tensor).logit() / temperature)
    return scaled.clamp(MAP_EPSILON, 1 - MAP_EPSILON).to(tensor.dtype)


def _clamped(maps: Tensor) -> Tensor:
    """Return maps in double precision, away from 0 and 1."""
    require_floating(maps)
    if maps.numel() and not (float(maps.min()) >= 0 and float(maps.max()) <= 1):  # NaN compares as false
        raise ValueRangeError(
            f"maps hold values {float(maps.min()):g} .. {float(maps.max()):g}: they must lie in [0, 1]; "
            "give a signed map z as (z + 1) / 2"
        )
    return maps.double().clamp(MAP_EPSILON, 1 - MAP_EPSILON)


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
