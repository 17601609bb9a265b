"""Phantoms: objects whose true soft label, raters and image are all known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfumato.data.phantoms.fields import SmoothField
from sfumato.data.phantoms.images import Appearance, intensity_image
from sfumato.data.phantoms.raters import RaterModel, rater_labels
from sfumato.data.phantoms.scene import Scene, class_fractions
from sfumato.data.phantoms.solids import Ellipsoid
from sfumato.types import Image, Labels, LabelsPerRater, Soft, Spacing


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
