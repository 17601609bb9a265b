"""Intensity scales: a geodesic distance adds millimetres to intensities, so their unit matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_choice, require_finite, require_spacing
from sfumato.errors import ShapeError
from sfumato.labels.kernels.zscore import zscored
from sfumato.types import ArrayLike, Image, Spacing

INTENSITIES: tuple[str, ...] = ("raw", "unit", "zscore")
CHANNELS: tuple[str, ...] = ("joint", "per-channel")


class Scale(NamedTuple):
    """How intensities are measured: their scale, and whether all channels together or each by itself."""

    intensity: str
    channels: str


PRESETS = {"paper": Scale("zscore", "joint"), "reference": Scale("raw", "per-channel")}


def preset_scale(preset: str, intensity: str | None, channels: str | None) -> Scale:
    """Return the scale of a preset, but for what is given.

    Raises:
        UnknownNameError: a name is not known.
    """
    require_choice("preset", preset, PRESETS)
    scale = Scale(intensity or PRESETS[preset].intensity, channels or PRESETS[preset].channels)
    require_choice("intensity", scale.intensity, INTENSITIES)
    require_choice("channels", scale.channels, CHANNELS)
    return scale


def scaled_image(image: ArrayLike, *, spacing: Spacing, intensity: str) -> Image:
    """Scale each channel of an image; the result is ``(C, *S)`` float32.

    ``raw``: as it is. ``unit``: minimum 0, maximum 1. ``zscore``: mean 0, standard deviation 1 over the
    whole image. A channel of one constant value becomes 0 under the last two.

    Args:
        image: ``(*S)`` or ``(C, *S)``, finite; the length of ``spacing`` tells them apart.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        intensity: The scale.

    Raises:
        ShapeError: ``image`` has neither as many axes as ``spacing`` has values nor one more.
        UnknownNameError: ``intensity`` is not a known scale.
        ValueRangeError: ``image`` holds NaN or infinity.
    """
    require_choice("intensity", intensity, INTENSITIES)
    image = as_tensor(image)
    if image.ndim == len(spacing):
        image = image[None]
    if image.ndim != len(spacing) + 1:
        raise ShapeError(
            f"image has {image.ndim} axes {tuple(image.shape)}, but spacing has {len(spacing)} values: "
            "give an image (*S) or (C, *S) with one spacing value per spatial axis"
        )
    require_spacing(spacing, image.shape[1:])
    if intensity == "zscore" and image.dtype == torch.float32 and image.device.type == "cpu":
        pixels = image.detach().contiguous().numpy()
        result = np.empty_like(pixels)
        if all(zscored(one, out=target) is not None for one, target in zip(pixels, result, strict=True)):
            return torch.from_numpy(result)
    require_finite("image", image)
    if intensity == "raw":
        return image.to(torch.float32)
    flat = image.flatten(1).to(torch.float64)
    scaled = unit(flat) if intensity == "unit" else zscore(flat, torch.ones_like(flat, dtype=torch.bool))
    return scaled.to(torch.float32).reshape(image.shape)


def unit(flat: Tensor) -> Tensor:
    """Scale channels ``(C, voxels)`` float64 to minimum 0 and maximum 1; constant ones become 0."""
    least = flat.amin(1, keepdim=True)
    width = flat.amax(1, keepdim=True) - least
    return torch.where(width > 0, (flat - least) / width, 0.0)


def zscore(flat: Tensor, counted: Tensor) -> Tensor:
    """Scale channels to mean 0 and standard deviation 1 over the counted voxels; constant ones become 0.

    Args:
        flat: ``(C, voxels)`` float64, because a sum over millions of voxels in float32 loses digits.
        counted: ``(C, voxels)`` boolean; the other voxels become 0.
    """
    count = counted.sum(1, keepdim=True).clamp_min(1)
    centred = torch.where(counted, flat - (flat * counted).sum(1, keepdim=True) / count, 0.0)
    deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
    # A constant channel's deviation is rounding error, not exactly 0.
    constant = deviation <= 1e-12 * flat.abs().amax(1, keepdim=True)
    return torch.where(constant, 0.0, centred / deviation)


def channel_groups(image: Tensor, channels: str) -> tuple[Tensor, ...]:
    """Split ``(C, *S)`` into the images to measure on: all channels at once, or one at a time."""
    require_choice("channels", channels, CHANNELS)
    return (image,) if channels == "joint" else tuple(image[index : index + 1] for index in range(len(image)))


def mean_of(parts: Sequence[Tensor]) -> Tensor:
    """Return the mean of what each group of channels gave; one alone is not copied."""
    return parts[0] if len(parts) == 1 else torch.stack(tuple(parts)).mean(dim=0)
