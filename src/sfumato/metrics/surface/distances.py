"""Distances between the surfaces of masks: Hausdorff, average surface distance, surface Dice.

The surfaces and their distances are computed once, by :func:`surface_distances`; every number is a
reduction of them. Two conventions of what a surface is made of are in use, and they differ by voxels on
thin structures, so write the choice beside the number:

- ``"area"``: the 2x2x2 (in 2-D 2x2) blocks of voxels that hold voxels of both kinds, each weighing the
  area (length) of the surface inside it; percentiles are over the area. As DeepMind's surface-distance.
- ``"voxel"``: the mask's voxels with a face neighbour outside it, all of weight 1; percentiles are over
  the voxels, interpolated linearly. As MONAI and medpy.

In both, the world beyond the image counts as background.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from sfumato.checks import require_between, require_choice, require_same_shape, require_spacing
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.metrics.masks import leading_axes, mask
from sfumato.metrics.surface.elements import (
    Elements,
    Grid,
    area_elements,
    bounding_box,
    joint_grid,
    voxel_elements,
)
from sfumato.metrics.surface.nearest import Field, nearest_distances
from sfumato.types import ArrayLike, PerRegion

Status = Literal["ok", "empty_reference", "empty_prediction", "both_empty"]
Values = npt.NDArray[np.float64]

_TIE = 1e-12


@dataclass(frozen=True)
class DirectedDistances:
    """From every surface element of one mask to the other mask's surface, nearest first."""

    distances_mm: Values
    weights: Values  # mm2 per element (2-D: mm) for "area", 1 for "voxel"

    def percentile(self, percentile: float | int, *, weighting: str) -> float:
        """Return the distance that ``percentile`` percent of the surface does not exceed."""
        if weighting == "voxel":
            return float(np.percentile(self.distances_mm, percentile))
        if percentile == 100:
            return float(self.distances_mm[-1])
        share = np.cumsum(self.weights)
        low, high = np.searchsorted(share, percentile / 100 * share[-1] * np.array([1 - _TIE, 1 + _TIE]))
        if high > low:
            # The share is met exactly, so rounding decides: sum as surface-distance does, to agree with it.
            order = np.lexsort((self.weights, self.distances_mm))
            share = np.cumsum(self.weights[order]) / np.sum(self.weights)
            low = min(np.searchsorted(share, percentile / 100), len(share) - 1)
        return float(self.distances_mm[low])


def _sorted(distances: Values, weights: Values) -> DirectedDistances:
    order = np.argsort(distances)
    return DirectedDistances(distances[order], weights[order])


Pair = tuple[DirectedDistances, DirectedDistances]


def _larger_percentile(pair: Pair, *, percentile: float | int, weighting: str) -> float:
    return max(directed.percentile(percentile, weighting=weighting) for directed in pair)


def _pooled_percentile(pair: Pair, *, percentile: float | int, weighting: str) -> float:
    there, back = pair
    distances = np.concatenate([there.distances_mm, back.distances_mm])
    joined = _sorted(distances, np.concatenate([there.weights, back.weights]))
    return joined.percentile(percentile, weighting=weighting)


def _share_within(pair: Pair, *, tolerance_mm: float | int) -> float:
    within = sum(float(d.weights[d.distances_mm <= tolerance_mm].sum()) for d in pair)
    return within / sum(float(d.weights.sum()) for d in pair)


def _joint_mean(pair: Pair) -> float:
    total = sum(float(d.distances_mm @ d.weights) for d in pair)
    return total / sum(float(d.weights.sum()) for d in pair)


def _mean_of_means(pair: Pair) -> float:
    return 0.5 * sum(float(d.distances_mm @ d.weights / d.weights.sum()) for d in pair)


@dataclass(frozen=True)
class RegionSurfaces:
    """The surfaces of one region's prediction and reference; ``grid`` is None unless both are there."""

    status: Status
    grid: Grid | None

    @cached_property
    def area(self) -> Pair:
        """Distances of the area elements: from prediction to reference, and back."""
        return self._distances(area_elements)

    @cached_property
    def voxel(self) -> Pair:
        """Distances of the surface voxels: from prediction to reference, and back."""
        return self._distances(voxel_elements)

    def _distances(self, elements: Callable[[Grid], Elements]) -> Pair:
        if self.grid is None:
            nothing = DirectedDistances(np.zeros(0), np.zeros(0))
            return nothing, nothing
        positions, weights = elements(self.grid)
        distances = nearest_distances(positions, Field(self.grid.shape, self.grid.span, self.grid.spacing))
        ref = positions // (self.grid.shape[1] * self.grid.shape[2]) % 2 == 1  # the odd planes
        return _sorted(distances[~ref], weights[~ref]), _sorted(distances[ref], weights[ref])


