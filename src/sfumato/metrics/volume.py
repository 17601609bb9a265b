"""Volumes: differences per case, millilitres, and agreement over many cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.checks import require_spacing
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.metrics.masks import count_voxels, leading_axes, mask, voxels
from sfumato.types import ArrayLike, PerRegion


def relative_volume_difference(
    pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None
) -> PerRegion:
    """Compute the signed volume difference over the reference's volume, ``(V_ref - V_pred) / V_ref``.

    Negative means over-segmentation, as in SoftSeg. Arguments and errors as :func:`~sfumato.metrics.dice`.

    Returns:
        One fraction per region, ``(R)`` or ``(B, R)``, float64. Empty reference: nan, whatever the
        prediction. Empty prediction of a reference that is there: 1.

    References:
        Gros, Lemay and Cohen-Adad (2021), SoftSeg: advantages of soft versus binary training for image
        segmentation, 10.1016/j.media.2021.102038
    """
    counts = count_voxels(pred, ref, spatial_axes=spatial_axes)
    difference = (counts.reference - counts.prediction).double()
    return torch.where(counts.reference > 0, difference / counts.reference.clamp_min(1), math.nan)


def absolute_volume_difference(
    pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None
) -> PerRegion:
    """Compute the size of the relative volume difference, ``|V_ref - V_pred| / V_ref``.

    Arguments, shapes, empty cases and errors as :func:`relative_volume_difference`.
    """
    return relative_volume_difference(pred, ref, spatial_axes=spatial_axes).abs()


def volume_ml(masks: ArrayLike, *, spacing: Sequence[float | int]) -> PerRegion:
    """Compute each region's volume in millilitres: voxels times the voxel's size.

    In 2-D the image counts as one millimetre thick.

    Args:
        masks: ``(R, *S)`` or ``(B, R, *S)``, boolean (or integers 0 and 1).
        spacing: Millimetres between voxel centres, one value per spatial axis.

    Returns:
        One volume per region, ``(R)`` or ``(B, R)``, float64, in ml. Empty mask: 0.

    Raises:
        ShapeError: ``spacing`` does not fit the axes.
        ValueRangeError: A spacing is not above 0.
    """
    tensor = mask("masks", masks)
    lead = leading_axes(tensor, len(spacing))
    require_spacing(spacing, tensor.shape[lead:], name="masks")
    return voxels(tensor, lead).double() * (math.prod(spacing) / 1000.0)


@dataclass(frozen=True)
class BlandAltman:
    """Agreement of two measurements of the same cases, in the measurements' unit."""

    bias: float  # mean of prediction - reference
    deviation: float  # standard deviation of the differences, ddof 1
    lower: float  # bias - 1.96 deviations
    upper: float  # bias + 1.96 deviations
    correlation: float  # Pearson's r; nan where either measurement is constant
    cases: int


def bland_altman(predicted: Sequence[float | int], reference: Sequence[float | int]) -> BlandAltman:
    """Compute bias, 95 % limits of agreement and correlation of predicted against reference volumes.

    Args:
        predicted: One volume per case.
        reference: The reference volumes of the same cases, in the same order.

    Returns:
        The limits ``bias -+ 1.96 SD`` of ``predicted - reference``. With fewer than two cases the
        deviation, limits and correlation are nan; with none the bias is nan too.

    Raises:
        ShapeError: The lengths differ.
        ValueRangeError: A volume is NaN or infinite.

    References:
        Bland and Altman (1986), Statistical methods for assessing agreement between two methods of
        clinical measurement, 10.1016/S0140-6736(86)90837-8
    """
    if len(predicted) != len(reference):
        raise ShapeError(
            f"predicted has {len(predicted)} volumes, but reference has {len(reference)}: one each per case"
        )
    if not all(math.isfinite(value) for value in (*predicted, *reference)):
        raise ValueRangeError("a volume is NaN or infinite: leave undefined cases out and count them")
    first = torch.tensor(list(predicted), dtype=torch.float64)
    second = torch.tensor(list(reference), dtype=torch.float64)
    bias = float((first - second).mean()) if len(first) else math.nan
    deviation = float((first - second).std()) if len(first) > 1 else math.nan
    margin = 1.96 * deviation
    return BlandAltman(bias, deviation, bias - margin, bias + margin, _pearson(first, second), len(first))


def _pearson(first: Tensor, second: Tensor) -> float:
    # The mean of equal numbers may differ from them by rounding, whose correlation would be chance.
    if len(first) < 2 or bool((first == first[0]).all()) or bool((second == second[0]).all()):
        return math.nan
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return max(-1.0, min(1.0, float(first @ second) / scale)) if scale > 0 else math.nan
