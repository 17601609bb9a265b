"""Solids with known geometry: how deep in a solid any point lies, in millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sfumato.checks import require_positive
from sfumato.errors import ShapeError, ValueRangeError

_STEPS = 60  # Newton's method needs about ten; the rest is for radii a thousand times apart.


class Solid(Protocol):
    """A set of points in two or three dimensions."""

    def depth_mm(self, points: np.ndarray) -> np.ndarray:
        """Compute the distance of points ``(axes, *S)`` to its surface in mm, negative outside; ``(*S)``."""

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Return whether each point is inside, ``(*S)`` boolean: the sign of the depth, faster."""


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipse or ellipsoid whose half axes lie along the axes of the image.

    Attributes:
        centre_mm: Its centre, one value per axis; the image's first corner is 0.
        radii_mm: Its half axes. All equal: a disc or a ball.

    Raises:
        ShapeError: the centre and the radii differ in number.
        ValueRangeError: a radius is not above 0.
    """

    centre_mm: tuple[float, ...]
    radii_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        _require_axes(self.centre_mm, self.radii_mm, "radii_mm")
        for radius in self.radii_mm:
            require_positive("radius", radius)

    @property
    def volume(self) -> float:
        """Area in mm^2 or volume in mm^3."""
        axes = len(self.radii_mm)
        unit_ball: float = math.pi ** (axes / 2) / math.gamma(axes / 2 + 1)
        return unit_ball * math.prod(self.radii_mm)

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Return whether each point is inside."""
        offsets = (points - _column(self.centre_mm, points)) / _column(self.radii_mm, points)
        return np.asarray((offsets**2).sum(axis=0) < 1.0)

    def depth_mm(self, points: np.ndarray) -> np.ndarray:
        """Compute the exact signed distance to the surface.

        The nearest surface point of ``y`` is ``r_i^2 y_i / (t + r_i^2)``, where ``t`` is the largest root of
        ``sum (r_i y_i / (t + r_i^2))^2 = 1``. The sum falls and is convex in ``t``, so Newton's method from
        the left of the root never oversteps it.

        References:
            Eberly (2013), Distance from a point to an ellipse, an ellipsoid, or a hyperellipsoid.
        """
        radii = _column(self.radii_mm, points)
        least = min(self.radii_mm)
        offsets = np.abs(points - _column(self.centre_mm, points))
        # On a plane of symmetry the nearest point may lie off it; a step aside of 1e-12 finds it.
        offsets = np.maximum(offsets, 1e-12 * radii)
        # s = t + least^2 keeps its digits where t is near -least^2, deep inside a flat ellipsoid.
        gaps = radii**2 - least**2
        moment = radii * offsets
        s = (moment - gaps).max(axis=0)
        for _ in range(_STEPS):
            terms = moment / (s + gaps)
            excess = (terms**2).sum(axis=0) - 1.0
            step = excess / (2.0 * (terms**2 / (s + gaps)).sum(axis=0))
            s = s + np.maximum(step, 0.0)
            if not np.any(step > 1e-13 * s):
                break
        nearest = radii**2 * offsets / (s + gaps)
        distance = np.sqrt(((nearest - offsets) ** 2).sum(axis=0))
        return np.asarray(np.where(self.holds(points), distance, -distance))


@dataclass(frozen=True)
class Box:
    """A rectangle or box along the axes of the image.

    Attributes:
        low_mm: Its first corner, one value per axis.
        high_mm: Its last corner.

    Raises:
        ShapeError: the corners differ in their number of values.
        ValueRangeError: ``high_mm`` is not above ``low_mm`` along every axis.
    """

    low_mm: tuple[float, ...]
    high_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        _require_axes(self.low_mm, self.high_mm, "high_mm")
        if not all(high > low for low, high in zip(self.low_mm, self.high_mm, strict=True)):
            raise ValueRangeError(f"box from {self.low_mm} to {self.high_mm} mm: give the lower corner first")

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Return whether each point is inside."""
        return self.depth_mm(points) > 0.0

    def depth_mm(self, points: np.ndarray) -> np.ndarray:
        """Compute the exact signed distance to the surface."""
        low, high = _column(self.low_mm, points), _column(self.high_mm, points)
        beyond = np.maximum(low - points, points - high)
        outside = np.sqrt((np.maximum(beyond, 0.0) ** 2).sum(axis=0))
        return np.asarray(-np.minimum(beyond.max(axis=0), 0.0) - outside)


@dataclass(frozen=True)
class HalfSpace:
    """All points on one side of a line or plane.

    Attributes:
        normal: Direction that leads out of it, one value per axis, of any length but 0.
        point_mm: A point of its surface.

    Raises:
        ShapeError: the normal and the point differ in their number of values.
        ValueRangeError: the normal is 0.
    """

    normal: tuple[float, ...]
    point_mm: tuple[float, ...]

    def __post_init__(self) -> None:
        _require_axes(self.normal, self.point_mm, "point_mm")
        require_positive("length of the normal", math.hypot(*self.normal))

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Return whether each point is inside."""
        return self.depth_mm(points) > 0.0

    def depth_mm(self, points: np.ndarray) -> np.ndarray:
        """Compute the exact signed distance to the surface."""
        unit = _column(self.normal, points) / math.hypot(*self.normal)
        return np.asarray((unit * (_column(self.point_mm, points) - points)).sum(axis=0))


def _column(values: tuple[float, ...], points: np.ndarray) -> np.ndarray:
    if len(values) != len(points):
        raise ShapeError(f"the solid has {len(values)} axes, but the points have {len(points)}")
    return np.asarray(values, dtype=np.float64).reshape(-1, *(1,) * (points.ndim - 1))


def _require_axes(first: tuple[float, ...], second: tuple[float, ...], name: str) -> None:
    if len(first) != len(second) or len(first) not in (2, 3):
        raise ShapeError(f"{name} has {len(second)} values beside {len(first)}: give two or three of each")
