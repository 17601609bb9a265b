"""Boundary voxels of a region: by the Canny detector, or exactly, on either side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from skimage.feature import canny
from torch import Tensor

from sfumato.checks import require_choice
from sfumato.errors import ValueRangeError
from sfumato.geodesic.boundary import inner_boundary, outer_boundary
from sfumato.types import Mask

BOUNDARIES: tuple[str, ...] = ("canny", "inner", "outer", "both")


class Boundary(NamedTuple):
    """The boundary voxels of one region and the rule that found them.

    Attributes:
        voxels: ``(*S)`` boolean.
        found_by: The rule asked for, or ``"inner"`` where that one found nothing.
    """

    voxels: Mask
    found_by: str


def boundary_voxels(region: Mask, *, rule: str = "canny", slice_axis: int = -1) -> Boundary:
    """Find the boundary voxels of a region, and never none unless the region is empty.

    ``inner``: voxels of the region with a face neighbour outside it. ``outer``: voxels outside with a face
    neighbour inside. ``both``: their union. ``canny``: the edges that the Canny detector (sigma 1) finds in
    the mask, slice by slice in 3-D; they may lie on either side. Beyond the image counts as outside the
    region, so the inner boundary of a region that fills the image is the image border. Where the rule
    finds nothing (a region that fills the image, or every slice of it, has no Canny edge), ``inner`` is used.

    Args:
        region: ``(*S)`` boolean, two or three axes.
        rule: How to find the boundary.
        slice_axis: The axis across which Canny's slices lie; not used in 2-D.

    Returns:
        The voxels and the rule that found them. An empty region has no boundary voxels.

    Raises:
        UnknownNameError: ``rule`` is not a known rule.
        ValueRangeError: ``slice_axis`` is not an axis of ``region``.
    """
    require_choice("boundary", rule, BOUNDARIES)
    if not -region.ndim <= slice_axis < region.ndim:
        raise ValueRangeError(f"slice_axis is {slice_axis}, but the region has {region.ndim} axes")
    if not bool(region.any()):
        return Boundary(torch.zeros_like(region), rule)
    if rule == "canny":
        voxels = _canny(region, slice_axis)
    else:
        voxels = torch.zeros_like(region)
        if rule in ("inner", "both"):
            voxels |= inner_boundary(region, region.ndim)
        if rule in ("outer", "both"):
            voxels |= outer_boundary(region, region.ndim)
    if bool(voxels.any()):
        return Boundary(voxels, rule)
    return Boundary(inner_boundary(region, region.ndim), "inner")


def _canny(region: Tensor, slice_axis: int) -> Tensor:
    """Find the Canny edges of the mask, slice by slice in 3-D."""
    array = region.cpu().numpy().astype(np.float64)
    slices = array[None] if array.ndim == 2 else np.moveaxis(array, slice_axis, 0)
    edges = np.zeros(slices.shape, dtype=np.bool_)
    for index, piece in enumerate(slices):
        if piece.any():
            # scikit-image has no annotations.
            edges[index] = canny(np.ascontiguousarray(piece))  # type: ignore[no-untyped-call]
    edges = edges[0] if array.ndim == 2 else np.moveaxis(edges, 0, slice_axis)
    return torch.from_numpy(np.ascontiguousarray(edges)).to(region.device)
