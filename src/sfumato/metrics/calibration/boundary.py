"""The voxels near the reference's surface, where soft labels matter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage

from sfumato.checks import as_tensor, require_positive, require_spacing
from sfumato.errors import DTypeError
from sfumato.types import ArrayLike, Mask

_SLAB = 2**24  # voxels per piece: the distance transform needs about 30 bytes for each


def boundary_band(labels: ArrayLike, *, spacing: Sequence[float | int], width_mm: float | int) -> Mask:
    """Mark the voxels that have a voxel of another class within ``width_mm``.

    Distances run between voxel centres, so the band holds whole voxels on both sides of every surface
    between two classes. The image's border is no surface.

    Args:
        labels: Reference classes, ``(*S)``, integers or booleans.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        width_mm: Reach to either side. Below the smallest spacing the band is empty.

    Returns:
        The mask, ``(*S)``. An image of one class only has no surface: False everywhere.

    Raises:
        ShapeError: ``spacing`` does not have one value per axis.
        ValueRangeError: ``width_mm`` or a spacing is not above 0.
        DTypeError: ``labels`` holds fractions.
    """
    tensor = as_tensor(labels)
    require_spacing(spacing, tensor.shape, name="labels")
    require_positive("width_mm", width_mm)
    if tensor.is_floating_point() or tensor.is_complex():
        raise DTypeError(f"labels has dtype {tensor.dtype}: class indices must be integers, not fractions")
    array = tensor.cpu().numpy()
    band = np.zeros(array.shape, dtype=bool)
    axis = max(range(array.ndim), key=lambda a: array.strides[a])
    halo = math.floor(width_mm / spacing[axis]) + 1
    # A thick piece keeps the share of voxels that are computed twice, in the halos, small.
    step = max(_SLAB // max(array.size // max(array.shape[axis], 1), 1), 2 * halo)
    for start in range(0, array.shape[axis], step):
        low, high = max(start - halo, 0), min(start + step + halo, array.shape[axis])
        piece = _band(array.take(range(low, high), axis=axis), spacing, width_mm)
        inner = range(start - low, min(start + step, array.shape[axis]) - low)
        where = [slice(None)] * array.ndim
        where[axis] = slice(start, start + step)
        band[tuple(where)] = piece.take(inner, axis=axis)
    return torch.from_numpy(band).to(tensor.device)


def _band(labels: np.ndarray, spacing: Sequence[float | int], width_mm: float | int) -> np.ndarray:
    band = np.zeros(labels.shape, dtype=bool)
    classes = np.unique(labels)
    if len(classes) < 2:
        return band
    for value in classes:
        inside = labels == value
        near = ndimage.distance_transform_edt(inside, sampling=spacing) <= width_mm * (1 + 1e-12)
        band |= near & inside
    return band
