"""Superpixel softening: where a superpixel straddles a region's boundary, its voxels are in doubt."""

from __future__ import annotations

import math

import numpy as np
import torch
from skimage.segmentation import slic
from torch import Tensor

from sfumato.checks import as_regions, require_between, require_choice, require_positive, require_same_shape
from sfumato.errors import ValueRangeError
from sfumato.labels.definition import label_of
from sfumato.labels.intensity import scaled_image
from sfumato.labels.signed_distance import signed_distance
from sfumato.structures import REGIONS
from sfumato.types import ArrayLike, Image, Labels, Mask, RegionMaps, Spacing

AT_BOUNDARY: tuple[str, ...] = ("half", "fraction")


def superpixel(
    regions: ArrayLike,
    image: ArrayLike,
    *,
    spacing: Spacing,
    superpixel_voxels: int = 100,
    compactness: float = 0.1,
    at_boundary: str = "half",
    width_mm: float = 1.0,
    beta: float = 1.0,
) -> RegionMaps:
    """Soften each region in the superpixels that hold voxels on both sides of its boundary.

    There ``q = t m + (1 - t) h`` with ``m`` the mask, ``t = |d| / (|d| + width_mm)`` and ``d`` the distance
    in mm to the nearest voxel centre on the other side. ``at_boundary="half"`` is the published ``h = 1/2``,
    so that ``q = (1 + d / (width_mm + |d|)) / 2`` for a signed ``d``: there superpixels decide where labels
    are softened, and the distance alone by how much. ``"fraction"`` blends the region's share of the
    superpixel by the same distance. Elsewhere ``q = m``. The result is ``(m + beta q) / (1 + beta)``:
    training a cross-entropy on it is training on hard and softened labels together, with weights 1 and
    ``beta``.

    Superpixels are computed where the regions are, in a box that is two superpixels wider on every side.

    Args:
        regions: ``(R, *S)``, booleans or 0 and 1; they may overlap. All share the superpixels.
        image: Intensities, ``(*S)`` or ``(C, *S)``, finite; each channel is scaled to ``[0, 1]``.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        superpixel_voxels: Voxels that a superpixel should hold, at least 1; they differ in size. SLIC starts
            from cubes of voxels whatever the spacing, and measures closeness in mm.
        compactness: Weight of closeness against similarity of the intensities, in SLIC, above 0.
        at_boundary: What a voxel tends to near the boundary: ``half``, or the ``fraction`` of the superpixel.
        width_mm: Distance at which mask and ``h`` weigh alike, above 0.
        beta: Weight of the softened against the hard label, 0 or above; 0 leaves the mask.

    Returns:
        ``(R, *S)``, float32, in ``[0, 1]``. With ``"half"``, thresholding at 0.5 gives the region back
        exactly. An empty region is 0 everywhere, one that fills the image 1.

    Raises:
        ShapeError: ``regions``, ``image`` and ``spacing`` do not fit together.
        UnknownNameError: ``at_boundary`` is not known.
        ValueRangeError: a number is out of its range, ``regions`` holds values other than 0 and 1, or
            ``image`` is not finite.

    References:
        Li et al. (2020), Superpixel-guided label softening for medical image segmentation,
        arXiv:2007.08897, equation 1 (``"half"``, with a width of 1; ``"fraction"`` is not in it).
        Achanta et al. (2012), SLIC superpixels compared to state-of-the-art superpixel methods,
        doi:10.1109/TPAMI.2012.120, as scikit-image computes it.
    """
    require_choice("at_boundary", at_boundary, AT_BOUNDARY)
    require_positive("compactness", compactness)
    require_positive("width_mm", width_mm)
    require_between("beta", beta, 0.0, float("inf"))
    if superpixel_voxels < 1:
        raise ValueRangeError(f"superpixel_voxels is {superpixel_voxels}: it must be at least 1")
    masks = as_regions(regions, axes=len(spacing))
    scaled = scaled_image(image, spacing=spacing, intensity="unit").to(masks.device)
    require_same_shape("image", scaled.shape[1:], "each region", masks.shape[1:])
    hard = masks.to(torch.float32)
    bounded = torch.stack([mask.any() & ~mask.all() for mask in masks])
    if not bool(bounded.any()):
        return hard
    box = (slice(None), *box_around(masks[bounded].any(dim=0), superpixel_voxels))
    share = superpixel_shares(masks[box], superpixels(scaled[box], spacing, superpixel_voxels, compactness))
    near = 0.5 if at_boundary == "half" else share
    away = signed_distance(masks, spacing=spacing, normalise=False).abs()[box]
    certainty = away / (away + width_mm)
    blended = certainty * hard[box] + (1.0 - certainty) * near
    soft = hard.clone()
    soft[box] = torch.where((share > 0) & (share < 1), blended, hard[box])
    return (hard + beta * soft) / (1.0 + beta)


def box_around(mask: Mask, voxels: int) -> tuple[slice, ...]:
    """Return the part of the image within two superpixels of a mask that is not empty."""
    margin = 2 * math.ceil(voxels ** (1.0 / mask.ndim))
    places = mask.nonzero()
    low, high = places.amin(dim=0).tolist(), places.amax(dim=0).tolist()
    return tuple(
        slice(max(first - margin, 0), last + margin + 1) for first, last in zip(low, high, strict=True)
    )


def superpixels(image: Image, spacing: Spacing, voxels: int, compactness: float) -> Labels:
    """Number the superpixels: that of every voxel, from 0, ``(*S)`` int64."""
    channels_last = np.moveaxis(image.cpu().numpy().astype(np.float64), 0, -1)
    # scikit-image has no annotations.
    numbers = slic(  # type: ignore[no-untyped-call]
        channels_last,
        n_segments=max(1, round(channels_last[..., 0].size / voxels)),
        compactness=compactness,
        spacing=spacing,
        convert2lab=False,
        start_label=0,
        channel_axis=-1,
    )
    return torch.from_numpy(numbers.astype(np.int64)).to(image.device)


def superpixel_shares(masks: Tensor, numbers: Labels) -> RegionMaps:
    """Compute each region's share in every voxel's superpixel, ``(R, *S)``; exact at 0 and 1."""
    flat = numbers.flatten()
    held = torch.bincount(flat)
    shares = [torch.bincount(flat[mask.flatten()], minlength=len(held)) / held for mask in masks]
    return torch.stack([share[numbers] for share in shares]).to(torch.float32)


LABEL = label_of(superpixel, "superpixel", "superpixel", REGIONS)
