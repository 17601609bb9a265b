"""Dilation softening: rings around a region get values between 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sfumato.checks import as_regions, as_tensor, require_between
from sfumato.geodesic.boundary import outer_boundary
from sfumato.labels.definition import label_of
from sfumato.structures import REGIONS
from sfumato.types import ArrayLike, RegionMaps


def dilation(regions: ArrayLike, *, values: Sequence[float] = (0.3,)) -> RegionMaps:
    """Set the rings that dilation adds to a region to values between 0 and 1.

    Ring ``n`` holds the voxels that the ``n``-th dilation by face neighbours adds, in voxels whatever the
    spacing.

    Args:
        regions: ``(R, *S)``, booleans or 0 and 1; they may overlap.
        values: One value per ring in ``[0, 1]``, from the region outwards; none leaves the region hard. Below
            0.5, thresholding there gives the region back.

    Returns:
        ``(R, *S)``, float32: 1 in the region, the rings' values around it, 0 elsewhere. An empty region is 0
        everywhere, one that fills the image 1.

    Raises:
        ShapeError: there are no spatial axes or no region.
        ValueRangeError: a ring's value is outside ``[0, 1]``, or ``regions`` holds other values than 0 and 1.

    Example:
        >>> dilation(torch.tensor([[0, 0, 1, 0, 0]]), values=(0.6, 0.2))
        tensor([[0.2000, 0.6000, 1.0000, 0.6000, 0.2000]])

    References:
        Kats, Goldberger and Greenspan (2019), Soft labeling by distilling anatomical knowledge for improved
        MS lesion segmentation, doi:10.1109/ISBI.2019.8759518 (one ring; several are ours).
    """
    regions = as_tensor(regions)
    grown = as_regions(regions, axes=max(regions.ndim - 1, 1))
    for index, value in enumerate(values):
        require_between(f"value {index + 1} of the rings", value, 0.0, 1.0)
    maps = grown.to(torch.float32)
    for value in values:
        ring = outer_boundary(grown, regions.ndim - 1)
        maps = torch.where(ring, value, maps)
        grown = grown | ring
    return maps


LABEL = label_of(dilation, "dilation", "dilation", REGIONS, when="after")
