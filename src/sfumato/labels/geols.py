"""Geodesic label smoothing: weight goes to the classes that are near along the image's intensities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_between, require_choice, require_labels, require_same_shape
from sfumato.geodesic import geodesic_distance, gpu
from sfumato.geodesic.batch import is_batch, item_spacing
from sfumato.labels.definition import OnDevice, Options, TargetBatch, TargetCase, label_of, per_region
from sfumato.labels.intensity import channel_groups, mean_of, preset_scale, scaled_image
from sfumato.labels.items import TargetInputs, split
from sfumato.labels.kernels.nearness import FAR, MARGIN, nearness_labels
from sfumato.labels.one_hot import one_hot
from sfumato.labels.seeds import SEEDS, explicit_seeds, seed_voxels
from sfumato.structures import CLASSES
from sfumato.types import ArrayLike, Soft, Spacing


def geols(
    labels: ArrayLike,
    image: ArrayLike,
    *,
    num_classes: int,
    spacing: Spacing | Sequence[Spacing],
    alpha: float = 0.1,
    seeds: str | ArrayLike = "skeleton",
    num_seeds: int = 5,
    generator: torch.Generator | None = None,
    preset: str = "paper",
    gamma: float = 1.0,
    intensity: str | None = None,
    channels: str | None = None,
    erosion_radius: int = 1,
    normalise: bool = False,
) -> Soft:
    """Move the share ``alpha`` of every voxel's weight to the classes by geodesic nearness.

    Most uses need ``labels``, ``image``, ``num_classes`` and ``spacing``, and at times ``alpha``; all other
    options choose between variants of the method.

    ``q = (1 - alpha) onehot + alpha g``. ``paper``: ``D_c`` is the geodesic distance (cost
    ``sqrt(|dx|^2 + gamma^2 |dI|^2)``, mm) to the seeds of class ``c``, ``e_c = exp(-D_c)`` scaled to
    ``[0, 1]`` over the image, ``g_c = e_c / sum_c e_c``. ``reference``, what the released code computes:
    cost ``|dx| (|dI| + 1e-5)``, ``g_c = exp(-D_c / mean D_c)`` scaled to ``[0, 1]`` for the foreground
    classes and ``g_0 = 1 - mean of the present foreground g``; this ``q`` does not sum to 1 unless
    ``normalise=True``.

    ``paper`` is evaluated in the log domain. Where every ``e_c`` is 0 (in floating point, or exactly, at the
    farthest voxel of all classes) the printed ratio is 0/0, and ``g`` is its limit ``softmax(-D)``. A class
    whose farthest voxel is more than 16.6 away has a minimum of ``e_c`` below float32's resolution, and the
    minimum is taken as 0.

    On a GPU (where ``image`` lies there) distances and weights are computed there, for a batch at once; only
    skeletons and eroded seeds are found on the CPU.

    Args:
        labels: Class indices, ``(*S)``, integers in ``0 .. num_classes - 1``; ``(B, *S)`` for a batch.
        image: Intensities, ``(*S)`` or ``(C, *S)``, finite; ``(B, C, *S)`` for a batch.
        num_classes: Number of classes ``K``, background included.
        spacing: Millimetres between voxel centres, one value per spatial axis; for a batch also one such
            sequence per item.
        alpha: Weight that is moved, in ``[0, 1]``; 0 gives exactly one-hot labels.
        seeds: ``"skeleton"``, ``"random"``, ``"erosion"`` (see :func:`seed_voxels`) or boolean ``(K, *S)``;
            ``(B, K, *S)`` for a batch.
        num_seeds: Voxels per class for ``"random"``.
        generator: Source of the random seeds; ``None`` takes torch's own.
        preset: ``"paper"`` (the printed equations) or ``"reference"`` (the released code, converged).
        gamma: Weight of the intensity in the ``paper`` cost; 0 ignores the image.
        intensity: ``"raw"``, ``"unit"`` or ``"zscore"`` per channel; ``None``: zscore for ``paper``, raw for
            ``reference``.
        channels: ``"joint"`` measures intensity differences over all channels at once, ``"per-channel"``
            averages one ``g`` per channel; ``None``: joint for ``paper``, per-channel for ``reference``.
        erosion_radius: Radius of the ball for ``"erosion"``, in voxels.
        normalise: Divide ``q`` by its sum over the classes; it changes nothing for ``paper``.

    Returns:
        Class weights, ``(K, *S)``, or ``(B, K, *S)`` for a batch, float32, finite. A class without seeds
        (absent from the case) weighs 0 everywhere; one that fills the image weighs 1.

    Raises:
        DTypeError: ``labels`` holds fractions, or explicit ``seeds`` are not boolean.
        ShapeError: ``image``, ``labels``, ``seeds`` and ``spacing`` do not fit together.
        UnknownNameError: ``seeds``, ``preset``, ``intensity`` or ``channels`` is not a known name.
        ValueRangeError: ``alpha`` is outside ``[0, 1]``, ``gamma`` is negative, ``image`` is not finite, or
            no class has a seed.

    References:
        Adiga Vasudeva, Dolz and Lombaert (2024), GeoLS: geodesic label smoothing for image segmentation,
        Proceedings of Machine Learning Research 227:468-478. Criminisi, Sharp and Blake (2008), GeoS:
        geodesic image segmentation, doi:10.1007/978-3-540-88682-2_9.
    """
    require_between("alpha", alpha, 0.0, 1.0)
    require_between("gamma", gamma, 0.0, float("inf"))
    scale = preset_scale(preset, intensity, channels)
    labels, image = as_tensor(labels), as_tensor(image)
    # What is wrong with the arguments is said before any work on a large image.
    require_labels(labels, num_classes)
    if isinstance(seeds, str):
        require_choice("seeds", seeds, SEEDS)
    batched = is_batch(image, spacing)
    steps = item_spacing(spacing, len(image) if batched else 1)
    on_gpu = gpu.takes(image)
    device = image.device if on_gpu else labels.device

    ready = []
    owners = split("labels", labels, len(steps), batched=batched)
    rules = split("seeds", seeds, len(steps), batched=batched)
    for own, one, step, rule in zip(owners, image if batched else [image], steps, rules, strict=True):
        scaled = scaled_image(one, spacing=step, intensity=scale.intensity).to(device)
        own = own.to(device)
        require_same_shape("image", scaled.shape[1:], "labels", own.shape)
        if isinstance(rule, str):
            chosen = seed_voxels(
                own,
                num_classes=num_classes,
                seeds=rule,
                num_seeds=num_seeds,
                erosion_radius=erosion_radius,
                generator=generator,
            )
        else:
            chosen = explicit_seeds(rule, own, num_classes)
        images = [group[None] for group in channel_groups(scaled, scale.channels)]
        ready.append(TargetInputs(own[None], chosen[None], images, [step]))
    if alpha == 0.0:
        soft = [one_hot(item.owners[0], num_classes=num_classes)[None] for item in ready]
        normalise = False
    else:
        # All at once on a GPU, one by one on the CPU.
        soft = [
            _soft(item, alpha, gamma, preset) for item in ([TargetInputs.joined(ready)] if on_gpu else ready)
        ]
    if normalise:
        soft = [part / part.sum(dim=1, keepdim=True) for part in soft]
    return torch.cat(soft) if batched else soft[0][0]


def _soft(ready: TargetInputs, alpha: float, gamma: float, preset: str) -> Tensor:
    """Return class weights ``(B, K, *S)``."""
    if preset == "paper":
        return mean_of([_paper_weights(ready, image, alpha, gamma) for image in ready.images])
    seeds = ready.starts[:, 1:]  # The background's map is made from the others.
    options: dict[str, Any] = {"spacing": ready.spacing, "cost": "geodistk"}
    maps = mean_of([reference_maps(geodesic_distance(image, seeds, **options)) for image in ready.images])
    return with_own(maps.mul_(alpha), ready.owners, 1.0 - alpha)


def _paper_weights(ready: TargetInputs, image: Tensor, alpha: float, gamma: float) -> Tensor:
    if gpu.takes(image):
        distance = geodesic_distance(image, ready.starts, spacing=ready.spacing, weight=gamma)
        return nearness_weights(distance, ready.owners, alpha)
    (own,), (one,), (seeds,), (step,) = ready.owners, image, ready.starts, ready.spacing
    return nearness_labels(one, seeds, own, spacing=step, alpha=alpha, weight=gamma)[None]


def nearness_weights(distance: Tensor, labels: Tensor, alpha: float) -> Tensor:
    """Compute ``(1 - alpha) onehot + alpha g`` from the distances to each class's seeds.

    ``e_c = exp(-D_c)``, scaled to ``[0, 1]`` over the image, and ``g_c = e_c / sum_c e_c``. The minimum of
    ``e_c`` counts as 0 where it is below float32's resolution, and ``g`` is ``softmax(-D)`` where every
    ``e_c`` is 0. A class with distance 0 everywhere has ``e_c = 1``.

    Args:
        distance: ``(B, K, *S)``; an absent class's is infinite.
        labels: Class indices ``(B, *S)``.
        alpha: Share of ``g``.
    """
    axes = tuple(range(2, distance.ndim))
    nearest = distance.amin(1, keepdim=True)
    near = torch.where(distance <= nearest + float(MARGIN), torch.exp(nearest - distance), 0.0)
    near = torch.where(torch.isfinite(distance), near, 0.0)
    end = distance.amax(axes, keepdim=True)
    bends = (end > 0) & (end <= float(FAR))
    # (exp(-d) - m) / (1 - m) with m = exp(-end), as a factor of exp(-d): no digits are lost near the end.
    safe = torch.where(bends, end, 1.0)
    factor = torch.expm1(torch.minimum(distance, safe) - safe) / torch.expm1(-safe)
    near = torch.where(bends, near * factor, near)
    total = near.sum(1, keepdim=True)
    # Where all nearness is 0, every class that is near is at its end: the limit is softmax(-end).
    counted = torch.where(end <= float(FAR), end, math.inf)
    first = counted.amin(1, keepdim=True)
    limit = torch.where(torch.isfinite(counted), torch.exp(first - counted), 0.0).expand_as(near)
    near = torch.where(total == 0, limit, near)
    return with_own(near * (alpha / near.sum(1, keepdim=True)), labels, 1.0 - alpha)


def with_own(soft: Tensor, labels: Tensor, share: float) -> Tensor:
    """Add ``share`` to every voxel's own class, in place; a scatter that must be exact is slow on a GPU."""
    classes = torch.arange(soft.shape[1], device=soft.device).view(1, -1, *(1,) * (soft.ndim - 2))
    return soft.add_((labels[:, None] == classes) * share)


