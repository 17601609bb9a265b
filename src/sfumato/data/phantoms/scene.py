"""A scene: solids of known classes on a voxel grid, and the exact share of every class in every voxel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sfumato.checks import require_positive, require_spacing
from sfumato.data.phantoms.solids import Solid
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.types import Labels, Soft, Spacing

_POINTS_AT_ONCE = 2**17


class SmoothField:
    """A smooth random function of position: a stationary Gaussian random field, known everywhere.

    ``f(x) = deviation sqrt(1 / M) sum_m (a_m cos(w_m x) + b_m sin(w_m x))`` with standard normal ``a`` and
    ``b``, and ``w`` normal with standard deviation ``1 / length_mm`` along every axis. At every point ``f``
    is exactly normal with mean 0 and this deviation over the draws of ``a`` and ``b``; the correlation over
    a distance ``d`` is ``exp(-d^2 / (2 length_mm^2))`` on average over the draws of ``w``. No grid enters.

    Args:
        axes: Number of spatial axes.
        deviation: Standard deviation, in the unit of the field.
        length_mm: Distance over which the field changes.
        rng: Source of the random numbers.

    References:
        Rahimi and Recht (2007), Random features for large-scale kernel machines, for the waves.
    """

    waves = 48

    def __init__(self, axes: int, *, deviation: float, length_mm: float, rng: np.random.Generator) -> None:
        require_positive("length_mm", length_mm)
        if not deviation >= 0:
            raise ValueRangeError(f"deviation is {deviation}: it must be 0 or more")
        self._frequencies = rng.standard_normal((self.waves, axes)) / length_mm
        cosines, sines = rng.standard_normal((2, self.waves))
        # a cos + b sin is one wave of height hypot(a, b), so that one cosine serves both.
        self._heights = deviation / math.sqrt(self.waves) * np.hypot(cosines, sines)
        self._phases = np.arctan2(sines, cosines)

    @property
    def slope(self) -> float:
        """A bound on the change per mm."""
        return float((np.linalg.norm(self._frequencies, axis=1) * self._heights).sum())

    def values(self, points: np.ndarray) -> np.ndarray:
        """Compute the field at points ``(axes, *S)``; ``(*S)``."""
        total = np.zeros(points.shape[1:])
        for frequency, height, phase in zip(self._frequencies, self._heights, self._phases, strict=True):
            if height > 0:
                total += height * np.cos(np.tensordot(frequency, points, axes=1) - phase)
        return total


@dataclass(frozen=True)
class Scene:
    """Solids painted one over the other, seen through a voxel grid.

    A point belongs to a solid where its depth in it, plus the displacement there, is above 0. All solids
    share the displacement, so nested solids stay nested.

    Attributes:
        solids: What is painted, in this order: a later solid covers an earlier one.
        classes: The class of each solid, ``1 .. num_classes - 1``, or 0 to cut a hole. What no solid
            covers is class 0.
        num_classes: Number of classes ``K``, background included; some may have no solid.
        shape: Voxels per axis; the first corner of the grid is at 0 mm, the first centre at ``spacing / 2``.
        spacing: Millimetres between voxel centres, one value per axis.
        displacement: Moves every surface outwards by so many mm, inwards where it is negative; ``None``
            leaves the solids as they are.

    Raises:
        ShapeError: the parts do not fit together.
        ValueRangeError: a class outside ``0 .. num_classes - 1``, a spacing or side that is not above 0.
    """

    solids: tuple[Solid, ...]
    classes: tuple[int, ...]
    num_classes: int
    shape: tuple[int, ...]
    spacing: Spacing
    displacement: SmoothField | None = None

    def __post_init__(self) -> None:
        require_spacing(self.spacing, self.shape, name="the grid")
        if len(self.solids) != len(self.classes):
            raise ShapeError(f"{len(self.solids)} solids have {len(self.classes)} classes: give one for each")
        if min(self.shape) < 1:
            raise ValueRangeError(f"shape is {self.shape}: every side must be at least one voxel")
        outside = [value for value in self.classes if not 0 <= value < self.num_classes]
        if outside:
            raise ValueRangeError(f"classes {outside} lie outside 0 .. {self.num_classes - 1}")

    def centres(self) -> np.ndarray:
        """Return the positions of the voxel centres in mm, ``(axes, *S)``."""
        return centres_mm(self.shape, self.spacing)

    def finer(self, factor: int) -> Scene:
        """Return the same solids and field of view with ``factor`` times the voxels along every axis."""
        return replace(
            self,
            shape=tuple(side * factor for side in self.shape),
            spacing=tuple(step / factor for step in self.spacing),
        )


def centres_mm(shape: Sequence[int], spacing: Spacing) -> np.ndarray:
    """Return the positions of a grid's voxel centres, ``(axes, *S)``; its first corner is at 0 mm."""
    sides = [(np.arange(side) + 0.5) * step for side, step in zip(shape, spacing, strict=True)]
    return np.stack(np.meshgrid(*sides, indexing="ij"))


