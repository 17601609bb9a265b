"""Region masks: binary maps, one per structure, that may overlap."""

from __future__ import annotations

import torch

from sfumato.checks import as_tensor
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.types import ArrayLike, Regions


def as_regions(regions: ArrayLike, *, axes: int) -> Regions:
    """Check region masks and return them as booleans ``(R, *S)``.

    Args:
        regions: ``(R, *S)``, booleans or numbers that are 0 or 1.
        axes: Number of spatial axes.

    Raises:
        ShapeError: there is not one axis more than ``axes``, or there is no region.
        ValueRangeError: a value is neither 0 nor 1; nothing is thresholded in silence.
    """
    regions = as_tensor(regions)
    if regions.ndim != axes + 1 or len(regions) == 0:
        raise ShapeError(
            f"regions have shape {tuple(regions.shape)}: with {axes} spatial axes give (R, *S), "
            f"that is {axes + 1} axes and at least one region"
        )
    if regions.dtype == torch.bool:
        return regions
    if not bool(((regions == 0) | (regions == 1)).all()):
        raise ValueRangeError("regions hold values other than 0 and 1: threshold them first")
    return regions == 1
