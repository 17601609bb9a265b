"""Made-up anatomies: which classes lie where, and how bright they are, for one tiny data set each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfumato.data.phantoms.phantom import Appearance, Phantom, phantom
from sfumato.data.phantoms.raters import RaterModel
from sfumato.data.phantoms.scene import Scene, SmoothField
from sfumato.data.phantoms.solids import Ellipsoid
from sfumato.types import Spacing

Shares = tuple[float, float, float]


@dataclass(frozen=True)
class Organ:
    """An ellipsoid in shares of the field of view.

    Attributes:
        label: Its class.
        centre: Where its middle lies along each axis, 0 to 1.
        radii: Its half axes along each axis.
    """

    label: int
    centre: Shares
    radii: Shares


@dataclass(frozen=True)
class Anatomy:
    """What the cases of a made-up data set have in common.

    Attributes:
        parts: What is painted, in order.
        appearance: Intensity of each class in each channel, blur and noise.
        size: Voxels per axis unless another size is asked for.
        spacing: Millimetres between voxel centres, one value per axis.
        body: Half axes of the body in shares of the field of view; ``None``: it fills the image.
        air: Intensity outside the body.
        raters: Number of raters; 0: a single mask.
        missing: Class that the last of several cases lacks, as some real cases do; ``None``: none.
    """

    parts: tuple[Organ, ...]
    appearance: Appearance
    size: tuple[int, int, int] = (24, 24, 24)
    spacing: Spacing = (1.0, 1.0, 1.0)
    body: Shares | None = None
    air: int = 0
    raters: int = 0
    missing: int | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes ``K``, background included."""
        return len(self.appearance.means[0])


def case_phantom(
    anatomy: Anatomy, *, size: tuple[int, int, int], seed: tuple[int, int], lacking: int | None
) -> Phantom:
    """Make one case: the parts moved, scaled and made bumpy at random.

    Args:
        anatomy: Which parts.
        size: Voxels per axis.
        seed: Seed of the data set and number of the case.
        lacking: A class to leave out.
    """
    rng = np.random.default_rng([*seed, 3])
    extent = np.array([side * step for side, step in zip(size, anatomy.spacing, strict=True)])
    shift, scale = rng.uniform(-0.03, 0.03, 3), rng.uniform(0.9, 1.1, 3)
    bumps = SmoothField(3, deviation=0.015 * extent.min(), length_mm=0.3 * float(extent.min()), rng=rng)
    kept = [part for part in anatomy.parts if part.label != lacking]
    solids = []
    for part in kept:
        # Distances from the middle scale with the radii, so that what was nested stays nested.
        centre = 0.5 + (np.array(part.centre) - 0.5) * scale + shift
        radii = np.array(part.radii) * scale
        solids.append(Ellipsoid(tuple((centre * extent).tolist()), tuple((radii * extent).tolist())))
    classes = tuple(part.label for part in kept)
    scene = Scene(tuple(solids), classes, anatomy.num_classes, size, anatomy.spacing, bumps)
    step = min(anatomy.spacing)
    raters = None
    if anatomy.raters:
        raters = RaterModel(anatomy.raters, wobble_mm=0.4 * step, length_mm=5 * step, bias_mm=0.25 * step)
    return phantom(
        scene, appearance=anatomy.appearance, raters=raters, seed=int(rng.integers(2**31)), factor=2
    )


def stored_image(anatomy: Anatomy, made: Phantom) -> np.ndarray:
    """Return the image as scanners store it, ``(C, *S)``, int16, with air around the body."""
    image = np.rint(made.image.numpy())
    if anatomy.body is not None:
        image = np.where(_body(anatomy.body, made), np.maximum(image, anatomy.air + 1), anatomy.air)
    return np.asarray(image.clip(-32768, 32767), dtype=np.int16)


def _body(shares: Shares, made: Phantom) -> np.ndarray:
    sides = [(np.arange(side) + 0.5) / side - 0.5 for side in made.labels.shape]
    grid = np.meshgrid(*sides, indexing="ij")
    return np.asarray(sum((axis / share) ** 2 for axis, share in zip(grid, shares, strict=True)) < 1.0)


def _nested(label: int, share: float) -> Organ:
    return Organ(label, (0.46, 0.54, 0.5), (share, 0.9 * share, 0.95 * share))


_BRAIN = (0.49, 0.47, 0.48)
_TUMOUR = (_nested(2, 0.31), _nested(3, 0.22), _nested(1, 0.13))
_LESIONS = (
    Organ(1, (0.36, 0.42, 0.5), (0.12, 0.10, 0.16)),
    Organ(1, (0.62, 0.40, 0.45), (0.08, 0.08, 0.12)),
    Organ(1, (0.55, 0.66, 0.55), (0.11, 0.07, 0.12)),
)
_KIDNEY = Organ(1, (0.5, 0.48, 0.5), (0.34, 0.26, 0.28))

