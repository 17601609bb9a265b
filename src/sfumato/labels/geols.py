"""Geodesic label smoothing: weight goes to the classes that are near along the image's intensities."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_between, require_choice, require_labels, require_same_shape
from sfumato.geodesic import geodesic_distance, nearness_labels
from sfumato.labels.intensity import channel_groups, scaled_image
from sfumato.labels.one_hot import one_hot
from sfumato.labels.seeds import seed_voxels
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
    spacing: Spacing,
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

    Args:
        labels: Class indices, ``(*S)``, integers in ``0 .. num_classes - 1``.
        image: Intensities, ``(*S)`` or ``(C, *S)``, finite.
        num_classes: Number of classes ``K``, background included.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        alpha: Weight that is moved, in ``[0, 1]``; 0 gives exactly one-hot labels.
        seeds: ``"skeleton"``, ``"random"``, ``"erosion"`` (see :func:`seed_voxels`) or boolean ``(K, *S)``.
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
        Class weights, ``(K, *S)``, float32, finite. A class without seeds (absent from the case) weighs 0
        everywhere; one that fills the image weighs 1.

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
    labels = as_tensor(labels)
    defaults = PRESETS[preset]
    scaled = scaled_image(image, spacing=spacing, intensity=intensity or defaults.intensity).to(labels.device)
    require_same_shape("image", scaled.shape[1:], "labels", labels.shape)
    chosen = seed_voxels(
        labels,
        num_classes=num_classes,
        seeds=seeds,
        num_seeds=num_seeds,
        erosion_radius=erosion_radius,
        generator=generator,
    )
    groups = channel_groups(scaled, channels or defaults.channels)
    require_labels(labels, num_classes)
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
