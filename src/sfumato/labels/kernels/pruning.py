"""Many seed sets at once: each is solved only where it can matter."""

from __future__ import annotations

import math

import numpy as np

from sfumato.geodesic.engine import blocks, drift, planting
from sfumato.geodesic.engine.blocks import Blocks
from sfumato.geodesic.engine.simd import LANES
from sfumato.geodesic.engine.solve import Box, run_side_by_side
from sfumato.geodesic.task import Task, solve_sets
from sfumato.types import Array

# Bounds fall towards the far end by this fraction of the distance, so that rounding does not make a cheapest
# path seem to undercut them.
_SLOPE = 1e-3
_ROUNDING = 1e-5  # How far, as a share of the largest distance, bounds stay above what is kept.
_NOWHERE: Box = ((0, 0), (0, 0), (0, 0))


def solve_near(task: Task, result: Array, margin: float, threads: int) -> Blocks:
    """Write the distance ``D_c`` from each seed set where it comes within ``margin`` of the nearest set's.

    Let ``Dmin`` be the smallest ``D_c``, which is the distance from the union. Along a cheapest path from set
    ``c`` to ``v``, ``D_c - Dmin`` never decreases, so the path stays where ``D_c <= Dmin + margin`` if its
    end does: cutting there changes nothing that is kept. One transform over the whole image gives ``Dmin``; a
    set then costs its neighbourhood. If one set has most seeds (the background), that transform begins with
    its distances. The idea is our own.

    Args:
        task: What is to be computed; its plan must be safe.
        result: ``(K, Z, Y, X)`` float32. Where ``D_c <= Dmin + margin`` it gets ``D_c``, to the bit what
            ``geodesic_distance`` gives (but for paths so long that it sums them in float64); beyond, a number
            that is beyond the margin too, or it stays as it is.
        margin: How far above the nearest set's distance is kept.
        threads: At most so many threads.

    Returns:
        Where it was written: nowhere for an empty set.
    """
    near = _Neighbourhoods(task, result, threads)
    near.solve_union()
    if drift.is_long(near.grid, near.union):
        solve_sets(task, result, np.inf, threads)
        return Blocks.every(len(result), result.shape[1:])
    near.bound(margin)
    run_side_by_side(near.solve, len(result), threads)
    return near.reached


class _Neighbourhoods:
    """One transform from all seeds, then one per set, each in its neighbourhood. Boxes follow the rows."""

    def __init__(self, task: Task, result: Array, threads: int) -> None:
        self.grid = grid = task.rows(threads)
        self.scale, self.threads = np.float32(task.plan.scale), threads
        self.targets = [target.transpose(grid.order) for target in result]
        self.starts = [grid.flags(starts) for starts in task.starts]
        self.boxes = [_NOWHERE] * len(result)
        count = grid.shape[0] * grid.shape[1]
        self.reached = Blocks(grid.order, LANES * grid.group, np.zeros((count, len(result)), np.uint64))
        self.spare: list[tuple[Array, Array]] = []  # Bounds to lower, and words of bits.
        counts = np.zeros(len(result), np.int64)

        def look(k: int) -> None:
            self.boxes[k], counts[k] = planting.seed_box(self.starts[k])

        run_side_by_side(look, len(result), threads)
        # The set that the others are bounded by, if one alone bounds them nearly everywhere.
        self.first = int(counts.argmax()) if 2 * counts.max() > counts.sum() else None

    def solve_union(self) -> None:
        """Solve once over the whole image; on the way, for the first set alone."""
        sets = list(zip(self.starts, self.boxes, strict=True))
        self.union = self.grid.empty()
        if self.first is not None:
            self.grid.solve_flags(self.union, [sets.pop(self.first)], threads=self.threads)
            self._write_whole(self.first)
        self.grid.solve_flags(self.union, sets, threads=self.threads)

        self.farthest = self._highest()

    def _highest(self) -> float:
        """Return the largest finite ``Dmin``, as the rows hold it."""
        highest = list[float]()

        def measure(planes: slice) -> None:
            values = self.grid.rows(self.union)[planes, :, : self.grid.shape[2]]
            top = float(values.max())
            if math.isinf(top):
                top = float(np.max(values, initial=0.0, where=np.isfinite(values)))
            highest.append(top)

        self.grid.by_planes(measure)
        return max(highest)

    def bound(self, margin: float) -> None:
        """Turn ``Dmin`` into upper bounds of what is wanted."""
        above = margin * (1 + _SLOPE) / float(self.scale) + (_SLOPE + _ROUNDING) * self.farthest

        def lift(planes: slice) -> None:
            values = self.grid.rows(self.union)[planes]
            values *= np.float32(1 - _SLOPE)
            values += np.float32(above)

        self.grid.by_planes(lift)

    def solve(self, k: int) -> None:
        """Solve set ``k`` below the bounds, unless it is empty or has been solved in full."""
        if k == self.first or self.boxes[k] == _NOWHERE:
            return
        grid = self.grid
        distance, todo = self.spare.pop() if self.spare else (grid.copy(self.union), grid.words())
        grid.solve_flags(distance, [(self.starts[k], self.boxes[k])], todo=todo)
        blocks.take_changed(
            distance,
            self.union,
            todo,
            self.targets[k],
            self.reached.words,
            k,
            grid.pitch,
            grid.group,
            self.scale,
        )
        self.spare.append((distance, todo))

    def _write_whole(self, k: int) -> None:
        values, target = self.grid.rows(self.union)[:, :, : self.grid.shape[2]], self.targets[k]
        self.reached.words[:, k] = blocks.full_word(self.grid.shape[2], self.reached.size)
        self.grid.by_planes(lambda planes: np.multiply(values[planes], self.scale, out=target[planes]))
