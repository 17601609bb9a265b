"""Signed normalised geodesic maps: positive in the region, negative around it, -1 far away."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sfumato.checks import as_regions, as_tensor, require_between, require_choice, require_same_shape
from sfumato.errors import DTypeError, ValueRangeError
from sfumato.geodesic import geodesic_distance, gpu
from sfumato.geodesic.batch import is_batch, item_spacing
from sfumato.geodesic.gpu.distances import device_distances
from sfumato.geodesic.task import PathCost
from sfumato.labels.boundary import BOUNDARIES, boundary_voxels
from sfumato.labels.definition import OnDevice, Options, TargetBatch, TargetCase, label_of
from sfumato.labels.intensity import channel_groups, mean_of, preset_scale, scaled_image
from sfumato.labels.items import TargetInputs, split
from sfumato.structures import SIGNED
from sfumato.types import ArrayLike, Image, Mask, RegionMaps, Regions, Spacing

logger = logging.getLogger(__name__)

# Sums of equal steps in another order differ by rounding: voxels this close to the band's edge are in it.
TIE = 1e-5


def sing(
    regions: ArrayLike,
    image: ArrayLike,
    *,
    spacing: Spacing | Sequence[Spacing],
    lam: float = 0.5,
    margin: float = 0.5,
    boundary: str | ArrayLike = "canny",
    preset: str = "paper",
    slice_axis: int = -1,
    intensity: str | None = None,
    channels: str | None = None,
    foreground: ArrayLike | str | None = None,
) -> RegionMaps:
    """Turn each region into a map of signed certainty, by geodesic distance from its boundary.

    Most uses need ``regions``, ``image`` and ``spacing``; all other options choose between variants of the
    method.

    ``G`` is the geodesic distance from the boundary voxels (cost ``(1 - lam) |dx| + lam |dI|``), ``G0`` the
    same with ``lam = 0``, and the band ``B`` holds the voxels with ``G0`` up to the largest ``G0`` in the
    region. ``paper``: in ``B``, ``S = s ((1 - margin) G / tau + margin)`` with ``tau`` the largest ``G``
    over ``B`` and ``s`` 1 in the region, -1 outside; beyond ``B``, ``S = -1``. ``reference``, what the
    released code computes: one map per channel, no band; ``tau`` is the largest ``G`` in the region and
    ``G / tau`` is cut off at 1.

    On a GPU (where ``image`` lies there) everything is computed there, for a batch at once, but for Canny's
    edges, which are found on the CPU.

    Args:
        regions: ``(R, *S)``, booleans or 0 and 1; they may overlap. ``(B, R, *S)`` for a batch.
        image: Intensities, ``(*S)`` or ``(C, *S)``, finite; ``(B, C, *S)`` for a batch.
        spacing: Millimetres between voxel centres, one value per spatial axis; for a batch also one such
            sequence per item.
        lam: Share of the intensity in the cost, in ``[0, 1]``.
        margin: Gap kept on either side of 0, in ``[0, 1)``.
        boundary: ``"canny"``, ``"inner"``, ``"outer"`` or ``"both"``; where it finds no voxel, ``"inner"``
            is used instead and the module's logger says so (level INFO). Or the boundary voxels themselves,
            boolean, shaped as ``regions``.
        preset: ``"paper"`` or ``"reference"``.
        slice_axis: Axis across which Canny's slices lie, in 3-D.
        intensity: ``"raw"``, ``"unit"`` or ``"zscore"`` per channel; ``None``: zscore for ``paper``, raw for
            ``reference``.
        channels: ``"joint"`` measures intensity differences over all channels at once, ``"per-channel"``
            averages one map per channel; ``None``: joint for ``paper``, per-channel for ``reference``.
        foreground: Voxels that belong to the body, ``(*S)`` boolean. Those outside both it and the region
            get -1; in the region, ``reference`` gives them 1 and ``paper`` treats them like the others.
            ``"nonzero"`` takes the voxels where a channel is not exactly 0 (channel by channel with
            ``channels="per-channel"``). ``None``: every voxel for ``paper``, ``"nonzero"`` for
            ``reference``.

    Returns:
        ``(R, *S)``, float32, in ``[-1, 1]``: in the region ``[margin, 1]``, outside ``[-1, -margin]``. With
        ``margin > 0`` thresholding at 0 gives the region back exactly; with 0 the boundary voxels are 0. An
        empty region is -1 everywhere; one that fills the image is measured from the image's border.

    Raises:
        ShapeError: ``regions``, ``image``, ``foreground`` and ``spacing`` do not fit together.
        UnknownNameError: ``boundary``, ``preset``, ``intensity`` or ``channels`` is not a known name.
        ValueRangeError: ``lam`` is outside ``[0, 1]``, ``margin`` outside ``[0, 1)``, ``regions`` holds
            values other than 0 and 1, or ``image`` is not finite.

    References:
        Dang, Nguyen and Tiulpin (2024), SiNGR: brain tumor segmentation via signed normalized geodesic
        transform regression, doi:10.1007/978-3-031-72111-3_56. Ours runs to the exact shortest path.
    """
    require_between("lam", lam, 0.0, 1.0)
    if not 0.0 <= margin < 1.0:
        raise ValueRangeError(f"margin is {margin}: it must lie in [0, 1)")
    scale = preset_scale(preset, intensity, channels)
    if isinstance(boundary, str):
        require_choice("boundary", boundary, BOUNDARIES)
    image = as_tensor(image)
    batched, on_gpu = is_batch(image, spacing), gpu.takes(image)
    steps = item_spacing(spacing, len(image) if batched else 1)
    parts = [
        split(name, value, len(steps), batched=batched)
        for name, value in (("regions", regions), ("boundary", boundary), ("foreground", foreground))
    ]
    ready = []
    for own, rule, body, one, step in zip(*parts, image if batched else [image], steps, strict=True):
        masks = as_regions(own, axes=len(step))
        device = image.device if on_gpu else masks.device
        raw, masks = scaled_image(one, spacing=step, intensity="raw").to(device), masks.to(device)
        require_same_shape("image", raw.shape[1:], "each region", masks.shape[1:])
        groups = channel_groups(scaled_image(raw, spacing=step, intensity=scale.intensity), scale.channels)
        edges = _edges(masks, rule, slice_axis)
        bodies = [
            _body(body, preset, part, masks)[None, None] for part in channel_groups(raw, scale.channels)
        ]
        images = [group[None] for group in groups]
        ready.append(TargetInputs(masks[None], edges[None], images, [step], bodies))
    # All at once on a GPU, one by one on the CPU.
    maps = [_maps(item, preset, lam, margin) for item in ([TargetInputs.joined(ready)] if on_gpu else ready)]
    return torch.cat(maps) if batched else maps[0][0]


def _edges(masks: Regions, rule: str | ArrayLike, slice_axis: int) -> Regions:
    """Return the boundary voxels of every region, ``(R, *S)``."""
    if not isinstance(rule, str):
        voxels = as_tensor(rule).to(masks.device)
        require_same_shape("boundary", voxels.shape, "the regions", masks.shape)
        if voxels.dtype != torch.bool:
            raise DTypeError(f"boundary has dtype {voxels.dtype}: give booleans (R, *S)")
        return voxels
    boundaries = [boundary_voxels(mask, rule=rule, slice_axis=slice_axis) for mask in masks]
    for index, boundary in enumerate(boundaries):
        if boundary.found_by != rule:
            logger.info("region %d has no %s boundary: its inner boundary is used", index, rule)
    return torch.stack([boundary.voxels for boundary in boundaries])


def _body(foreground: ArrayLike | str | None, preset: str, raw: Tensor, masks: Regions) -> Mask:
    """Return the voxels that belong to the body, for one group of channels."""
    if foreground is None and preset == "paper":
        return torch.ones_like(masks[0])
    if foreground is None or isinstance(foreground, str):
        require_choice("foreground", foreground or "nonzero", ("nonzero",))
        return (raw != 0).any(dim=0)
    body = as_tensor(foreground).to(masks.device)
    require_same_shape("foreground", body.shape, "each region", masks.shape[1:])
    return body != 0


def _maps(ready: TargetInputs, preset: str, lam: float, margin: float) -> Tensor:
    """Return the maps ``(B, R, *S)``: the mean of one per group of channels."""
    if preset == "paper":
        paper = _maps_on_device if gpu.takes(ready.owners) else _maps_in_boxes
        return mean_of(paper(ready, lam, margin))
    options: dict[str, Any] = {"spacing": ready.spacing, "cost": "l1", "weight": lam}
    lengths = [geodesic_distance(image, ready.starts, **options) for image in ready.images]
    bodies = zip(lengths, ready.bodies, strict=True)
    return mean_of([_reference_map(length, ready.owners, body, margin) for length, body in bodies])


def _band(length: Tensor, masks: Tensor, edges: Tensor, axes: int) -> Tensor:
    """Return the voxels no farther from the boundary, in path length, than the region's innermost one.

    Args:
        length: ``(..., *S)``: exact in the region and somewhat beyond.
        masks: ``(..., *S)`` boolean.
        edges: ``(..., *S)`` boolean.
        axes: Number of spatial axes.
    """
    reach = _largest(length, masks, axes)
    # An infinite reach would be a part of the region without any boundary voxel: it has no band.
    some = torch.isfinite(reach) & edges.flatten(-axes).any(-1).view(reach.shape)
    return (length <= reach * (1.0 + TIE)) & some


def _banded_map(length: Tensor, near: Tensor, masks: Tensor, margin: float, axes: int) -> Tensor:
    """Return equation 5's map: scaled by the largest distance in the band ``near``, -1 beyond it."""
    scale = _largest(length, near, axes)
    # One voxel that is its own boundary: the band is that voxel and every distance in it is 0.
    size = length / torch.where(scale > 0, scale, 1.0) * (1.0 - margin) + margin
    return torch.where(near, torch.where(masks, size, -size), -1.0)


