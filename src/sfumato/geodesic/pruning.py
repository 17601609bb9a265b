"""Many seed sets at once: each is solved only where it can matter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import require_positive
from sfumato.errors import ShapeError
from sfumato.geodesic.distance import threads_for
from sfumato.geodesic.engine import blocks, drift, planting
from sfumato.geodesic.engine.blocks import Blocks
from sfumato.geodesic.engine.simd import LANES
from sfumato.geodesic.engine.solve import Box, run_side_by_side
from sfumato.geodesic.task import Task, prepare, solve_sets
from sfumato.types import ArrayLike

Array = np.ndarray[Any, np.dtype[Any]]

# Bounds fall towards the far end by this fraction of the distance, so that rounding does not make a cheapest
# path seem to undercut them.
_SLOPE = 1e-3
_ROUNDING = 1e-5  # How far, as a share of the largest distance, bounds stay above what is kept.
_NOWHERE: Box = ((0, 0), (0, 0), (0, 0))


def pruned_distances(
    image: ArrayLike,
    seeds: ArrayLike,
    *,
    spacing: Sequence[float],
    cost: str = "l2",
    weight: float = 1.0,
    margin: float = 16.0,
    mask: ArrayLike | None = None,
    threads: int | None = None,
) -> Tensor:
    """Distances from each of ``K`` seed sets, where they come within ``margin`` of the nearest set's.

    Let ``D_c`` be the distance from set ``c`` and ``Dmin`` the smallest of them, which is the distance from
    the union. Along a cheapest path from set ``c`` to ``v``, ``D_c - Dmin`` never decreases, so the path
    stays where ``D_c <= Dmin + margin`` if its end does: cutting there changes nothing that is kept. One
    transform over the whole image gives ``Dmin``; a set then costs its neighbourhood. If one set has most
    seeds (the background), that transform begins with its distances. The idea is our own.

    Args:
        image: ``(*S)`` or ``(C, *S)``.
        seeds: Boolean ``(K, *S)``; a set may be empty.
        spacing: Millimetres per spatial axis.
        cost: As in ``geodesic_distance``.
        weight: As in ``geodesic_distance``.
        margin: How far above the nearest set's distance is kept; ``exp(-16)`` is below float32's resolution.
        mask: As in ``geodesic_distance``.
        threads: As in ``geodesic_distance``.

    Returns:
        Float32 ``(K, *S)``: ``D_c`` where ``D_c <= Dmin + margin``, to the bit what ``geodesic_distance``
        gives (but for paths so long that it sums them in float64); infinite elsewhere and for an empty set.

    Raises:
        ShapeError: ``seeds`` is not ``(K, *S)``.
        InputError: As in ``geodesic_distance``.
    """
    require_positive("margin", margin)
    task = prepare(image, seeds, spacing=spacing, cost=cost, weight=weight, mask=mask)
    if len(task.shape) != len(spacing) + 1:
        raise ShapeError(f"seeds has shape {task.shape}: give (K, *S), one set per class")
    result = np.full(task.starts.shape, np.inf, np.float32)
    workers = threads_for(threads)
    if task.plan.is_safe and len(result) > 1 and result.size:
        solve_near(task, result, margin, workers)
    elif result.size:
        solve_sets(task, result, np.inf, workers)

    def cut(plane: int) -> None:
        sets = result[:, plane]
        sets[~(sets <= sets.min(axis=0) + np.float32(margin))] = np.inf

    run_side_by_side(cut, len(result[0]) if len(result) else 0, workers)
    device = image.device if isinstance(image, Tensor) else torch.device("cpu")
    return torch.from_numpy(result.reshape(task.shape)).to(device)


def solve_near(task: Task, result: Array, margin: float, threads: int) -> Blocks:
    """Write ``D_c`` into ``result`` ``(K, Z, Y, X)``, exact where it is at most ``Dmin + margin``.

    Args:
        task: What is to be computed; its plan must be safe.
        result: Float32. Beyond the margin it gets a number that is beyond it too, or stays as it is.
        margin: As in ``pruned_distances``.
        threads: At most so many threads.

    Returns:
        Where it was written. None for an empty set.
    """
    near = _Neighbourhoods(task, result, threads)
    near.solve_union()
    if drift.is_long(near.field, near.union):
        solve_sets(task, result, np.inf, threads)
        return Blocks.every(len(result), result.shape[1:])
    near.bound(margin)
    run_side_by_side(near.solve, len(result), threads)
    return near.reached


class _Neighbourhoods:
    """One transform from all seeds, then one per set, each in its neighbourhood. Boxes follow the rows."""

    def __init__(self, task: Task, result: Array, threads: int) -> None:
        self.field = field = task.field(threads)
        self.scale, self.threads = np.float32(task.plan.scale), threads
        self.targets = [each.transpose(field.order) for each in result]
        self.starts = [field.flags(starts) for starts in task.starts]
        self.boxes = [_NOWHERE] * len(result)
        rows = field.shape[0] * field.shape[1]
        self.reached = Blocks(field.order, LANES * field.group, np.zeros((rows, len(result)), np.uint64))
        self.spare: list[tuple[Array, Array]] = []  # Bounds to lower, and words of bits.
        counts = np.zeros(len(result), np.int64)

        def look(k: int) -> None:
            self.boxes[k], counts[k] = planting.seed_box(self.starts[k])

        run_side_by_side(look, len(result), threads)
        # The set that the others are bounded by, if one alone bounds them nearly everywhere.
        self.first = int(counts.argmax()) if 2 * counts.max() > counts.sum() else None

    def solve_union(self) -> None:
        """One transform over the whole image; on the way, the first set's."""
        sets = list(zip(self.starts, self.boxes, strict=True))
        self.union = self.field.empty()
        if self.first is not None:
            self.field.solve_flags(self.union, [sets.pop(self.first)], threads=self.threads)
            self._write_whole(self.first)
        self.field.solve_flags(self.union, sets, threads=self.threads)

        self.farthest = self._highest()

    def _highest(self) -> float:
        """The largest finite ``Dmin``, as the rows hold it."""
        highest = list[float]()

        def measure(planes: slice) -> None:
            values = self.field.rows(self.union)[planes, :, : self.field.shape[2]]
            top = float(values.max())
            if math.isinf(top):
                top = float(np.max(values, initial=0.0, where=np.isfinite(values)))
            highest.append(top)

        self.field.by_planes(measure)
        return max(highest)

    def bound(self, margin: float) -> None:
        """Turn ``Dmin`` into upper bounds of what is wanted."""
        above = margin * (1 + _SLOPE) / float(self.scale) + (_SLOPE + _ROUNDING) * self.farthest

        def lift(planes: slice) -> None:
            rows = self.field.rows(self.union)[planes]
            rows *= np.float32(1 - _SLOPE)
            rows += np.float32(above)

        self.field.by_planes(lift)

    def solve(self, k: int) -> None:
        """Solve set ``k`` below the bounds, unless it is empty or has been solved in full."""
        if k == self.first or self.boxes[k] == _NOWHERE:
            return
        field = self.field
        distance, todo = self.spare.pop() if self.spare else (field.copy(self.union), field.words())
        field.solve_flags(distance, [(self.starts[k], self.boxes[k])], todo=todo)
        blocks.take_changed(
            distance,
            self.union,
            todo,
            self.targets[k],
            self.reached.words,
            k,
            field.pitch,
            field.group,
            self.scale,
        )
        self.spare.append((distance, todo))

    def _write_whole(self, k: int) -> None:
        rows, target = self.field.rows(self.union)[:, :, : self.field.shape[2]], self.targets[k]
        self.reached.words[:, k] = blocks.full_word(self.field.shape[2], self.reached.size)
        self.field.by_planes(lambda planes: np.multiply(rows[planes], self.scale, out=target[planes]))
