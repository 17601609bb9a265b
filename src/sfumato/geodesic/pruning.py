"""Many seed sets at once: each is solved only where it can matter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import require_positive
from sfumato.errors import ShapeError
from sfumato.geodesic import planting
from sfumato.geodesic.distance import threads_for
from sfumato.geodesic.engine import Box, run_side_by_side
from sfumato.geodesic.task import Task, prepare, solve_sets
from sfumato.types import ArrayLike

Array = np.ndarray[Any, np.dtype[Any]]

# Bounds fall towards the far end by this fraction of the distance, so that rounding does not make a cheapest
# path seem to undercut them.
SLOPE = 1e-3
_GROWTH = 4  # Voxels by which a box grows at a time.
ROUNDING = 1e-5  # How far, as a share of the largest distance, bounds stay above what is kept.


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
    transform over the whole image gives ``Dmin``; a set then costs its neighbourhood. The idea is our own.

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
        gives; infinite elsewhere and for an empty set.

    Raises:
        ShapeError: ``seeds`` is not ``(K, *S)``.
        InputError: As in ``geodesic_distance``.
    """
    require_positive("margin", margin)
    task = prepare(image, seeds, spacing=spacing, cost=cost, weight=weight, mask=mask)
    if len(task.shape) != len(spacing) + 1:
        raise ShapeError(f"seeds has shape {task.shape}: give (K, *S), one set per class")
    result = np.empty(task.starts.shape, np.float32)
    workers = threads_for(threads)
    if task.plan.is_safe and len(result) > 1 and result.size:
        _solve_near(task, result, margin, workers)
    elif result.size:
        solve_sets(task, result, np.inf, workers)
        result[result > result.min(axis=0) + np.float32(margin)] = np.inf
    device = image.device if isinstance(image, Tensor) else torch.device("cpu")
    return torch.from_numpy(result.reshape(task.shape)).to(device)


def _solve_near(task: Task, result: Array, margin: float, threads: int) -> None:
    near = Neighbourhoods(task, margin, threads)
    field, scale = near.field, np.float32(task.plan.scale)
    result.fill(np.inf)

    def keep(k: int, distance: Array, box: Box) -> None:
        inside = tuple(slice(*side) for side in box)
        rows, union = field.rows(distance)[inside], field.rows(near.union)[inside]
        # Plane by plane, so that the intermediates stay in the cache.
        for plane, low, out in zip(rows, union, result[k].transpose(field.order)[inside], strict=True):
            np.multiply(plane, scale, out=out)
            out[~(out <= low * scale + np.float32(margin))] = np.inf

    near.visit(keep)


class Neighbourhoods:
    """One transform from all seeds, ``union``; then one per set, each in its neighbourhood.

    Args:
        task: What is to be computed; its plan must be safe.
        margin: As in ``pruned_distances``.
        threads: At most so many threads.
    """

    def __init__(self, task: Task, margin: float, threads: int) -> None:
        self.field = field = task.field()
        self.threads = threads
        self.starts = [field.flags(starts) for starts in task.starts]
        self.boxes: list[Box] = [((0, 0), (0, 0), (0, 0))] * len(self.starts)
        run_side_by_side(self._find, len(self.starts), threads)
        self.union = field.empty()
        field.solve_flags(self.union, zip(self.starts, self.boxes, strict=True), threads=threads)
        far = field.rows(self.union)[:, :, : field.shape[2]]
        top = float(far.max())
        if not math.isfinite(top):
            top = float(np.max(far, initial=0.0, where=np.isfinite(far)))
        largest = top * task.plan.scale
        self.bound = field.empty()
        np.multiply(self.union, np.float32(1 - SLOPE), out=self.bound)
        self.bound += np.float32((margin * (1 + SLOPE) + (SLOPE + ROUNDING) * largest) / task.plan.scale)

    def _find(self, k: int) -> None:
        self.boxes[k] = planting.seed_box(self.starts[k])

    def visit(self, use: Callable[[int, Array, Box], None]) -> None:
        """Call ``use(k, distance, box)`` for every set that has seeds.

        ``distance`` is padded, in mm over the plan's scale, and valid in ``box`` (in the rows' order);
        voxels outside the box are beyond the margin.
        """
        field, spare = self.field, list[Array]()

        def work(k: int) -> None:
            if not self.boxes[k][0][1]:
                return
            distance = spare.pop() if spare else field.copy(self.bound)
            field.solve_flags(distance, [(self.starts[k], self.boxes[k])])
            box = self._reached(distance, self.boxes[k])
            use(k, distance, box)
            inside = tuple(slice(*side) for side in box)
            field.rows(distance)[inside] = field.rows(self.bound)[inside]
            spare.append(distance)

        run_side_by_side(work, len(self.starts), self.threads)

    def _reached(self, distance: Array, box: Box) -> Box:
        """Grow ``box`` until the layer of voxels around it is untouched.

        What a set lowers hangs together with its seeds, so nothing beyond such a layer is lowered either.
        """
        rows, bound, sides = self.field.rows(distance), self.field.rows(self.bound), self.field.shape
        low, high = [side[0] for side in box], [side[1] for side in box]
        grown = True
        while grown:
            grown = False
            for axis in range(3):
                for edge, step in ((low, -_GROWTH), (high, _GROWTH)):
                    around = [
                        slice(max(a - 1, 0), min(b + 1, side))
                        for a, b, side in zip(low, high, sides, strict=True)
                    ]
                    layer = edge[axis] - 1 if step < 0 else edge[axis]
                    if not 0 <= layer < sides[axis]:
                        continue
                    around[axis] = slice(layer, layer + 1)
                    inside = tuple(around)
                    if np.any(rows[inside] != bound[inside]):
                        edge[axis] = min(max(edge[axis] + step, 0), sides[axis])
                        grown = True
        return (low[0], high[0]), (low[1], high[1]), (low[2], high[2])