def _reference_map(length: Tensor, masks: Tensor, body: Tensor, margin: float) -> Tensor:
    """Return the released code's map of one group: scaled by the region's largest distance, cut off at 1."""
    axes = length.ndim - 2
    scale = _largest(length, masks & body, axes)
    scale = torch.where(scale > 0, scale, _largest(length, masks, axes))
    ratio = torch.where(scale > 0, length / torch.where(scale > 0, scale, 1.0), (length > 0).float())
    size = (1.0 - margin) * torch.where(body, ratio.clamp_max(1.0), 1.0) + margin
    return torch.where(masks, size, -size)


def _largest(values: Tensor, where: Tensor, axes: int) -> Tensor:
    """Return the largest value among the chosen voxels, 0 where there are none, ``(..., 1, ...)``."""
    return torch.where(where, values, 0.0).amax(tuple(range(-axes, 0)), keepdim=True)


def _maps_on_device(ready: TargetInputs, lam: float, margin: float) -> list[Tensor]:
    """Return the ``paper`` maps of a batch, ``(B, R, *S)`` for each group of channels.

    Distances inside the region, then inside the band, bound how far the exact ones have to be followed, so
    that nothing beyond the band is solved.
    """
    masks, edges, axes = ready.owners, ready.starts, ready.owners.ndim - 2
    start = torch.where(edges, 0.0, math.inf)

    def lengths(image: Tensor, weight: float, wanted: Tensor) -> Tensor:
        """Return the distances from the edges: exact for all wanted voxels, infinite not far beyond."""
        cost = PathCost("l1", weight)
        upper = device_distances(image, start, spacing=ready.spacing, cost=cost, allowed=wanted | edges)
        limits = _largest(upper, wanted, axes).flatten(2)[..., 0] * (1.0 + 2 * TIE)
        return device_distances(image, start, spacing=ready.spacing, cost=cost, limits=limits)

    band = _band(lengths(ready.images[0], 0.0, masks), masks, edges, axes)
    return [
        _banded_map(lengths(image, lam, band), band & (body | masks), masks, margin, axes)
        for image, body in zip(ready.images, ready.bodies, strict=True)
    ]


