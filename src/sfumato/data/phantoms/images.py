"""Intensity images of known objects: blurred borders, a bias field, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from sfumato.checks import as_tensor, require_spacing
from sfumato.data.phantoms.fields import SmoothField
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.types import ArrayLike, Image, Spacing


@dataclass(frozen=True)
class Appearance:
    """What the classes look like, and what the scanner adds.

    ``I_c = (sum_k means[c][k] blurred(share_k)) exp(bias f) + noise n``. ``f`` is a :class:`SmoothField` of
    deviation 1 that changes over half the field of view, one for all channels; ``n`` is standard normal per
    voxel and channel.

    Attributes:
        means: Intensity of every class, one row per channel: ``(C, K)``.
        blur_mm: Standard deviation of the Gaussian that blurs the borders; 0: partial volume alone.
        noise: Standard deviation of the noise, in the unit of the intensities.
        bias: Standard deviation of the logarithm of the bias field; 0: none.

    Raises:
        ShapeError: there is no channel, or the rows differ in length.
        ValueRangeError: a deviation is negative.
    """

    means: tuple[tuple[float, ...], ...]
    blur_mm: float = 0.0
    noise: float = 0.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not self.means or len({len(row) for row in self.means}) != 1:
            raise ShapeError(f"means are {self.means}: give one row per channel, all with a value per class")
        if not min(self.blur_mm, self.noise, self.bias) >= 0:
            raise ValueRangeError(
                f"blur {self.blur_mm} mm, noise {self.noise} and bias {self.bias}: give 0 or more"
            )


def intensity_image(soft: ArrayLike, appearance: Appearance, *, spacing: Spacing, seed: int) -> Image:
    """Paint every class with its intensity in every channel, then add blur, bias and noise.

    Args:
        soft: Share of every class in every voxel, ``(K, *S)``.
        appearance: What the classes look like.
        spacing: Millimetres between voxel centres, one value per axis.
        seed: The same seed gives the same bias field and noise.

    Returns:
        ``(C, *S)``, float32. Without blur, noise and bias an exact mixture of the class intensities.

    Raises:
        ShapeError: ``means`` does not have one value per class, or ``spacing`` not one per axis.
    """
    shares = as_tensor(soft).detach().cpu().numpy().astype(np.float64)
    require_spacing(spacing, shares.shape[1:])
    means = np.asarray(appearance.means, dtype=np.float64)
    if means.shape[1] != len(shares):
        raise ShapeError(
            f"means has {means.shape[1]} values per channel, but there are {len(shares)} classes"
        )
    if appearance.blur_mm > 0:
        sigmas = [appearance.blur_mm / step for step in spacing]
        shares = np.stack([ndimage.gaussian_filter(share, sigmas, mode="nearest") for share in shares])
    image = np.tensordot(means, shares, axes=1)
    rng = np.random.default_rng([seed, 1])
    sides = [(np.arange(side) + 0.5) * step for side, step in zip(shares.shape[1:], spacing, strict=True)]
    width = max(side * step for side, step in zip(shares.shape[1:], spacing, strict=True))
    field = SmoothField(len(spacing), deviation=appearance.bias, length_mm=0.5 * width, rng=rng)
    image *= np.exp(field.values(np.stack(np.meshgrid(*sides, indexing="ij"))))
    image += appearance.noise * rng.standard_normal(image.shape)
    return torch.from_numpy(image.astype(np.float32))
