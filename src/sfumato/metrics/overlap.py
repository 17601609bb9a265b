"""Overlap of prediction and reference: Dice, IoU, precision, recall, specificity, soft forms; squared error.

Empty masks, for every overlap here: both empty gives 1, only one empty gives 0. No value is undefined.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_finite, require_same_shape
from sfumato.errors import ValueRangeError
from sfumato.metrics.masks import count_voxels, leading_axes, slabs
from sfumato.types import ArrayLike, PerRegion


def dice(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> PerRegion:
    """Compute the Dice similarity, ``2 |P and T| / (|P| + |T|)``, per region.

    Args:
        pred: Predicted masks, ``(R, *S)`` or ``(B, R, *S)``, boolean (or integers 0 and 1).
        ref: Reference masks, of the same shape.
        spatial_axes: Number of spatial axes. Four axes need it: 3 for regions of a volume, 2 for a batch
            of 2-D regions; three are ``(R, H, W)`` and five ``(B, R, D, H, W)`` by themselves.

    Returns:
        One value in [0, 1] per region, ``(R)`` or ``(B, R)``, float64. Both masks empty: 1. One empty: 0.

    Raises:
        ShapeError: The shapes differ, leave no region axis, or have four axes without ``spatial_axes``.
        DTypeError: A mask holds fractions.
        ValueRangeError: An integer mask holds other values than 0 and 1.

    Example:
        >>> dice(torch.tensor([[True, True, False]]), torch.tensor([[True, False, False]]))
        tensor([0.6667], dtype=torch.float64)

    References:
        Dice (1945), Measures of the amount of ecologic association between species, 10.2307/1932409
    """
    counts = count_voxels(pred, ref, spatial_axes=spatial_axes)
    return _fraction(2 * counts.both, counts.prediction + counts.reference)


def iou(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> PerRegion:
    """Compute the intersection over union, ``|P and T| / |P or T|``, per region.

    Arguments, shapes and errors as :func:`dice`. Both masks empty: 1. One empty: 0.
    """
    counts = count_voxels(pred, ref, spatial_axes=spatial_axes)
    return _fraction(counts.both, counts.both + counts.prediction_only + counts.reference_only)


def precision(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> PerRegion:
    """Compute the share of the predicted voxels that the reference holds, ``|P and T| / |P|``, per region.

    Arguments, shapes and errors as :func:`dice`. Both masks empty: 1. One empty: 0.
    """
    counts = count_voxels(pred, ref, spatial_axes=spatial_axes)
    missed = (counts.prediction == 0) & (counts.reference > 0)
    return _fraction(counts.both, counts.prediction).masked_fill(missed, 0.0)


def recall(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> PerRegion:
    """Compute the share of the reference's voxels that are predicted, ``|P and T| / |T|``, per region.

    Arguments, shapes and errors as :func:`dice`. Both masks empty: 1. One empty: 0.
    """
    counts = count_voxels(pred, ref, spatial_axes=spatial_axes)
    invented = (counts.reference == 0) & (counts.prediction > 0)
    return _fraction(counts.both, counts.reference).masked_fill(invented, 0.0)


def specificity(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> PerRegion:
    """Compute the share of the voxels outside the reference that are outside the prediction too.

    It is the recall of the two complements. Arguments, shapes and errors as :func:`dice`.
    Both masks fill the image: 1. Only the reference fills it: 0. Both masks empty: 1.
    """
    counts = count_voxels(pred, ref, spatial_axes=spatial_axes)
    outside = counts.neither + counts.prediction_only
    left_over = (outside == 0) & (counts.reference_only > 0)
    return _fraction(counts.neither, outside).masked_fill(left_over, 0.0)


def soft_dice(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> PerRegion:
    """Compute the Dice of soft maps in semimetric form, ``(|p| + |q| - |p - q|) / (|p| + |q|)``.

    ``|.|`` is the sum of absolute values over the voxels. On hard masks it is the Dice similarity; on
    soft ones it is 1 exactly when both are equal, which ``2 sum pq / (sum p + sum q)`` is not.

    Args:
        pred: Predicted maps in [0, 1], ``(R, *S)`` or ``(B, R, *S)``, floating point or boolean.
        ref: Reference maps in [0, 1], of the same shape.
        spatial_axes: Number of spatial axes, as in :func:`dice`.

    Returns:
        One value in [0, 1] per region, ``(R)`` or ``(B, R)``, float64. Both maps 0 everywhere: 1.
        Only one of them: 0.

    Raises:
        ShapeError: The shapes differ, or leave no region axis.
        ValueRangeError: A value lies outside [0, 1], or is NaN.

    References:
        Wang, Ning and Blaschko (2023), Jaccard metric losses: optimizing the Jaccard index with soft
        labels, arXiv:2302.05666; the Dice form is the authors' Dice semimetric loss, arXiv:2303.16296
    """
    size, gap = _size_and_gap(pred, ref, spatial_axes)
    return _fraction(size - gap, size)


def soft_iou(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> PerRegion:
    """Compute the IoU of soft maps, ``(|p| + |q| - |p - q|) / (|p| + |q| + |p - q|)``, per region.

    On hard masks it is the intersection over union; 1 exactly when both maps are equal.
    Arguments, shapes, empty cases, errors and reference as :func:`soft_dice`.
    """
    size, gap = _size_and_gap(pred, ref, spatial_axes)
    return _fraction(size - gap, size + gap)


def mean_squared_error(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> PerRegion:
    """Average ``(p - q)^2`` over the voxels, per region.

    Args:
        pred: Predicted maps, ``(R, *S)`` or ``(B, R, *S)``, any real type.
        ref: Reference maps (soft or hard), of the same shape.
        spatial_axes: Number of spatial axes, as in :func:`dice`.

    Returns:
        One value per region, ``(R)`` or ``(B, R)``, float64. Defined for empty maps; nan only for an
        image without voxels, or where a map holds NaN.

    Raises:
        ShapeError: The shapes differ, or leave no region axis.
    """
    first, second, dims = _same_maps(pred, ref, spatial_axes)
    total = torch.zeros(first.shape[: dims[0]], dtype=torch.float64, device=first.device)
    for one, two in slabs(first, second, dims[0]):
        total += (one.double() - two.double()).square_().sum(dim=dims)
    return total / math.prod(first.shape[dims[0] :])


def _fraction(part: Tensor, whole: Tensor) -> Tensor:
    """Divide; nothing of nothing counts as complete agreement, 1."""
    # In float64 before anything else: clamping an integer by a fraction would go through float32.
    ratio = part.double() / whole.double().clamp_min(torch.finfo(torch.float64).tiny)
    return torch.where(whole > 0, ratio, 1.0)


def _same_maps(
    pred: ArrayLike, ref: ArrayLike, spatial_axes: int | None
) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Return two maps of one shape, and which of their axes are spatial."""
    first, second = as_tensor(pred), as_tensor(ref)
    require_same_shape("pred", first.shape, "ref", second.shape)
    return first, second, tuple(range(leading_axes(first, spatial_axes), first.ndim))


def _size_and_gap(pred: ArrayLike, ref: ArrayLike, spatial_axes: int | None) -> tuple[Tensor, Tensor]:
    """Compute ``|p| + |q|`` and ``|p - q|`` per region, in float64."""
    first, second, dims = _same_maps(pred, ref, spatial_axes)
    size, gap = torch.zeros(2, *first.shape[: dims[0]], dtype=torch.float64, device=first.device)
    for one, two in slabs(first, second, dims[0]):
        p, q = _fractions("pred", one), _fractions("ref", two)
        size += p.sum(dim=dims) + q.sum(dim=dims)
        gap += (p - q).abs().sum(dim=dims)
    return size, gap


def _fractions(name: str, array: Tensor) -> Tensor:
    values = array.double()
    require_finite(name, values)
    if values.numel() and (float(values.min()) < 0 or float(values.max()) > 1):
        raise ValueRangeError(
            f"{name} holds values {float(values.min()):g} .. {float(values.max()):g}: "
            "soft maps must lie in [0, 1]"
        )
    return values