def _maps_in_boxes(ready: TargetInputs, lam: float, margin: float) -> list[Tensor]:
    """Return the ``paper`` maps of one item as :func:`_maps_on_device`, each region in a box around it."""
    (masks,), (edges,), (spacing,) = ready.owners, ready.starts, ready.spacing
    axes = masks.ndim - 1
    maps = [torch.full_like(ready.owners, -1.0, dtype=torch.float32) for _ in ready.images]
    for index, (region, edge) in enumerate(zip(masks, edges, strict=True)):
        if not bool(edge.any()):
            continue
        box, length = _lengths_within(ready.images[0][0], edge, region, spacing, 0.0)
        band = torch.zeros_like(region)
        band[box] = _band(length, region[box], edge[box], axes)
        if not bool(band.any()):
            continue
        for out, image, body in zip(maps, ready.images, ready.bodies, strict=True):
            box, length = _lengths_within(image[0], edge, band, spacing, lam)
            near = band[box] & (body[0, 0][box] | region[box])
            out[0, index][box] = _banded_map(length, near, region[box], margin, axes)
    return maps


def _lengths_within(
    image: Image, edge: Mask, wanted: Mask, spacing: Spacing, lam: float
) -> tuple[tuple[slice, ...], Tensor]:
    """Return a box, and the distances from ``edge`` in it: exact for all ``wanted`` voxels and a bit beyond.

    Paths that stay among the wanted voxels give an upper bound of the distances there. No cheapest path to a
    wanted voxel is longer, so it stays within so many millimetres of the boundary, and the rest of the image
    cannot matter.
    """
    box = _box(wanted | edge, (0,) * edge.ndim)
    options: dict[str, Any] = {"spacing": spacing, "cost": "l1", "weight": lam}
    crop = (slice(None), *box)
    upper = geodesic_distance(image[crop], edge[box], mask=(wanted | edge)[box], **options)
    bound = float(upper[wanted[box]].amax()) if bool(wanted.any()) else 0.0
    # A bit more than needed, for the ties at the band's edge.
    bound *= 1.0 + 2 * TIE
    if math.isfinite(bound) and lam < 1.0:
        steps = tuple(math.ceil(min(bound / (1.0 - lam) / step, 1e9)) + 1 for step in spacing)
        box = _box(edge, steps)
    else:
        box = tuple(slice(0, side) for side in edge.shape)
    return box, geodesic_distance(image[(slice(None), *box)], edge[box], cutoff=bound, **options)