def reference_maps(distance: Tensor) -> Tensor:
    """Compute the released class maps ``(B, K, *S)`` from the foreground's distances ``(B, K - 1, *S)``.

    A class whose distances are infinite gets 0; with no foreground class at all the background gets 1.
    """
    items, classes, *shape = distance.shape
    maps = distance.new_empty((items, classes + 1, *shape))
    present = torch.isfinite(distance).flatten(2).all(2)
    # In place and class by class, so that little more memory is taken than the result's.
    for near, length, some in zip(maps[:, 1:], distance, present, strict=True):
        for out, one, is_present in zip(near, length, some, strict=True):
            mean = one.mean()
            torch.div(one, torch.where(mean > 0, -mean, -1.0), out=out).exp_()
            low, high = out.aminmax()
            out.sub_(low).div_(torch.where(high > low, high - low, 1.0)).add_(high <= low)
            out.masked_fill_(~is_present, 0.0)
    count = present.sum(1).view(items, *(1,) * len(shape))
    maps[:, 0] = torch.where(count > 0, 1.0 - maps[:, 1:].sum(1) / count.clamp_min(1), 1.0)
    return maps


def _prepare(case: TargetCase, options: Options) -> Tensor | None:
    """Return skeletons or random seeds ``(K, *S)``; the device erodes by itself."""
    if options["seeds"] == "erosion":
        return None
    return seed_voxels(
        case.labels,
        num_classes=case.num_classes,
        seeds=options["seeds"],
        num_seeds=options["num_seeds"],
        generator=case.generator,
    )


def _make_batch(batch: TargetBatch, options: Options) -> Tensor:
    seeds = options["seeds"] if batch.prepared is None else batch.prepared
    return geols(
        batch.labels,
        batch.image,
        num_classes=batch.structures.num_classes,
        spacing=batch.spacing,
        **{**options, "seeds": seeds},
    )


LABEL = label_of(geols, "geodesic", "geodesic", CLASSES, on_device=OnDevice(_prepare, _make_batch))
PER_REGION = per_region(LABEL)
