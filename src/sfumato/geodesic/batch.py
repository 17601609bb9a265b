"""``geodesic_distance`` for batches, and for tensors on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_same_shape
from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.geodesic import gpu
from sfumato.geodesic.distance import geodesic_distance, is_batch
from sfumato.types import ArrayLike

Steps = Sequence[float] | Sequence[Sequence[float]]


def batch_distance(
    image: Any,  # noqa: ANN401 - torch or NumPy, and the result is of the same kind
    seeds: ArrayLike | None,
    *,
    spacing: Steps,
    cost: str,
    weight: float,
    cutoff: float,
    mask: ArrayLike | None,
    seed_cost: ArrayLike | None,
    threads: int | None,
) -> Any:  # noqa: ANN401
    """Distances of a batch, or of one image on a GPU; arguments as in ``geodesic_distance``.

    Returns:
        ``(B, K, *S)``, or the shape of ``seeds`` for one image; of ``image``'s kind and on its device.

    Raises:
        ShapeError, ValueRangeError, DTypeError, UnknownNameError: as in ``geodesic_distance``.
    """
    batched = is_batch(image, spacing)
    if batched and not len(image):
        raise ShapeError(f"image has shape {tuple(image.shape)}: a batch needs at least one item")
    steps = item_spacing(spacing, len(image) if batched else 1)
    axes = len(steps[0]) if steps else image.ndim - 2
    pixels = as_tensor(image)
    if axes not in (2, 3) or pixels.ndim not in ((axes + 2,) if batched else (axes, axes + 1)):
        raise ShapeError(
            f"spacing has {axes} values, but image has {pixels.ndim} axes {tuple(pixels.shape)}: give (*S), "
            "(C, *S) or a batch (B, C, *S), and the mm between voxels for each of its 2 or 3 spatial axes"
        )
    if not gpu.takes(image):
        arrays: dict[str, Any] = {"seeds": seeds, "seed_cost": seed_cost, "mask": mask}
        for name, array in arrays.items():
            if array is not None and len(array) != len(steps):
                raise ShapeError(
                    f"{name} has shape {tuple(array.shape)}: give one item for each of {len(steps)} images"
                )
        found = []
        for index, each in enumerate(steps):
            own = {name: None if array is None else array[index] for name, array in arrays.items()}
            options: dict[str, Any] = {**own, "cost": cost, "weight": weight, "cutoff": cutoff}
            found.append(geodesic_distance(image[index], spacing=each, threads=threads, **options))
        return torch.stack(found) if isinstance(image, Tensor) else np.stack(found)
    from sfumato.geodesic.gpu.distances import device_distances

    wide = pixels if batched else pixels.reshape(1, -1, *pixels.shape[pixels.ndim - axes :])
    start, shape = _starts(wide, seeds, seed_cost, batched=batched)
    allowed = None if mask is None else _allowed(mask, wide, batched=batched)
    limits = None if cutoff == math.inf else start.new_full(start.shape[:2], cutoff)
    return device_distances(
        wide, start, spacing=steps, cost=cost, weight=weight, limits=limits, allowed=allowed
    ).reshape(shape)


def item_spacing(spacing: Steps, items: int) -> list[tuple[float, ...]]:
    """One spacing per item, whether one was given for all or one for each.

    Raises:
        ShapeError: there is not one spacing for each item.
    """
    if not len(spacing) or np.ndim(spacing[0]) == 0:
        return [tuple(float(step) for step in spacing)] * items  # type: ignore[arg-type]
    if len(spacing) != items:
        raise ShapeError(f"spacing has {len(spacing)} items, but image has {items}: give one for each")
    return [tuple(float(step) for step in each) for each in spacing]  # type: ignore[union-attr]


def _starts(
    image: Tensor, seeds: ArrayLike | None, seed_cost: ArrayLike | None, *, batched: bool
) -> tuple[Tensor, tuple[int, ...]]:
    """What starting at each voxel costs, ``(B, K, *S)`` on the image's device, and the result's shape."""
    if seeds is None and seed_cost is None:
        raise ValueRangeError("seeds is None and there is no seed_cost: give one of them")
    given = [
        (name, as_tensor(array).detach().to(image.device))
        for name, array in (("seeds", seeds), ("seed_cost", seed_cost))
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
            if array.dtype != torch.bool:
                raise DTypeError(f"seeds has dtype {array.dtype}: it must be boolean, e.g. labels == 1")
            start = torch.where(array, start, math.inf)
        else:
            if bool((array.isnan() | (array < 0)).any()):
                raise ValueRangeError("seed_cost holds NaN or negative values: starting costs 0 or more")
            start = start + array.to(torch.float32)
    return start.expand(shape).reshape(len(image), -1, *image.shape[2:]).to(torch.float32), shape


def _allowed(mask: ArrayLike, image: Tensor, *, batched: bool) -> Tensor:
    flags = as_tensor(mask).detach().to(image.device)
    if flags.dtype != torch.bool:
        raise DTypeError(f"mask has dtype {flags.dtype}: it must be boolean, e.g. labels == 1")
    wanted = (len(image), *image.shape[2:]) if batched else tuple(image.shape[2:])
    require_same_shape("mask", flags.shape, "image's spatial part", wanted)
    return flags.reshape(len(image), 1, *image.shape[2:])