BRATS = Anatomy(
    _TUMOUR,
    Appearance(
        # One row per channel: flair, t1, t1ce, t2. Columns: brain, core, oedema, enhancing tumour.
        means=((300, 260, 620, 500), (420, 260, 330, 350), (400, 280, 330, 800), (300, 640, 560, 460)),
        blur_mm=0.6,
        noise=25,
        bias=0.05,
    ),
    body=_BRAIN,
    missing=3,
)
FLARE = Anatomy(
    (
        Organ(1, (0.30, 0.42, 0.55), (0.19, 0.24, 0.34)),
        Organ(2, (0.36, 0.80, 0.42), (0.10, 0.10, 0.24)),
        Organ(2, (0.64, 0.80, 0.42), (0.10, 0.10, 0.24)),
        Organ(3, (0.80, 0.56, 0.60), (0.10, 0.14, 0.24)),
        Organ(4, (0.60, 0.44, 0.50), (0.10, 0.08, 0.16)),
    ),
    Appearance(means=((20, 110, 160, 130, 80),), blur_mm=0.8, noise=12),
    size=(24, 24, 16),
    spacing=(0.8, 0.8, 2.5),
    body=(0.5, 0.5, 2.0),
    air=-1000,
    missing=4,
)
KITS = Anatomy(
    (_KIDNEY, Organ(2, (0.5, 0.62, 0.5), (0.20, 0.13, 0.15))),
    Appearance(means=((10, 150, 90),), blur_mm=0.8, noise=12),
    # The release stores the slices along the first axis.
    size=(16, 24, 24),
    spacing=(3.0, 0.8, 0.8),
    missing=2,
)
PROSTATEX = Anatomy(
    (
        Organ(1, (0.5, 0.55, 0.5), (0.34, 0.30, 0.38)),
        Organ(2, (0.5, 0.48, 0.5), (0.26, 0.21, 0.30)),
        Organ(4, (0.5, 0.32, 0.5), (0.15, 0.08, 0.24)),
        Organ(3, (0.5, 0.60, 0.5), (0.08, 0.08, 0.20)),
    ),
    Appearance(means=((180, 420, 280, 520, 120),), blur_mm=0.5, noise=18, bias=0.05),
    size=(24, 24, 12),
    spacing=(0.5, 0.5, 3.0),
    missing=4,
)
LIDC = Anatomy(
    (Organ(1, (0.5, 0.5, 0.5), (0.24, 0.2, 0.22)),),
    Appearance(means=((-800, 40),), blur_mm=1.2, noise=40),
    raters=4,
)
SCGM = Anatomy(
    (
        Organ(2, (0.5, 0.5, 0.5), (0.36, 0.28, 0.9)),
        Organ(1, (0.40, 0.5, 0.5), (0.07, 0.19, 0.9)),
        Organ(1, (0.60, 0.5, 0.5), (0.07, 0.19, 0.9)),
        Organ(1, (0.5, 0.5, 0.5), (0.14, 0.06, 0.9)),
    ),
    Appearance(means=((120, 420, 320),), blur_mm=0.2, noise=15),
    size=(24, 24, 8),
    spacing=(0.5, 0.5, 5.0),
    raters=4,
)
MSSEG = Anatomy(
    _LESIONS,
    # FLAIR, T1, T2, DP, GADO.
    Appearance(means=((300, 600), (400, 280), (300, 560), (350, 500), (410, 330)), blur_mm=0.7, noise=20),
    body=_BRAIN,
    raters=7,
)
LGG = Anatomy(
    (Organ(1, (0.44, 0.56, 0.5), (0.22, 0.18, 0.36)),),
    # pre-contrast, FLAIR, post-contrast, as 8-bit colours.
    Appearance(means=((90, 70), (80, 180), (95, 90)), blur_mm=0.8, noise=6),
    size=(32, 32, 6),
    spacing=(1.0, 1.0, 5.0),
    body=(0.46, 0.44, 2.0),
)
BIDS = Anatomy(
    _LESIONS,
    Appearance(means=((400, 280), (300, 600)), blur_mm=0.7, noise=20),
    body=_BRAIN,
    raters=2,
    missing=1,
)
TWO_CLASSES = Anatomy(
    (_KIDNEY, Organ(2, (0.5, 0.62, 0.5), (0.20, 0.13, 0.15))),
    Appearance(means=((100, 300, 500), (500, 200, 300)), blur_mm=0.7, noise=20),
    size=(24, 20, 16),
    spacing=(1.0, 1.2, 1.5),
    missing=2,
)
RATED = Anatomy(
    (_KIDNEY,),
    Appearance(means=((100, 300),), blur_mm=0.7, noise=20),
    size=(24, 20, 16),
    spacing=(1.0, 1.2, 1.5),
    raters=3,
    missing=1,
)
