"""Intensity scales: a geodesic distance adds millimetres to intensities, so their unit matters."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_choice, require_finite, require_spacing
from sfumato.errors import ShapeError
from sfumato.geodesic import zscored
from sfumato.types import ArrayLike, Image, Spacing

INTENSITIES: tuple[str, ...] = ("raw", "unit", "zscore")
CHANNELS: tuple[str, ...] = ("joint", "per-channel")


def scaled_image(image: ArrayLike, *, spacing: Spacing, intensity: str) -> Image:
    """Give the image as ``(C, *S)`` float32, each channel on the chosen intensity scale.

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
    # float64, because a sum over millions of voxels in float32 depends on the order of the memory.
    values = image.to(torch.float64)
    flat = values.flatten(1)
    if intensity == "unit":
        offset, scale = flat.amin(1), flat.amax(1) - flat.amin(1)
    else:
        offset, scale = flat.mean(1), flat.std(1, unbiased=False)
        # A constant channel's deviation is rounding noise, not a scale.
        scale = torch.where(flat.amin(1) == flat.amax(1), 0.0, scale)
    safe = torch.where(scale > 0, scale, 1.0)
    column = (-1, *(1,) * len(spacing))
    shifted = torch.where((scale > 0).view(column), values - offset.view(column), 0.0)
    return (shifted / safe.view(column)).to(torch.float32)


def channel_groups(image: Tensor, channels: str) -> tuple[Tensor, ...]:
    """Split ``(C, *S)`` into the images to measure on: all channels at once, or one at a time."""
    require_choice("channels", channels, CHANNELS)
    return (image,) if channels == "joint" else tuple(image[index : index + 1] for index in range(len(image)))
