"""Region masks: binary maps, one per structure, that may overlap."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sfumato.checks import as_tensor
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.types import ArrayLike, RegionMaps, Regions


def as_regions(regions: ArrayLike, *, axes: int) -> Regions:
    """Give region masks as booleans ``(R, *S)``.

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


def region_weights(soft: ArrayLike, *, values: Sequence[Sequence[int]]) -> RegionMaps:
    """Give one map per entry of ``values``: the weight of the entry's classes together.

    Of one-hot labels these are the masks of :func:`label_regions`.

    Args:
        soft: Class weights, ``(K, *S)``.
        values: The classes of each region, ``R`` entries; they may share classes.

    Returns:
        ``(R, *S)``, float32, in ``[0, 1]``.
    """
    soft = as_tensor(soft).to(torch.float32)
    # Weights that sum to 1 + rounding must not push a full region past 1.
    return torch.stack([soft[list(dict.fromkeys(wanted))].sum(dim=0).clamp(0.0, 1.0) for wanted in values])


def label_regions(labels: ArrayLike, *, values: Sequence[Sequence[int]]) -> Regions:
    """Give one mask per entry of ``values``: the voxels whose label is among the entry's.

    Args:
        labels: Class indices, ``(*S)``.
        values: The label values of each region, ``R`` entries; they may share values.

    Returns:
        ``(R, *S)`` boolean.
    """
    labels = as_tensor(labels)
    masks = torch.zeros((len(values), *labels.shape), dtype=torch.bool, device=labels.device)
    for index, wanted in enumerate(values):
        for value in wanted:
            masks[index] |= labels == value
    return masks
