"""``geodesic_distance`` for tensors on the GPU: checked, brought to one form, solved without leaving it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.checks import require_finite, require_spacing
from sfumato.errors import DTypeError, ValueRangeError
from sfumato.geodesic.gpu.solve import SolverWork, solve
from sfumato.geodesic.task import PathCost

_EXACT = (torch.float32, torch.int8, torch.uint8, torch.int16, torch.bool)  # All fit into float32.
_HALVES = (torch.float16, torch.bfloat16)


def device_distances(
    image: Tensor,
    start: Tensor,
    *,
    spacing: Sequence[Sequence[float]],
    cost: PathCost,
    limits: Tensor | None = None,
    allowed: Tensor | None = None,
    work: SolverWork | None = None,
) -> Tensor:
    """Compute the distances of every seed set of every item.

    Args:
        image: ``(B, C, *S)``, two or three spatial axes, any real type, finite.
        start: ``(B, K, *S)`` float32: what a path pays to start at a voxel; infinite: no seed.
        spacing: Millimetres per spatial axis, for each item.
        cost: As in ``geodesic_distance``.
        limits: ``(B, K)``: farther voxels are infinite; None: no limit.
        allowed: ``(B, 1 or K, *S)`` boolean: True where paths may go.
        work: Filled in where given.

    Returns:
        ``(B, K, *S)`` float32.

    Raises:
        ShapeError, ValueRangeError, DTypeError: as in ``geodesic_distance``.
        ValueRangeError: one seed set has more than ``2^31 - 1`` voxels, or its numbers leave float32.
    """
    axes = image.ndim - 2
    pixels, span = _float32(image)
    thin = (1,) * (3 - axes)
    start = start.to(torch.float32)
    steps = [tuple(float(step) for step in item) for item in spacing]
    for item in steps:
        require_spacing(item, image.shape[2:])
    plans = [cost.plan(item, span, max(image.shape[1], 1)) for item in steps]
    for ready in plans:
        if not ready.is_safe:
            raise ValueRangeError(
                f"image spans {span:g} with spacing {steps[0]} mm and weight {cost.weight:g}: the costs "
                "leave float32 on the GPU; scale the image, or compute on the CPU with image.cpu()"
            )
    if limits is None:
        limits = start.new_full(start.shape[:2], math.inf)
    distance = solve(
        pixels.reshape(*pixels.shape[:2], *thin, *image.shape[2:]),
        start.reshape(*start.shape[:2], *thin, *start.shape[2:]),
        spacing=[(*(1.0,) * len(thin), *item) for item in steps],
        plan=plans[0] if plans else cost.plan((1.0,) * axes, span, 1),
        limits=limits,
        allowed=None if allowed is None else allowed.reshape(*allowed.shape[:2], *thin, *allowed.shape[2:]),
        work=work,
    )
    return distance.reshape(start.shape)


def _float32(image: Tensor) -> tuple[Tensor, float]:
    """Return the image in float32, and its largest difference; the host looks at the device once."""
    if image.is_complex():
        raise DTypeError(f"image has dtype {image.dtype}: it must be real")
    pixels = image.detach()
    pixels = pixels.float() if pixels.dtype in _HALVES else pixels
    if pixels.numel() == 0:
        return pixels.float(), 0.0
    ends = torch.stack([end.to(torch.float64) for end in pixels.aminmax()])
    low, high = ends.tolist()
    if not (math.isfinite(low) and math.isfinite(high)):
        require_finite("image", pixels)
    if high - low > 3e38:
        raise ValueRangeError(f"image spans {low} .. {high}: float32 cannot hold it, scale it first")
    if pixels.dtype in _EXACT:
        return pixels.float(), high - low
    if not pixels.is_floating_point() and high - low < 2**62:
        # In integers the shift is exact.
        return ((pixels.to(torch.int64) - int(low)).to(torch.float64) - (high - low) / 2).float(), high - low
    return (pixels.to(torch.float64) - (low + (high - low) / 2)).float(), high - low
