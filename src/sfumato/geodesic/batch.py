"""``geodesic_distance`` for batches, and for tensors on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_same_shape
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.geodesic import gpu
from sfumato.geodesic.cpu import AnyArray, image_distance
from sfumato.geodesic.gpu.distances import device_distances
from sfumato.geodesic.task import PathCost, Sources, boolean_tensor
from sfumato.types import ArrayLike

Steps = Sequence[float] | Sequence[Sequence[float]]


def is_batch(image: ArrayLike, spacing: Steps) -> bool:
    """Tell whether ``image`` is ``(B, C, *S)``, by its axes or by one spacing per item."""
    if len(spacing) and np.ndim(spacing[0]) > 0:
        return True
    return len(spacing) in (2, 3) and image.ndim == len(spacing) + 2


def batch_distance(
    image: AnyArray, sources: Sources, spacing: Steps, cost: PathCost, *, cutoff: float, threads: int | None
) -> AnyArray:
    """Compute the distances of a batch, or of one image on a GPU; arguments as in ``geodesic_distance``.

    Returns:
        ``(B, K, *S)``, or the shape of ``seeds`` for one image; torch or NumPy like ``image``, on its device.

    Raises:
        ShapeError, ValueRangeError, DTypeError: as in ``geodesic_distance``.
    """
    batched = is_batch(image, spacing)
    if batched and not len(image):
        raise ShapeError(f"image has shape {tuple(image.shape)}: a batch needs at least one item")
    steps = item_spacing(spacing, len(image) if batched else 1)
    axes = len(steps[0]) if steps else image.ndim - 2
    if axes not in (2, 3) or image.ndim not in ((axes + 2,) if batched else (axes, axes + 1)):
        raise ShapeError(
            f"spacing has {axes} values, but image has {image.ndim} axes {tuple(image.shape)}: give (*S), "
            "(C, *S) or a batch (B, C, *S), and the mm between voxels for each of its 2 or 3 spatial axes"
        )
    if isinstance(image, Tensor) and gpu.takes(image):
        return _on_device(image, sources, steps, cost, cutoff, batched=batched)
    for name, array in vars(sources).items():
        if array is not None and len(array) != len(steps):
            raise ShapeError(
                f"{name} has shape {tuple(array.shape)}: give one item for each of {len(steps)} images"
            )
    items = [
        image_distance(image[index], sources.item(index), step, cost, cutoff=cutoff, threads=threads)
        for index, step in enumerate(steps)
    ]
    if len(items) == 1:
        alone: AnyArray = items[0][None]  # Nothing is copied.
        return alone
    return torch.stack(items) if isinstance(image, Tensor) else np.stack(items)


def _on_device(
    image: Tensor,
    sources: Sources,
    steps: Sequence[Sequence[float]],
    cost: PathCost,
    cutoff: float,
    *,
    batched: bool,
) -> Tensor:
    axes = len(steps[0])
    wide = image if batched else image.reshape(1, -1, *image.shape[image.ndim - axes :])
    start, shape = _starts(wide, sources, batched=batched)
    allowed = None if sources.mask is None else _allowed(sources.mask, wide, batched=batched)
    limits = None if cutoff == math.inf else start.new_full(start.shape[:2], cutoff)
    distance = device_distances(wide, start, spacing=steps, cost=cost, limits=limits, allowed=allowed)
    return distance.reshape(shape)


def item_spacing(spacing: Steps, items: int) -> list[tuple[float, ...]]:
    """Return one spacing per item, whether one was given for all or one for each.

    Raises:
        ShapeError: there is not one spacing for each item.
    """
    if not len(spacing) or np.ndim(spacing[0]) == 0:
        return [tuple(float(step) for step in spacing)] * items  # type: ignore[arg-type]
    if len(spacing) != items:
        raise ShapeError(f"spacing has {len(spacing)} items, but image has {items}: give one for each")
    return [tuple(float(step) for step in item) for item in spacing]  # type: ignore[union-attr]


def _starts(image: Tensor, sources: Sources, *, batched: bool) -> tuple[Tensor, tuple[int, ...]]:
    """Return what starting at each voxel costs, ``(B, K, *S)``, and the result's shape."""
    given = [
        (name, as_tensor(array).detach().to(image.device))
        for name, array in (("seeds", sources.seeds), ("seed_cost", sources.seed_cost))
        if array is not None
    ]
    axes = image.ndim - 2
    for name, array in given:
        outer = array.shape[: array.ndim - axes]
        if tuple(array.shape[array.ndim - axes :]) != tuple(image.shape[2:]) or (
            tuple(outer[:1]) != tuple(image.shape[:1]) or len(outer) != 2 if batched else len(outer) > 1
        ):
            raise ShapeError(
                f"{name} has shape {tuple(array.shape)}, but image has spatial shape "
                f"{tuple(image.shape[2:])}: give (*S), (K, *S) for several sets, (B, K, *S) with a batch"
            )
    shape = max((tuple(array.shape) for _, array in given), key=len)
    start = torch.zeros((), device=image.device)
    for name, array in given:
        if name == "seeds":
            start = torch.where(boolean_tensor(name, array), start, math.inf)
        else:
            if bool((array.isnan() | (array < 0)).any()):
                raise ValueRangeError("seed_cost holds NaN or negative values: starting costs 0 or more")
            start = start + array.to(torch.float32)
    return start.expand(shape).reshape(len(image), -1, *image.shape[2:]).to(torch.float32), shape


def _allowed(mask: ArrayLike, image: Tensor, *, batched: bool) -> Tensor:
    flags = boolean_tensor("mask", mask).to(image.device)
    wanted = (len(image), *image.shape[2:]) if batched else tuple(image.shape[2:])
    require_same_shape("mask", flags.shape, "image's spatial part", wanted)
    return flags.reshape(len(image), 1, *image.shape[2:])
