"""Mean squared error of soft maps."""

from __future__ import annotations

import math

import torch

from sfumato.checks import as_tensor, require_same_shape
from sfumato.metrics.masks import leading_axes
from sfumato.metrics.slabs import slabs
from sfumato.types import ArrayLike, PerRegion


def mean_squared_error(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> PerRegion:
    """Average ``(p - q)^2`` over the voxels, per region.

    Args:
        pred: Predicted maps, ``(R, *S)`` or ``(B, R, *S)``, any real type.
        ref: Reference maps (soft or hard), of the same shape.
        spatial_axes: Number of spatial axes, as in :func:`~sfumato.metrics.overlap.dice`.

    Returns:
        One value per region, ``(R)`` or ``(B, R)``, float64. Defined for empty maps; nan only for an
        image without voxels, or where a map holds NaN.

    Raises:
        ShapeError: The shapes differ, or leave no region axis.
    """
    first, second = as_tensor(pred), as_tensor(ref)
    require_same_shape("pred", first.shape, "ref", second.shape)
    lead = leading_axes(first, spatial_axes)
    dims = tuple(range(lead, first.ndim))
    total = torch.zeros(first.shape[:lead], dtype=torch.float64, device=first.device)
    for one, two in slabs(first, second, lead):
        total += (one.double() - two.double()).square_().sum(dim=dims)
    return total / math.prod(first.shape[lead:])
