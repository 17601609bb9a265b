"""Distance sigmoid: a region fades out over a width in millimetres around its boundary."""

from __future__ import annotations

import torch

from sfumato.checks import as_regions, require_positive
from sfumato.labels.definition import label_of
from sfumato.labels.signed_distance import signed_distance
from sfumato.structures import REGIONS
from sfumato.types import ArrayLike, RegionMaps, Spacing


def distance_sigmoid(regions: ArrayLike, *, spacing: Spacing, width_mm: float = 1.0) -> RegionMaps:
    """Pass each region's signed Euclidean distance through a sigmoid.

    ``sigmoid(d / width_mm)`` with ``d`` as :func:`signed_distance` measures it: in the region the distance
    in mm to the nearest voxel centre outside, outside minus the distance to the nearest one inside.

    Args:
        regions: ``(R, *S)``, booleans or 0 and 1; they may overlap.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        width_mm: Scale of the fade. Towards 0 the result tends to the mask.

    Returns:
        ``(R, *S)``, float32, in ``[0, 1]``; at least 0.5 in the region and at most 0.5 outside. An empty
        region is 0 everywhere, one that fills the image 1.

    Raises:
        ShapeError: ``regions`` or ``spacing`` has the wrong number of axes.
        ValueRangeError: ``width_mm`` or a ``spacing`` is not above 0, or ``regions`` holds values other than
            0 and 1.
    """
    require_positive("width_mm", width_mm)
    masks = as_regions(regions, axes=len(spacing))
    faded = torch.sigmoid(signed_distance(masks, spacing=spacing, normalise=False) / width_mm)
    flat = masks.flatten(1)
    column = (-1, *(1,) * len(spacing))
    # The distance to something that is not there is not a number of millimetres.
    faded = torch.where(flat.any(dim=1).view(column), faded, 0.0)
    return torch.where(flat.all(dim=1).view(column), 1.0, faded)


LABEL = label_of(distance_sigmoid, "distance-sigmoid", "distance sigmoid", REGIONS)