def class_fractions(scene: Scene, *, factor: int = 8) -> Soft:
    """Compute the share of every voxel that each class fills: the true soft label of the scene.

    Every voxel that a surface may cross is divided into ``factor`` parts along each axis, and the parts'
    centres are asked. Of a flat surface across a voxel of ``N`` axes the share is off by at most
    ``N / (2 factor)``, and by at most ``1 / (2 factor)`` where the surface lies along the grid; over many
    voxels the errors cancel.

    Args:
        scene: What to see.
        factor: Parts per axis.

    Returns:
        Class weights, ``(K, *S)``, float32, summing to 1. A class without a solid weighs 0 everywhere.

    Raises:
        ValueRangeError: ``factor`` is below 1.
    """
    if factor < 1:
        raise ValueRangeError(f"factor is {factor}: it must be 1 or more")
    centres = scene.centres().reshape(len(scene.shape), -1)
    depths = depths_mm(scene, centres)
    # How far from the centre, in depth, a surface may be and still cut the voxel's corner.
    slope = 1.0 if scene.displacement is None else 1.0 + scene.displacement.slope
    crossed = (np.abs(depths) <= 0.5 * math.hypot(*scene.spacing) * slope).any(axis=0)
    whole = painted(scene.classes, depths > 0.0)
    shares = np.zeros((scene.num_classes, centres.shape[1]), dtype=np.float64)
    np.put_along_axis(shares, whole[None], 1.0, axis=0)
    shares[:, crossed] = _divided(scene, centres[:, crossed], factor)
    return torch.from_numpy(shares.astype(np.float32).reshape(scene.num_classes, *scene.shape))


def centre_labels(scene: Scene) -> Labels:
    """Return the class at every voxel's centre: the scene's mask without fractions, ``(*S)`` int64."""
    return torch.from_numpy(_classes_at(scene, scene.centres()))


def depths_mm(scene: Scene, points: np.ndarray) -> np.ndarray:
    """Compute the depth of points ``(axes, *S)`` in every solid, displaced; ``(solids, *S)``, mm."""
    depths = np.zeros((len(scene.solids), *points.shape[1:]))
    for index, solid in enumerate(scene.solids):
        depths[index] = solid.depth_mm(points)
    return depths if scene.displacement is None else depths + scene.displacement.values(points)


def painted(classes: tuple[int, ...], inside: np.ndarray) -> np.ndarray:
    """Return the class per voxel, int64: solids, ``inside`` of ``(solids, *S)``, are painted in order."""
    labels = np.zeros(inside.shape[1:], dtype=np.int64)
    for value, mask in zip(classes, inside, strict=True):
        labels[mask] = value
    return labels


def _divided(scene: Scene, centres: np.ndarray, factor: int) -> np.ndarray:
    """Compute the share of every class in the voxels with these centres, ``(K, voxels)``, from parts."""
    parts = (np.arange(factor) + 0.5) / factor - 0.5
    offsets = np.array(list(itertools.product(parts, repeat=len(scene.shape)))).T
    offsets = offsets * np.array(scene.spacing)[:, None]
    shares = np.zeros((scene.num_classes, centres.shape[1]))
    step = max(1, _POINTS_AT_ONCE // offsets.shape[1])
    for start in range(0, centres.shape[1], step):
        some = slice(start, start + step)
        classes = _classes_at(scene, centres[:, some, None] + offsets[:, None])
        for value in range(scene.num_classes):
            shares[value, some] = (classes == value).mean(axis=1)
    return shares


def _classes_at(scene: Scene, points: np.ndarray) -> np.ndarray:
    if scene.displacement is not None:
        return painted(scene.classes, depths_mm(scene, points) > 0.0)
    inside = np.zeros((len(scene.solids), *points.shape[1:]), dtype=bool)
    for index, solid in enumerate(scene.solids):
        inside[index] = solid.holds(points)
    return painted(scene.classes, inside)
