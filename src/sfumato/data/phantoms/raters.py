"""Raters who outline the same solids differently, drawn from a model whose expectation is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtr

from sfumato.checks import require_positive
from sfumato.data.phantoms.scene import Scene, SmoothField, depths_mm, painted
from sfumato.errors import ValueRangeError
from sfumato.types import LabelsPerRater, Soft


@dataclass(frozen=True)
class RaterModel:
    """How raters differ. An idea of our own.

    Rater ``d`` marks the centre ``x`` of a voxel as part of a solid where ``depth(x) + b_d + f_d(x) > 0``.
    The bias ``b_d`` is normal with standard deviation ``bias_mm``: one rater draws everything larger,
    another everything smaller. The wobble ``f_d`` is a :class:`SmoothField` of standard deviation
    ``wobble_mm`` that changes over ``length_mm``: the hand's and the eye's uncertainty along the outline.
    Raters are independent of each other, and every solid of a scene moves with the same ``b_d + f_d``, so
    nested solids stay nested.

    The displacement of a point is normal with variance ``bias_mm^2 + wobble_mm^2``. The share of raters who
    mark it therefore tends to ``Phi(depth(x) / sqrt(bias_mm^2 + wobble_mm^2))``; see :func:`rater_shares`.

    Attributes:
        count: Number of raters ``D``.
        wobble_mm: Standard deviation of the displacement along the outline.
        length_mm: Distance over which it changes.
        bias_mm: Standard deviation of the raters' biases.

    Raises:
        ValueRangeError: ``count`` is below 1, a deviation is negative, or ``length_mm`` is not above 0.
    """

    count: int = 3
    wobble_mm: float = 0.7
    length_mm: float = 6.0
    bias_mm: float = 0.4

    def __post_init__(self) -> None:
        require_positive("length_mm", self.length_mm)
        if self.count < 1 or not min(self.wobble_mm, self.bias_mm) >= 0:
            raise ValueRangeError(
                f"{self.count} raters with wobble {self.wobble_mm} and bias {self.bias_mm} mm: "
                "give at least one rater and deviations of 0 or more"
            )

    @property
    def deviation_mm(self) -> float:
        """Standard deviation of the whole displacement of a point."""
        return math.hypot(self.wobble_mm, self.bias_mm)


def rater_labels(scene: Scene, model: RaterModel, *, seed: int) -> LabelsPerRater:
    """Draw the raters' masks.

    Args:
        scene: What they outline.
        model: How they differ.
        seed: The same seed gives the same raters, whatever the grid; more raters do not change the first.

    Returns:
        Class indices, ``(D, *S)``, int64. In a scene without solids every rater marks nothing.
    """
    centres = scene.centres()
    depths = depths_mm(scene, centres)
    drawn = np.empty((model.count, *scene.shape), dtype=np.int64)
    for rater in range(model.count):
        rng = np.random.default_rng([seed, rater])
        bias = model.bias_mm * rng.standard_normal()
        wobble = SmoothField(
            len(scene.shape), deviation=model.wobble_mm, length_mm=model.length_mm, rng=rng
        ).values(centres)
        drawn[rater] = painted(scene.classes, depths + (bias + wobble) > 0.0)
    return torch.from_numpy(drawn)


def rater_shares(scene: Scene, model: RaterModel) -> Soft:
    """Compute the share of raters who choose each class, in the limit of many raters.

    All solids move by one normal displacement, so that solid ``i`` is the last painted one to hold a point
    where the displacement is above ``-depth_i`` and at most ``-depth_j`` for every later ``j``.

    Returns:
        Class weights, ``(K, *S)``, float32, summing to 1. A class without a solid weighs 0 everywhere. With
        all deviations 0: one-hot labels of the voxel centres.
    """
    depths = depths_mm(scene, scene.centres())
    shares = np.zeros((scene.num_classes, *scene.shape), dtype=np.float64)
    uncovered = np.ones(scene.shape)
    # The chance that no solid painted later holds the point; it falls as solids are added from the last.
    for value, depth in zip(reversed(scene.classes), depths[::-1], strict=True):
        deviation = model.deviation_mm
        outside = ndtr(-depth / deviation) if deviation > 0 else (depth <= 0).astype(np.float64)
        rest = np.minimum(uncovered, outside)
        shares[value] += uncovered - rest
        uncovered = rest
    shares[0] += uncovered
    return torch.from_numpy(shares.astype(np.float32))
