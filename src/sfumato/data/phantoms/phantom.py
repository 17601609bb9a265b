"""Phantoms: objects whose true soft label, raters and image are all known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from sfumato.checks import as_tensor, require_spacing
from sfumato.data.phantoms.raters import RaterModel, rater_labels
from sfumato.data.phantoms.scene import Scene, SmoothField, centres_mm, class_fractions
from sfumato.data.phantoms.solids import Ellipsoid
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.types import ArrayLike, Image, Labels, LabelsPerRater, Soft, Spacing


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
    width = max(side * step for side, step in zip(shares.shape[1:], spacing, strict=True))
    field = SmoothField(len(spacing), deviation=appearance.bias, length_mm=0.5 * width, rng=rng)
    image *= np.exp(field.values(centres_mm(shares.shape[1:], spacing)))
    image += appearance.noise * rng.standard_normal(image.shape)
    return torch.from_numpy(image.astype(np.float32))


@dataclass(frozen=True, eq=False)
class Phantom:
    """One made-up subject with its answers.

    Attributes:
        image: Channels, ``(C, *S)``, float32.
        labels: The class that fills most of each voxel, ``(*S)``, int64; a tie goes to the lower index.
        soft: The share of every class in every voxel, ``(K, *S)``, float32: the truth.
        labels_per_rater: One mask per rater, ``(D, *S)``, int64; ``None`` without raters.
        spacing: Millimetres between voxel centres, one value per axis.
    """

    image: Image
    labels: Labels
    soft: Soft
    labels_per_rater: LabelsPerRater | None
    spacing: Spacing


def phantom(
    scene: Scene, *, appearance: Appearance, raters: RaterModel | None = None, seed: int = 0, factor: int = 8
) -> Phantom:
    """Look at a scene: its fractions, its image, and its raters' masks.

    Args:
        scene: Solids on a voxel grid.
        appearance: What its classes look like.
        raters: How its raters differ; ``None``: there are none.
        seed: The same seed gives the same phantom to the bit on one machine.
        factor: Parts per voxel and axis for the fractions, as in :func:`class_fractions`.

    Raises:
        ShapeError: ``appearance`` does not have one intensity per class.

    Example:
        >>> ball = ball_scene(shape=(12, 12, 6), spacing=(1.0, 1.0, 2.0))
        >>> made = phantom(ball, appearance=Appearance(means=((0.0, 1.0),), blur_mm=1.0, noise=0.05))
        >>> made.image.shape, round(float(made.soft[1].sum() * 2.0) / ball.solids[0].volume, 2)
        (torch.Size([1, 12, 12, 6]), 1.0)
    """
    soft = class_fractions(scene, factor=factor)
    return Phantom(
        image=intensity_image(soft, appearance, spacing=scene.spacing, seed=seed),
        labels=soft.argmax(dim=0),
        soft=soft,
        labels_per_rater=None if raters is None else rater_labels(scene, raters, seed=seed),
        spacing=scene.spacing,
    )


def ball_scene(
    *, shape: tuple[int, ...], spacing: Spacing, share: float = 0.6, offset_voxels: float = 0.3
) -> Scene:
    """Return one ball (a disc in 2-D), class 1, whose centre lies off the grid.

    Args:
        shape: Voxels per axis.
        spacing: Millimetres between voxel centres, one value per axis.
        share: Diameter as a share of the shortest side of the field of view.
        offset_voxels: Distance of its centre from the middle along every axis, in voxels.
    """
    extent = [side * step for side, step in zip(shape, spacing, strict=True)]
    centre = tuple(0.5 * side + offset_voxels * step for side, step in zip(extent, spacing, strict=True))
    radius = 0.5 * share * min(extent)
    return Scene((Ellipsoid(centre, (radius,) * len(shape)),), (1,), 2, shape, spacing)


def tumour_scene(*, shape: tuple[int, ...], spacing: Spacing, seed: int = 0) -> Scene:
    """Return nested, bumpy ellipsoids like a brain tumour: oedema 2 around enhancing rim 3 around core 1.

    Args:
        shape: Voxels per axis.
        spacing: Millimetres between voxel centres, one value per axis.
        seed: Which place, proportions and surface. One surface for all three keeps them nested.
    """
    rng = np.random.default_rng([seed, 2])
    extent = np.array([side * step for side, step in zip(shape, spacing, strict=True)])
    centre = tuple((extent * (0.5 + rng.uniform(-0.06, 0.06, len(shape)))).tolist())
    radii = extent * rng.uniform(0.26, 0.34, len(shape))
    surface = SmoothField(
        len(shape), deviation=0.02 * extent.min(), length_mm=0.2 * float(extent.min()), rng=rng
    )
    solids = tuple(Ellipsoid(centre, tuple((part * radii).tolist())) for part in (1.0, 0.66, 0.42))
    return Scene(solids, (2, 3, 1), 4, shape, spacing, surface)
