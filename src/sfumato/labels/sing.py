"""Signed normalised geodesic maps: positive in the region, negative around it, -1 far away."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_between, require_choice, require_same_shape
from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.geodesic import geodesic_distance, gpu
from sfumato.geodesic.batch import item_spacing
from sfumato.geodesic.distance import is_batch
from sfumato.labels.boundary import BOUNDARIES, boundary_voxels
from sfumato.labels.definition import OnDevice, Options, TargetBatch, TargetCase, label_of
from sfumato.labels.device_maps import TIE, sing_maps
from sfumato.labels.intensity import CHANNELS, channel_groups, scaled_image
from sfumato.labels.regions import as_regions
from sfumato.structures import SIGNED
from sfumato.types import ArrayLike, Image, Mask, RegionMaps, Regions, Spacing

logger = logging.getLogger(__name__)


class _Preset(NamedTuple):
    intensity: str
    channels: str


PRESETS = {"paper": _Preset("zscore", "joint"), "reference": _Preset("raw", "per-channel")}


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
    require_choice("preset", preset, PRESETS)
    if isinstance(boundary, str):
        require_choice("boundary", boundary, BOUNDARIES)
    defaults = PRESETS[preset]
    scale = _Preset(intensity or defaults.intensity, channels or defaults.channels)
    if is_batch(image, spacing) or gpu.takes(image):
        options: dict[str, Any] = {"lam": lam, "margin": margin, "preset": preset, "slice_axis": slice_axis}
        return _sing_anywhere(regions, as_tensor(image), spacing, boundary, foreground, scale, options)
    spacing = cast(Spacing, spacing)
    masks = as_regions(regions, axes=len(spacing))
    raw = scaled_image(image, spacing=spacing, intensity="raw").to(masks.device)
    require_same_shape("image", raw.shape[1:], "each region", masks.shape[1:])
    scaled = scaled_image(raw, spacing=spacing, intensity=scale.intensity)
    groups = channel_groups(scaled, scale.channels)
    paper = preset == "paper"
    edges = _edges(masks, boundary, slice_axis)
    bodies = [_body(foreground, preset, group, masks) for group in _groups_like(raw, groups)]
    maps = []
    bands = [_band(*each, scaled, spacing) for each in zip(masks, edges, strict=True)] if paper else []
    for group, body in zip(groups, bodies, strict=True):
        if paper:
            near = [
                _near_map(*each, group, body, spacing, lam, margin)
                for each in zip(masks, edges, bands, strict=True)
            ]
            maps.append(torch.stack(near) if near else masks.float())
        else:
            length = geodesic_distance(group, edges, spacing=spacing, cost="l1", weight=lam)
            maps.append(_reference_map(length, masks, body, margin))
    return maps[0] if len(maps) == 1 else torch.stack(maps).mean(dim=0)


def _sing_anywhere(
    regions: ArrayLike,
    image: Tensor,
    spacing: Spacing | Sequence[Spacing],
    boundary: str | ArrayLike,
    foreground: ArrayLike | str | None,
    scale: _Preset,
    options: dict[str, Any],
) -> Tensor:
    """The maps of a batch, or of one image on a GPU: item by item on the CPU, at once on a GPU."""
    batched = is_batch(image, spacing)
    steps = item_spacing(spacing, len(image) if batched else 1)
    given = {"regions": regions, "boundary": boundary, "foreground": foreground}
    parts = {
        name: [each] * len(steps)
        if each is None or isinstance(each, str)
        else as_tensor(each)
        if batched
        else [each]
        for name, each in given.items()
    }
    for name, part in parts.items():
        if len(part) != len(steps):
            raise ShapeError(f"{name} has {len(part)} items, but image has {len(steps)}: give one for each")
    items = list(image) if batched else [image]
    if not gpu.takes(image):
        options |= scale._asdict()
        return torch.stack(
            [
                sing(own, one, spacing=step, boundary=rule, foreground=body, **options)
                for own, one, step, rule, body in zip(
                    parts["regions"], items, steps, parts["boundary"], parts["foreground"], strict=True
                )
            ]
        )
    found = _sing_on_device(items, parts, steps, scale, options)
    return found if batched else found[0]


def _sing_on_device(
    items: Sequence[Tensor],
    parts: dict[str, Any],
    steps: Sequence[Spacing],
    scale: _Preset,
    options: dict[str, Any],
) -> Tensor:
    """The maps of images on a GPU, ``(B, R, *S)``; ``parts`` holds regions, boundary and foreground."""
    require_choice("channels", scale.channels, CHANNELS)
    preset, lam, margin = options["preset"], options["lam"], options["margin"]
    pairs = list(zip(items, steps, strict=True))
    raw = torch.stack([scaled_image(one, spacing=step, intensity="raw") for one, step in pairs])
    scaled = torch.stack([scaled_image(one, spacing=step, intensity=scale.intensity) for one, step in pairs])
    masks = torch.stack([as_regions(one, axes=len(steps[0])).to(raw.device) for one in parts["regions"]])
    require_same_shape("image", raw.shape[2:], "each region", masks.shape[2:])
    edges = torch.stack(
        [_edges(own, rule, options["slice_axis"]) for own, rule in zip(masks, parts["boundary"], strict=True)]
    )
    single = [slice(index, index + 1) for index in range(raw.shape[1])]
    maps = []
    for group in [slice(None)] if scale.channels == "joint" else single:
        bodies = torch.stack(
            [
                _body(body, preset, one[group], own)
                for body, one, own in zip(parts["foreground"], raw, masks, strict=True)
            ]
        )
        image = scaled[:, group]
        if preset == "paper":
            near = sing_maps(masks, edges, image, bodies[:, None], spacing=steps, lam=lam, margin=margin)
        else:
            length = geodesic_distance(image, edges, spacing=steps, cost="l1", weight=lam)
            each = zip(length, masks, bodies, strict=True)
            near = torch.stack([_reference_map(*one, margin) for one in each])
        maps.append(near)
    return maps[0] if len(maps) == 1 else torch.stack(maps).mean(dim=0)


def _edges(masks: Regions, rule: str | ArrayLike, slice_axis: int) -> Regions:
    """Boundary voxels of every region, ``(R, *S)``."""
    if not isinstance(rule, str):
        voxels = as_tensor(rule).to(masks.device)
        require_same_shape("boundary", voxels.shape, "the regions", masks.shape)
        if voxels.dtype != torch.bool:
            raise DTypeError(f"boundary has dtype {voxels.dtype}: give booleans (R, *S)")
        return voxels
    found = [boundary_voxels(mask, rule=rule, slice_axis=slice_axis) for mask in masks]
    for index, each in enumerate(found):
        if each.found_by != rule:
            logger.info("region %d has no %s boundary: its inner boundary is used", index, rule)
    return torch.stack([each.voxels for each in found])


def _groups_like(raw: Image, groups: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The unscaled channels, grouped as the scaled ones."""
    return (
        (raw,) if len(groups[0]) == len(raw) else tuple(raw[index : index + 1] for index in range(len(raw)))
    )


