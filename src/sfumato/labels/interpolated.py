"""Interpolated masks: the fractions that resampling gives a mask, kept instead of rounded away."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_finite
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.labels.definition import Label, Options, TargetCase
from sfumato.structures import REGIONS
from sfumato.types import ArrayLike, RegionMaps

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


def interpolated(regions: ArrayLike, *, size: tuple[int, ...] | None = None) -> RegionMaps:
    """Resample masks linearly onto another grid over the same field of view, without binarising.

    Every new voxel centre takes the linear interpolation of the masks between the old centres around it;
    past the outermost centres the border value continues. Works equally on one-hot labels, whose sum over
    the classes it keeps.

    Args:
        regions: ``(R, *S)``, booleans or values in ``[0, 1]``.
        size: Voxels of the new grid, one number per spatial axis; ``None`` keeps the grid and only makes
            the values float32.

    Returns:
        ``(R, *size)``, float32, in ``[0, 1]``. An empty region stays 0, one that fills the image 1.

    Raises:
        ShapeError: ``regions`` does not have one to three spatial axes, or ``size`` does not fit them.
        ValueRangeError: ``regions`` holds values outside ``[0, 1]``, or a ``size`` is below 1.

    References:
        Gros, Lemay and Cohen-Adad (2021), SoftSeg: advantages of soft versus binary training for image
        segmentation, doi:10.1016/j.media.2021.102038.
    """
    regions = as_tensor(regions)
    axes = regions.ndim - 1
    if axes not in _MODES:
        raise ShapeError(
            f"regions have shape {tuple(regions.shape)}: give (R, *S) with one to three spatial axes"
        )
    values = regions.to(torch.float32)
    require_finite("regions", values)
    if values.numel() and (float(values.min()) < 0.0 or float(values.max()) > 1.0):
        raise ValueRangeError(
            f"regions hold values {float(values.min())} .. {float(values.max())}: they must lie in [0, 1]"
        )
    if size is None:
        return values
    if len(size) != axes:
        raise ShapeError(f"size has {len(size)} values, but regions have {axes} spatial axes")
    if min(size) < 1:
        raise ValueRangeError(f"size is {size}: every value must be at least 1")
    out = torch.nn.functional.interpolate(values[None], size=size, mode=_MODES[axes], align_corners=False)[0]
    # Weights that sum to 1 + rounding must not push a full mask past 1.
    return out.clamp(0.0, 1.0)


def _make(case: TargetCase, _: Options) -> Tensor:
    return interpolated(case.maps())


LABEL = Label("region-mask", "region mask", REGIONS, _make, takes_weights=True, when="after")
MOVED = Label("interpolated-mask", "interpolated mask", REGIONS, _make, takes_weights=True, moves_mask=True)
ROUNDED = replace(MOVED, name="binarised-mask", title="binarised mask", binarise=True)
