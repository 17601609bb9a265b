"""Seed voxels of every class, from which distances are measured."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import skeletonize
from torch import Tensor

from sfumato.checks import as_tensor, require_choice, require_labels, require_same_shape
from sfumato.errors import DTypeError, ValueRangeError
from sfumato.types import ArrayLike, BoolArray, Regions

SEEDS: tuple[str, ...] = ("skeleton", "random", "erosion")


def seed_voxels(
    labels: ArrayLike,
    *,
    num_classes: int,
    seeds: str | ArrayLike = "skeleton",
    num_seeds: int = 5,
    erosion_radius: int = 1,
    generator: torch.Generator | None = None,
) -> Regions:
    """Choose the seed voxels of each class.

    ``skeleton``: the morphological skeleton of the class's region; a connected piece that thinning removes
    altogether keeps all its voxels. ``random``: ``num_seeds`` different voxels of the region, drawn with
    equal chance, or all of them where there are fewer. ``erosion``: what a ball of ``erosion_radius`` voxels
    leaves of the region (the image's edge does not erode); a region that it empties keeps its own voxels.

    Args:
        labels: Class indices, ``(*S)``, integers in ``0 .. num_classes - 1``.
        num_classes: Number of classes ``K``, background included.
        seeds: The rule, or the seeds themselves: boolean ``(K, *S)``, taken as they are.
        num_seeds: Voxels per class for ``"random"``.
        erosion_radius: Radius of the ball for ``"erosion"``, in voxels.
        generator: Source of the random voxels; ``None`` takes torch's own.

    Returns:
        Seeds, boolean ``(K, *S)``. A class that is absent has none.

    Raises:
        DTypeError: explicit seeds are not boolean.
        ShapeError: explicit seeds are not ``(K, *S)``.
        UnknownNameError: the rule is not known.
        ValueRangeError: ``num_seeds`` or ``erosion_radius`` is below 1, or explicit seeds are all False.
    """
    labels = as_tensor(labels)
    require_labels(labels, num_classes)
    if not isinstance(seeds, str):
        return explicit_seeds(seeds, labels, num_classes)
    require_choice("seeds", seeds, SEEDS)
    for name, value in (("num_seeds", num_seeds), ("erosion_radius", erosion_radius)):
        if value < 1:
            raise ValueRangeError(f"{name} is {value}: it must be at least 1")
    chosen = torch.zeros((num_classes, *labels.shape), dtype=torch.bool, device=labels.device)
    for index in range(num_classes):
        region = labels == index
        if not bool(region.any()):
            continue
        if seeds == "random":
            chosen[index] = _random(region, num_seeds, generator)
            continue
        if seeds == "erosion" and region.device.type != "cpu":
            chosen[index] = eroded(region, erosion_radius)
            continue
        array = region.cpu().numpy()
        picked = _skeleton(array) if seeds == "skeleton" else _eroded(array, erosion_radius)
        chosen[index] = torch.from_numpy(picked).to(labels.device)
    return chosen


def explicit_seeds(seeds: ArrayLike, labels: Tensor, num_classes: int) -> Regions:
    """Check seeds ``(K, *S)`` that were given, and bring them to the labels' device."""
    seeds = as_tensor(seeds)
    if seeds.dtype != torch.bool:
        raise DTypeError(f"seeds have dtype {seeds.dtype}: give a boolean array (K, *S)")
    require_same_shape("seeds", seeds.shape, "one map per class", (num_classes, *labels.shape))
    # Set by set, because the first one nearly always answers it.
    if not any(_is_any(one) for one in seeds):
        raise ValueRangeError("seeds are all False: at least one class needs a seed voxel")
    return seeds.to(labels.device)


def _is_any(flags: Tensor) -> bool:
    """Tell whether one is True; NumPy stops there, torch reads on."""
    return bool(flags.numpy().any() if flags.device.type == "cpu" else flags.any())


def _random(region: Tensor, num_seeds: int, generator: torch.Generator | None) -> Tensor:
    voxels = region.nonzero()
    device = generator.device if generator is not None else torch.device("cpu")
    order = torch.randperm(len(voxels), generator=generator, device=device)[:num_seeds]
    picked = torch.zeros_like(region)
    picked[tuple(voxels[order.to(voxels.device)].T)] = True
    return picked


def _skeleton(region: BoolArray) -> BoolArray:
    region = np.ascontiguousarray(region)
    # scikit-image has no annotations.
    thin = np.asarray(skeletonize(region), dtype=np.bool_)  # type: ignore[no-untyped-call]
    # Thinning can remove a small piece altogether (a 2x2x2 block); such a piece seeds with all its voxels.
    pieces, count = ndimage.label(region, structure=np.ones((3,) * region.ndim))
    kept = np.zeros(count + 1, dtype=np.bool_)
    kept[pieces[thin]] = True
    kept[0] = True
    lost: BoolArray = ~kept[pieces]
    return thin | lost


def _eroded(region: BoolArray, radius: int) -> BoolArray:
    offsets = np.indices((2 * radius + 1,) * region.ndim) - radius
    ball = (offsets**2).sum(axis=0) <= radius**2
    left: BoolArray = ndimage.binary_erosion(region, structure=ball, border_value=1)
    return left if left.any() else region


def eroded(region: Tensor, radius: int) -> Tensor:
    """Erode as ``_eroded``, in torch: what a ball leaves of a region, on whatever device it lies."""
    left = region.clone()
    padded = torch.nn.functional.pad(region, (radius, radius) * region.ndim, value=True)
    for offset in itertools.product(range(-radius, radius + 1), repeat=region.ndim):
        if any(offset) and sum(step**2 for step in offset) <= radius**2:
            window = (
                slice(radius + step, radius + step + side)
                for step, side in zip(offset, region.shape, strict=True)
            )
            left &= padded[tuple(window)]
    return torch.where(left.any(), left, region)
