"""Smooth random functions of position, for surfaces that are no perfect ellipsoids and for raters' hands."""

from __future__ import annotations

import math

import numpy as np

from sfumato.checks import require_positive
from sfumato.errors import ValueRangeError


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
