"""Geodesic label smoothing: weight goes to the classes that are near along the image's intensities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_between, require_choice, require_labels, require_same_shape
from sfumato.geodesic import geodesic_distance, gpu, nearness_labels
from sfumato.geodesic.batch import item_spacing
from sfumato.geodesic.distance import is_batch
from sfumato.labels.definition import OnDevice, Options, TargetBatch, TargetCase, label_of, per_region
from sfumato.labels.device_maps import geols_weights, reference_weights, with_own
from sfumato.labels.intensity import CHANNELS, channel_groups, scaled_image
from sfumato.labels.one_hot import one_hot
from sfumato.labels.seeds import SEEDS, explicit_seeds, seed_voxels
from sfumato.structures import CLASSES
from sfumato.types import ArrayLike, Soft, Spacing


class _Preset(NamedTuple):
    intensity: str
    channels: str


PRESETS = {"paper": _Preset("zscore", "joint"), "reference": _Preset("raw", "per-channel")}


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
    require_choice("preset", preset, PRESETS)
    labels, image = as_tensor(labels), as_tensor(image)
    # What is wrong with the arguments is said before any work on a large image.
    require_labels(labels, num_classes)
    if isinstance(seeds, str):
        require_choice("seeds", seeds, SEEDS)
    if channels is not None:
        require_choice("channels", channels, CHANNELS)
    defaults = PRESETS[preset]
    if is_batch(image, spacing) or gpu.takes(image):
        batched = is_batch(image, spacing)
        each = {"num_seeds": num_seeds, "erosion_radius": erosion_radius, "generator": generator}
        found = _geols_of_batch(
            labels if batched else labels[None],
            image if batched else image.reshape(1, -1, *labels.shape),
            seeds if batched or isinstance(seeds, str) else as_tensor(seeds)[None],
            num_classes=num_classes,
            spacing=spacing,
            alpha=alpha,
            preset=preset,
            gamma=gamma,
            scale=_Preset(intensity or defaults.intensity, channels or defaults.channels),
            each=each,
            normalise=normalise,
        )
        return found if batched else found[0]
    spacing = cast(Spacing, spacing)
    scaled = scaled_image(image, spacing=spacing, intensity=intensity or defaults.intensity).to(labels.device)
    require_same_shape("image", scaled.shape[1:], "labels", labels.shape)
    if isinstance(seeds, str):
        chosen = seed_voxels(
            labels,
            num_classes=num_classes,
            seeds=seeds,
            num_seeds=num_seeds,
            erosion_radius=erosion_radius,
            generator=generator,
        )
    else:
        chosen = explicit_seeds(seeds, labels, num_classes)
    groups = channel_groups(scaled, channels or defaults.channels)
    if alpha == 0.0:
        return one_hot(labels, num_classes=num_classes)
    if preset == "paper":
        options: dict[str, Any] = {"spacing": spacing, "alpha": alpha, "weight": gamma}
        parts = [nearness_labels(group, chosen, labels, **options) for group in groups]
        soft = parts[0] if len(parts) == 1 else torch.stack(parts).mean(dim=0)
        return soft / soft.sum(dim=0) if normalise else soft
    chosen = chosen.clone()
    chosen[0] = False  # The background's map is made from the others.
    maps = [reference_map(_distance(group, chosen, spacing, "geodistk", 1.0)) for group in groups]
    soft = maps[0] if len(maps) == 1 else torch.stack(maps).mean(dim=0)
    soft *= alpha
    own = torch.full((1, labels.numel()), 1.0 - alpha, device=soft.device)
    soft.view(num_classes, -1).scatter_add_(0, labels.reshape(1, -1).to(soft.device, torch.int64), own)
    return soft / soft.sum(dim=0) if normalise else soft


def _geols_of_batch(
    labels: Tensor,
    image: Tensor,
    seeds: str | ArrayLike,
    *,
    num_classes: int,
    spacing: Spacing | Sequence[Spacing],
    alpha: float,
    preset: str,
    gamma: float,
    scale: _Preset,
    each: dict[str, Any],
    normalise: bool,
) -> Tensor:
    """The labels of a batch: item by item on the CPU, at once on a GPU."""
    steps = item_spacing(spacing, len(image))
    require_same_shape("image", (len(image), *image.shape[2:]), "labels", labels.shape)
    rules = [seeds] * len(image) if isinstance(seeds, str) else list(seeds)
    if not gpu.takes(image):
        options: dict[str, Any] = {
            **each,
            **scale._asdict(),
            "alpha": alpha,
            "preset": preset,
            "gamma": gamma,
        }
        options |= {"num_classes": num_classes, "normalise": normalise}
        items = zip(labels, image, steps, rules, strict=True)
        return torch.stack([geols(*pair, spacing=step, seeds=rule, **options) for *pair, step, rule in items])
    require_choice("channels", scale.channels, CHANNELS)
    labels = labels.to(image.device)
    if alpha == 0.0:
        return torch.stack([one_hot(one, num_classes=num_classes) for one in labels])
    scaled = torch.stack(
        [
            scaled_image(one, spacing=step, intensity=scale.intensity)
            for one, step in zip(image, steps, strict=True)
        ]
    )
    chosen = torch.stack(
        [
            seed_voxels(one, num_classes=num_classes, seeds=rule, **each)
            for one, rule in zip(labels, rules, strict=True)
        ]
    )
    joint = scale.channels == "joint"
    if preset == "paper":
        groups = [scaled] if joint else [scaled[:, index : index + 1] for index in range(scaled.shape[1])]
        parts = [
            geols_weights(group, chosen, labels, spacing=steps, alpha=alpha, weight=gamma) for group in groups
        ]
        soft = parts[0] if joint else torch.stack(parts).mean(dim=0)
    else:
        soft = alpha * reference_weights(scaled, chosen, spacing=steps, joint=joint)
        soft = with_own(soft, labels, 1.0 - alpha)
    return soft / soft.sum(dim=1, keepdim=True) if normalise else soft


def reference_map(distance: Tensor) -> Tensor:
    """Class weights ``(K, *S)`` from distances ``(K, *S)`` as the released code forms them.

    A class whose distances are infinite gets 0; with no foreground class at all the background gets 1.
    """
    out = torch.zeros_like(distance)
    present = [index for index in range(1, len(distance)) if bool(torch.isfinite(distance[index]).all())]
    for index in present:
        mean = float(distance[index].mean())
        nearness = torch.div(distance[index], -(mean or 1.0), out=out[index]).exp_()
        low, high = nearness.aminmax()
        if bool(high > low):
            nearness.sub_(low).div_(high - low)
        else:
            nearness.fill_(1.0)
    out[0] = 1.0 - out[present].mean(dim=0) if present else 1.0
    return out


def _distance(image: Tensor, seeds: Tensor, spacing: Spacing, cost: str, weight: float) -> Tensor:
    return geodesic_distance(image, seeds, spacing=spacing, cost=cost, weight=weight)


def _prepare(case: TargetCase, options: Options) -> Tensor | None:
    """Skeletons or random seeds ``(K, *S)``; the device erodes by itself."""
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