def _box(voxels: Mask, steps: Sequence[int]) -> tuple[slice, ...]:
    """Return the smallest box around the voxels, wider by ``steps`` on either side but inside the image."""
    sides, left = [], voxels
    for axis, step in enumerate(steps):
        others = [other for other in range(voxels.ndim) if other != axis]
        places = left.amax(dim=others).nonzero() if others else left.nonzero()
        low, high = int(places[0]), int(places[-1]) + 1
        left = left.narrow(axis, low, high - low)  # What follows has less to look at.
        sides.append(slice(max(low - step, 0), min(high + step, voxels.shape[axis])))
    return tuple(sides)


def _prepare(case: TargetCase, options: Options) -> Tensor | None:
    """Return Canny's edges ``(R, *S)``; the device finds the other boundaries by itself."""
    if options["boundary"] != "canny":
        return None
    axis = options["slice_axis"]
    return torch.stack([boundary_voxels(mask, rule="canny", slice_axis=axis).voxels for mask in case.masks()])


def _make_batch(batch: TargetBatch, options: Options) -> Tensor:
    boundary = options["boundary"] if batch.prepared is None else batch.prepared
    masks = torch.stack([case.masks() for case in batch.cases()])
    return sing(masks, batch.image, spacing=batch.spacing, **{**options, "boundary": boundary})


LABEL = label_of(sing, "sing", "SiNG", SIGNED, on_device=OnDevice(_prepare, _make_batch))