def _body(foreground: ArrayLike | str | None, preset: str, raw: Tensor, masks: Regions) -> Mask:
    """Voxels that belong to the body, for one group of channels."""
    if foreground is None and preset == "paper":
        return torch.ones_like(masks[0])
    if foreground is None or isinstance(foreground, str):
        require_choice("foreground", foreground or "nonzero", ("nonzero",))
        return (raw != 0).any(dim=0)
    body = as_tensor(foreground).to(masks.device)
    require_same_shape("foreground", body.shape, "each region", masks.shape[1:])
    return body != 0


def _band(region: Mask, edge: Mask, image: Image, spacing: Spacing) -> Mask:
    """Voxels no farther from the boundary, in path length, than the region's innermost one."""
    band = torch.zeros_like(region)
    if not bool(edge.any()):
        return band
    box, length = _lengths_within(image, edge, region | edge, spacing, 0.0)
    inner = length[region[box]]
    # An infinite reach would be a part of the region without any boundary voxel: it has no band.
    reach = float(inner.amax()) if inner.numel() else 0.0
    band[box] = length <= (reach * (1.0 + TIE) if math.isfinite(reach) else -1.0)
    return band


def _lengths_within(
    image: Image, edge: Mask, wanted: Mask, spacing: Spacing, lam: float
) -> tuple[tuple[slice, ...], Tensor]:
    """A box, and the distances from ``edge`` in it: exact for all ``wanted`` voxels and somewhat beyond.

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
    """The smallest box around the voxels, wider by ``steps`` on either side but inside the image."""
    sides, left = [], voxels
    for axis, step in enumerate(steps):
        others = [other for other in range(voxels.ndim) if other != axis]
        places = left.amax(dim=others).nonzero() if others else left.nonzero()
        low, high = int(places[0]), int(places[-1]) + 1
        left = left.narrow(axis, low, high - low)  # What follows has less to look at.
        sides.append(slice(max(low - step, 0), min(high + step, voxels.shape[axis])))
    return tuple(sides)


def _near_map(
    region: Mask,
    edge: Mask,
    band: Mask,
    image: Image,
    body: Mask,
    spacing: Spacing,
    lam: float,
    margin: float,
) -> Tensor:
    """Equation 5: scaled by the largest distance in the band, -1 beyond it."""
    whole = torch.full(region.shape, -1.0, device=region.device)
    if not bool(band.any()):
        return whole
    box, length = _lengths_within(image, edge, band, spacing, lam)
    inside = region[box]
    near = band[box] & (body[box] | inside)
    values = length[near]
    scale = values.amax() if values.numel() else values.new_zeros(())
    # One voxel that is its own boundary: the band is that voxel and every distance in it is 0.
    size = values / torch.where(scale > 0, scale, 1.0) * (1.0 - margin) + margin
    whole[box][near] = torch.where(inside[near], size, -size)
    return whole


def _reference_map(length: Tensor, masks: Regions, body: Mask, margin: float) -> RegionMaps:
    """The released code's map of one channel: scaled by the region's largest distance, cut off at 1."""
    scale = _largest(length, masks & body)
    scale = torch.where(scale > 0, scale, _largest(length, masks))
    ratio = torch.where(scale > 0, length / torch.where(scale > 0, scale, 1.0), (length > 0).float())
    size = (1.0 - margin) * torch.where(body, ratio.clamp_max(1.0), 1.0) + margin
    return torch.where(masks, size, -size)


def _largest(length: Tensor, where: Tensor) -> Tensor:
    """Largest length among the chosen voxels of each region, 0 where there are none, ``(R, 1, ...)``."""
    chosen = [one[region] for one, region in zip(length, where, strict=True)]
    largest = [one.amax() if one.numel() else one.new_zeros(()) for one in chosen]
    return torch.stack(largest).view(-1, *(1,) * (length.ndim - 1))


def _prepare(case: TargetCase, options: Options) -> Tensor | None:
    """Canny's edges ``(R, *S)``; the device finds the other boundaries by itself."""
    if options["boundary"] != "canny":
        return None
    axis = options["slice_axis"]
    return torch.stack([boundary_voxels(mask, rule="canny", slice_axis=axis).voxels for mask in case.masks()])


def _make_batch(batch: TargetBatch, options: Options) -> Tensor:
    boundary = options["boundary"] if batch.prepared is None else batch.prepared
    masks = torch.stack([case.masks() for case in batch.cases()])
    return sing(masks, batch.image, spacing=batch.spacing, **{**options, "boundary": boundary})


LABEL = label_of(sing, "sing", "SiNG", SIGNED, on_device=OnDevice(_prepare, _make_batch))
