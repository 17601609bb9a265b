"""Two-dimensional views of cases: which axis, which slice, which window, which way up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfumato.checks import as_tensor
from sfumato.report.data import Overlay, ReportCase
from sfumato.report.style import label_colour
from sfumato.types import Array, ArrayLike, Spacing


def numbers(array: ArrayLike) -> Array:
    """Convert any array to float32 NumPy."""
    return np.asarray(as_tensor(array).detach().cpu().float().numpy(), dtype=np.float32)


def whole(array: ArrayLike) -> Array:
    """Convert a label map to int64 NumPy."""
    return np.asarray(as_tensor(array).detach().cpu().numpy()).astype(np.int64)


def grey(image: ArrayLike) -> Array:
    """Compute one grey value in [0, 1] per voxel: ``(C, *S)`` to ``(*S)``.

    A colour picture (2-D, three channels) gives the channels' mean, anything else its first channel; the
    scale runs from the 0.5th to the 99.5th percentile. A constant image is 0.
    """
    channels = numbers(image)
    plain = channels.mean(axis=0) if channels.ndim == 3 and len(channels) == 3 else channels[0]
    if plain.size == 0:
        return np.asarray(plain)
    low, high = np.percentile(plain, [0.5, 99.5])
    if high <= low:
        low, high = float(plain.min()), float(plain.max())
    if high <= low:
        return np.zeros_like(plain)
    return np.asarray(np.clip((plain - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def foreground_maps(soft: ArrayLike, overlay: Overlay) -> Array:
    """Return one map in [0, 1] per foreground structure, ``(R, *S)``, of a prediction or target."""
    maps = numbers(overlay.kind.to_unit(as_tensor(soft)))
    return np.asarray(np.nan_to_num(maps[1:] if overlay.kind.joint else maps).clip(0.0, 1.0))


def across(spacing: Spacing) -> int | None:
    """Choose the axis to slice across: the coarsest one where it stands out, else the last; 2-D: ``None``."""
    if len(spacing) == 2:
        return None
    coarsest = int(np.argmax(spacing))
    return coarsest if spacing[coarsest] > 1.5 * sorted(spacing)[1] else len(spacing) - 1


def view(array: Array, axis: int | None, index: int) -> Array:
    """Cut one slice of ``(*S)`` and turn it as it is shown.

    Volumes: the earlier axis runs to the right, the later one upwards. Pictures stay as they are stored.
    """
    if axis is None:
        return array
    return np.asarray(np.take(array, index, axis=axis).T[::-1])


def aspect(spacing: Spacing, axis: int | None) -> float:
    """Return the height of a shown voxel over its width."""
    if axis is None:
        return spacing[0] / spacing[1]
    first, second = (value for index, value in enumerate(spacing) if index != axis)
    return second / first


def fullest(mask: Array, axis: int | None) -> int:
    """Return the slice with most of ``mask``; the middle one where it is empty; 0 for a picture."""
    if axis is None:
        return 0
    counts = mask.sum(axis=tuple(other for other in range(mask.ndim) if other != axis))
    return int(counts.argmax()) if counts.any() else mask.shape[axis] // 2


def window(mask: Array, *, margin: float = 0.3) -> tuple[slice, slice]:
    """Return the rows and columns around a 2-D mask, with a margin; all of them where it is empty."""
    if not mask.any():
        return slice(None), slice(None)
    slices = []
    sides = [np.flatnonzero(mask.any(axis=1 - axis)) for axis in range(2)]
    length = max(int(side[-1] - side[0]) + 1 for side in sides)
    reach = max(4, round(margin * length))
    for side in sides:
        # Both sides reach as far as the longer one, so that a row of panels is not a row of ribbons.
        middle, half = (int(side[0]) + int(side[-1]) + 1) / 2, length / 2 + reach
        half = max(half * 0.75, (int(side[-1]) - int(side[0]) + 1) / 2 + reach)
        slices.append(slice(max(0, int(middle - half)), int(np.ceil(middle + half))))
    return slices[0], slices[1]


def colour(label: int) -> Array:
    """Return a class's colour as three values in [0, 1]."""
    text = label_colour(label).lstrip("#")
    return np.array([int(text[i : i + 2], 16) for i in (0, 2, 4)], dtype=np.float32) / 255.0


def painted(background: Array, maps: Sequence[Array], *, strength: float = 0.85) -> Array:
    """Lay maps in [0, 1], one per class from 1, over a 2-D grey picture: ``(rows, columns, 3)``."""
    picture = np.repeat(background[..., None], 3, axis=-1)
    total = np.clip(sum(maps, np.zeros_like(background)), 0.0, 1.0)
    mixed = np.zeros_like(picture)
    for label, weights in enumerate(maps, start=1):
        mixed += weights[..., None] * colour(label)
    mixed /= np.maximum(sum(maps, np.zeros_like(background)), 1e-6)[..., None]
    cover = (strength * total)[..., None]
    return np.asarray(picture * (1.0 - cover) + mixed * cover, dtype=np.float32)


def shown_mask(case: ReportCase) -> Array:
    """Return where the reference has foreground; without one, where any prediction has."""
    if case.reference is not None and bool((whole(case.reference) > 0).any()):
        return whole(case.reference) > 0
    mask = np.zeros(tuple(case.image.shape[1:]), dtype=np.bool_)
    for overlay in case.predictions.values():
        mask |= whole(overlay.labels) > 0
    return mask
