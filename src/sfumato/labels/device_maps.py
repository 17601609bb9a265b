"""GeoLS and SiNG for whole batches on the GPU: the same formulas, no loop over cases or classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.geodesic.gpu.distances import device_distances
from sfumato.geodesic.nearness import FAR, MARGIN

# Sums of equal steps in another order differ by rounding: voxels this close to the band's edge are in it.
TIE = 1e-5


def starts(seeds: Tensor) -> Tensor:
    """0 where ``seeds`` is True and infinite elsewhere: what a path pays to start there."""
    return torch.where(seeds, 0.0, math.inf)


def sing_maps(
    masks: Tensor,
    edges: Tensor,
    image: Tensor,
    bodies: Tensor,
    *,
    spacing: Sequence[Sequence[float]],
    lam: float,
    margin: float,
) -> Tensor:
    """The ``paper`` maps of a batch of regions; see :func:`sfumato.labels.sing`.

    Distances inside the region, then inside the band, bound how far the exact ones have to be followed, so
    that nothing beyond the band is solved.

    Args:
        masks: ``(B, R, *S)`` boolean.
        edges: ``(B, R, *S)`` boolean: boundary voxels.
        image: ``(B, C, *S)`` float32, on the scale that is measured.
        bodies: ``(B, 1, *S)`` boolean: outside them and the region the map is -1.
        spacing: Millimetres per spatial axis, for each item.
        lam: Share of the intensity.
        margin: Gap on either side of 0.

    Returns:
        ``(B, R, *S)`` float32.
    """

    def lengths(weight: float, wanted: Tensor) -> Tensor:
        """Distances from the edges: exact for all wanted voxels, infinite not far beyond."""
        near = {"spacing": spacing, "cost": "l1", "weight": weight}
        upper = device_distances(image, starts(edges), allowed=wanted | edges, **near)  # type: ignore[arg-type]
        limits = _largest(upper, wanted).flatten(2)[..., 0] * (1.0 + 2 * TIE)
        return device_distances(image, starts(edges), limits=limits, **near)  # type: ignore[arg-type]

    plain = lengths(0.0, masks)
    reach = _largest(plain, masks)
    # An infinite reach would be a part of the region without any boundary voxel: it has no band.
    band = (plain <= reach * (1.0 + TIE)) & torch.isfinite(reach) & edges.flatten(2).any(2).view(reach.shape)
    length = lengths(lam, band)
    near = band & (bodies | masks)
    scale = _largest(length, near)
    # One voxel that is its own boundary: the band is that voxel and every distance in it is 0.
    size = length / torch.where(scale > 0, scale, 1.0) * (1.0 - margin) + margin
    return torch.where(near, torch.where(masks, size, -size), -1.0)


def _largest(values: Tensor, where: Tensor) -> Tensor:
    """Largest value among the chosen voxels of each region, 0 where there are none, ``(B, R, 1, ...)``."""
    axes = tuple(range(2, values.ndim))
    return torch.where(where, values, 0.0).amax(axes, keepdim=True)


def geols_weights(
    image: Tensor,
    seeds: Tensor,
    labels: Tensor,
    *,
    spacing: Sequence[Sequence[float]],
    alpha: float,
    weight: float,
) -> Tensor:
    """The ``paper`` weights of a batch; see :func:`sfumato.labels.geols`.

    Args:
        image: ``(B, C, *S)`` float32, on the scale that is measured.
        seeds: ``(B, K, *S)`` boolean.
        labels: ``(B, *S)`` integers.
        spacing: Millimetres per spatial axis, for each item.
        alpha: Share of the nearness.
        weight: gamma.

    Returns:
        ``(B, K, *S)`` float32, summing to 1.
    """
    distance = device_distances(image, starts(seeds), spacing=spacing, cost="l2", weight=weight)
    return nearness_weights(distance, labels, alpha)


def nearness_weights(distance: Tensor, labels: Tensor, alpha: float) -> Tensor:
    """``(1 - alpha) onehot + alpha g`` from distances ``(B, K, *S)``; an absent class's are infinite."""
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
    soft = near * (alpha / near.sum(1, keepdim=True))
    return with_own(soft, labels, 1.0 - alpha)


def with_own(soft: Tensor, labels: Tensor, share: float) -> Tensor:
    """Add ``share`` to every voxel's own class; no scatter, which is slow on a GPU where it must be exact."""
    classes = torch.arange(soft.shape[1], device=soft.device).view(1, -1, *(1,) * (soft.ndim - 2))
    return soft + (labels[:, None] == classes) * share


def reference_weights(
    image: Tensor, seeds: Tensor, *, spacing: Sequence[Sequence[float]], joint: bool
) -> Tensor:
    """The released code's class maps of a batch; see :func:`sfumato.labels.geols`.

    Args:
        image: ``(B, C, *S)`` float32.
        seeds: ``(B, K, *S)`` boolean; the background's do not count.
        spacing: Millimetres per spatial axis, for each item.
        joint: Measure over all channels at once; otherwise the mean of one map per channel.

    Returns:
        ``(B, K, *S)`` float32.
    """
    items, channels = image.shape[:2]
    foreground = seeds[:, 1:]
    count = 1 if joint else channels
    if not joint:
        image = image.reshape(items * channels, 1, *image.shape[2:])
    begin = starts(foreground).repeat_interleave(count, dim=0)
    steps = [each for each in spacing for _ in range(count)]
    distance = device_distances(image, begin, spacing=steps, cost="geodistk", weight=1.0)
    axes = tuple(range(2, distance.ndim))
    present = torch.isfinite(distance).flatten(2).all(2).view(*distance.shape[:2], *(1,) * len(axes))
    mean = torch.where(present, distance, 0.0).to(torch.float64).mean(axes, keepdim=True).float()
    near = torch.where(present, torch.exp(-distance / torch.where(mean > 0, mean, 1.0)), 0.0)
    low, high = near.amin(axes, keepdim=True), near.amax(axes, keepdim=True)
    flat = high <= low
    near = torch.where(flat, present.float(), (near - low) / torch.where(flat, 1.0, high - low))
    some = present.sum(1, keepdim=True)
    background = torch.where(some > 0, 1.0 - near.sum(1, keepdim=True) / some.clamp_min(1), 1.0)
    maps = torch.cat((background, near), dim=1)
    return maps.view(items, count, *maps.shape[1:]).mean(1)