@dataclass(frozen=True)
class SurfaceDistances:
    """Every region's surfaces and distances; each method is a cheap reduction of them.

    Distances are computed on the first use of a weighting and kept. Each method gives one float64 value
    per region, of the shape of the masks' leading axes, ``(R)`` or ``(B, R)``, on the masks' device.

    Empty masks: both empty gives distance 0 and surface Dice 1. One empty: the distances are undefined,
    nan, and the surface Dice is 0; ``missing="diagonal"`` puts the image's diagonal (sizes times spacing)
    in place of the nan. ``statuses`` says which case it was.
    """

    regions: tuple[RegionSurfaces, ...]  # row by row of ``shape``
    shape: tuple[int, ...]
    diagonal_mm: float
    device: torch.device

    @property
    def statuses(self) -> tuple[Status, ...]:
        """Per region, row by row: ``ok``, ``empty_reference``, ``empty_prediction`` or ``both_empty``."""
        return tuple(region.status for region in self.regions)

    def hausdorff(
        self,
        percentile: float | int = 95,
        *,
        weighting: str = "area",
        direction: str = "max",
        missing: str = "nan",
    ) -> PerRegion:
        """Compute the Hausdorff distance in mm, or the percentile that makes it robust.

        Args:
            percentile: Share of the surface, in percent; 100 is the Hausdorff distance itself.
            weighting: What the surface is made of; see the module.
            direction: ``"max"``: the larger of the percentiles from prediction to reference and back.
                ``"pooled"``: the percentile of both directions' distances together, as in medpy.
            missing: What to return where one mask is empty: ``"nan"`` or the image's ``"diagonal"``.

        Raises:
            ValueRangeError: The percentile is not in [0, 100].
            UnknownNameError: A choice is not among those listed.
        """
        require_between("percentile", percentile, 0, 100)
        require_choice("direction", direction, ("max", "pooled"))
        percentile_of = _pooled_percentile if direction == "pooled" else _larger_percentile
        reduce = partial(percentile_of, percentile=percentile, weighting=weighting)
        return self._reduce(reduce, weighting, both_empty=0.0, one_empty=self._missing(missing))

    def surface_dice(self, tolerance_mm: float | int, *, weighting: str = "area") -> PerRegion:
        """Compute the share of both surfaces within ``tolerance_mm`` of the other surface, in [0, 1].

        A distance equal to the tolerance counts as within.

        Raises:
            ValueRangeError: The tolerance is negative or not finite.
            UnknownNameError: The weighting is not among those listed.

        References:
            Nikolov et al. (2018), Deep learning to achieve clinically applicable segmentation of head
            and neck anatomy for radiotherapy, arXiv:1809.04430
        """
        require_between("tolerance_mm", tolerance_mm, 0, float(np.finfo(np.float64).max))
        reduce = partial(_share_within, tolerance_mm=tolerance_mm)
        return self._reduce(reduce, weighting, both_empty=1.0, one_empty=0.0)

    def assd(self, *, weighting: str = "area", missing: str = "nan") -> PerRegion:
        """Compute the average symmetric surface distance in mm: the mean over the elements of both surfaces.

        ``weighting``, ``missing`` and the errors are those of :meth:`hausdorff`.
        """
        return self._reduce(_joint_mean, weighting, both_empty=0.0, one_empty=self._missing(missing))

    def masd(self, *, weighting: str = "area", missing: str = "nan") -> PerRegion:
        """Compute the mean average surface distance in mm: the two directions' means, averaged.

        Unlike :meth:`assd`, the smaller surface weighs as much as the larger one.
        ``weighting``, ``missing`` and the errors are those of :meth:`hausdorff`.
        """
        return self._reduce(_mean_of_means, weighting, both_empty=0.0, one_empty=self._missing(missing))

    def _missing(self, missing: str) -> float:
        require_choice("missing", missing, ("nan", "diagonal"))
        return self.diagonal_mm if missing == "diagonal" else math.nan

    def _reduce(
        self, reduce: Callable[[Pair], float], weighting: str, *, both_empty: float, one_empty: float
    ) -> PerRegion:
        require_choice("weighting", weighting, ("area", "voxel"))
        values = []
        for region in self.regions:
            if region.grid is None:
                values.append(both_empty if region.status == "both_empty" else one_empty)
            else:
                values.append(reduce(region.area if weighting == "area" else region.voxel))
        return torch.tensor(values, dtype=torch.float64, device=self.device).reshape(self.shape)


