"""Signed Euclidean distance maps: positive in the region, negative outside."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sfumato.checks import as_regions, require_spacing
from sfumato.geodesic import euclidean_distance
from sfumato.labels.definition import Label, Options, TargetCase
from sfumato.structures import SIGNED
from sfumato.types import ArrayLike, RegionMaps, Spacing


# normalise is part of the published signature; the two results differ only in their unit.
def signed_distance(regions: ArrayLike, *, spacing: Spacing, normalise: bool = True) -> RegionMaps:
    """Measure how deep in, or how far from, its region every voxel lies.

    In the region: the distance in mm to the nearest voxel centre outside it; outside: minus the distance
    to the nearest one inside. With ``normalise`` each side is divided by its own largest distance.

    Args:
        regions: ``(R, *S)``, booleans or 0 and 1; they may overlap.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        normalise: Scale to ``[-1, 1]``; otherwise the values are in mm.

    Returns:
        ``(R, *S)``, float32. Never 0, so thresholding at 0 gives the region back exactly. A region that is
        empty is -1 everywhere (in mm: minus the image's diagonal), one that fills the image 1 (the
        diagonal).

    Raises:
        ShapeError: ``regions`` or ``spacing`` has the wrong number of axes.
        ValueRangeError: ``regions`` holds values other than 0 and 1, or ``spacing`` is not above 0.

    References:
        Xue et al. (2020), Shape-aware organ segmentation by predicting signed distance maps,
        doi:10.1609/aaai.v34i07.6946 (there the inside is negative).
    """
    masks = as_regions(regions, axes=len(spacing))
    require_spacing(spacing, masks.shape[1:], name="each region")
    diagonal = math.hypot(*(side * step for side, step in zip(masks.shape[1:], spacing, strict=True)))
    maps = torch.empty(masks.shape, dtype=torch.float32, device=masks.device)
    for index, mask in enumerate(masks):
        if bool(mask.all()) or not bool(mask.any()):
            far = 1.0 if normalise else diagonal
            maps[index] = far if bool(mask.any()) else -far
            continue
        depth = euclidean_distance(~mask, spacing=spacing)
        distance = euclidean_distance(mask, spacing=spacing)
        if normalise:
            depth, distance = depth / depth.max(), distance / distance.max()
        maps[index] = torch.where(mask, depth, -distance)
    return maps


def _make(case: TargetCase, _: Options) -> Tensor:
    # Targets lie in [-1, 1], so normalise is no option of theirs.
    return signed_distance(case.masks(), spacing=case.spacing)


LABEL = Label("signed-distance", "signed distance", SIGNED, _make)