def surface_distances(pred: ArrayLike, ref: ArrayLike, *, spacing: Sequence[float | int]) -> SurfaceDistances:
    """Find the surfaces of predicted and reference masks, to measure how far apart they are.

    Args:
        pred: Predicted masks, ``(R, *S)`` or ``(B, R, *S)``, boolean (or integers 0 and 1), 2-D or 3-D.
        ref: Reference masks, of the same shape.
        spacing: Millimetres between voxel centres, one value per spatial axis; it also says how many
            axes are spatial.

    Returns:
        All regions in one object. Distances are exact, computed on the CPU in float64. Any mask may be
        empty, full, of one voxel or touch the border; empty ones are told by ``statuses``.

    Raises:
        ShapeError: The shapes differ, leave no region axis, or do not fit the spacing.
        DTypeError: A mask holds fractions.
        ValueRangeError: An integer mask holds other values than 0 and 1, or the spacing is not positive.

    Example:
        >>> pred = torch.zeros(1, 8, 8, dtype=torch.bool)
        >>> ref = pred.clone()
        >>> pred[0, 2, 2] = ref[0, 2, 5] = True
        >>> surfaces = surface_distances(pred, ref, spacing=(1.0, 2.0))
        >>> surfaces.hausdorff(100), surfaces.surface_dice(2.0), surfaces.statuses
        (tensor([6.], dtype=torch.float64), tensor([0.], dtype=torch.float64), ('ok',))

    References:
        Huttenlocher, Klanderman and Rucklidge (1993), Comparing images using the Hausdorff distance,
        10.1109/34.232073
    """
    pred_masks, ref_masks = mask("pred", pred), mask("ref", ref)
    require_same_shape("pred", pred_masks.shape, "ref", ref_masks.shape)
    if len(spacing) not in (2, 3):
        raise ShapeError(f"spacing has {len(spacing)} values: surfaces need two or three spatial axes")
    lead = leading_axes(pred_masks, len(spacing))
    size = pred_masks.shape[lead:]
    require_spacing(spacing, size, name="pred")
    if 0 in size:
        raise ValueRangeError(f"pred has shape {tuple(pred_masks.shape)}: every spatial axis needs a voxel")
    steps = tuple(float(value) for value in spacing)
    shape = tuple(pred_masks.shape[:lead])
    regions = tuple(
        _region(pred_masks[index].cpu().numpy(), ref_masks[index].cpu().numpy(), steps)
        for index in np.ndindex(shape)
    )
    diagonal = math.hypot(*(side * step for side, step in zip(size, steps, strict=True)))
    return SurfaceDistances(regions, shape, diagonal, pred_masks.device)


def hausdorff(
    pred: ArrayLike,
    ref: ArrayLike,
    *,
    spacing: Sequence[float | int],
    percentile: float | int = 95,
    weighting: str = "area",
    direction: str = "max",
    missing: str = "nan",
) -> PerRegion:
    """Compute the Hausdorff distance in mm per region, by default its 95th percentile (HD95).

    Arguments and errors are those of :func:`surface_distances` and :meth:`SurfaceDistances.hausdorff`.
    Both masks empty: 0. One empty: nan, or with ``missing="diagonal"`` the image's diagonal.

    Returns:
        One value per region, ``(R)`` or ``(B, R)``, float64.
    """
    return surface_distances(pred, ref, spacing=spacing).hausdorff(
        percentile, weighting=weighting, direction=direction, missing=missing
    )


def surface_dice(
    pred: ArrayLike,
    ref: ArrayLike,
    *,
    spacing: Sequence[float | int],
    tolerance_mm: float | int,
    weighting: str = "area",
) -> PerRegion:
    """Compute the share of both surfaces within ``tolerance_mm`` of the other one, per region, in [0, 1].

    Arguments and errors are those of :func:`surface_distances` and :meth:`SurfaceDistances.surface_dice`.
    Both masks empty: 1. One empty: 0.

    Returns:
        One value per region, ``(R)`` or ``(B, R)``, float64.
    """
    return surface_distances(pred, ref, spacing=spacing).surface_dice(tolerance_mm, weighting=weighting)


def _region(
    pred: npt.NDArray[np.bool_], ref: npt.NDArray[np.bool_], spacing: tuple[float, ...]
) -> RegionSurfaces:
    pred_box, ref_box = bounding_box(pred), bounding_box(ref)
    if pred_box is None or ref_box is None:
        if pred_box is not None:
            return RegionSurfaces("empty_reference", None)
        return RegionSurfaces("empty_prediction" if ref_box is not None else "both_empty", None)
    return RegionSurfaces("ok", joint_grid(pred, ref, (pred_box, ref_box), spacing))
