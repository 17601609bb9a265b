"""From arrays to padded rows, through the kernels, and back; bands, threads and the switch to the heap.

``PaddedRows`` holds what all seed sets share: the padded image and the plan. Its ``solve`` computes one
distance map in one thread or several; several sets are solved side by side, one thread each.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from sfumato.geodesic.engine import costs, planting, queue, sweeps
from sfumato.geodesic.engine.simd import LANES
from sfumato.types import Array

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

TILE_ROWS = 32  # Per axis, at most: 1024 rows of 256 voxels, image and distance, are 2 MiB.
BUDGET = 24  # Pulls per voxel before the heap takes over: a quarter of what the heap would cost.
_SLAB = 1 << 18  # Values that a thread fills at a time: they stay in its second-level cache.
_THIN = 64  # A thread for fewer planes of seeds costs more than it saves.


def default_threads() -> int:
    """Return one in a worker process, else one per processor that this process may use."""
    if multiprocessing.parent_process() is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_side_by_side(work: Callable[[int], None], count: int, threads: int) -> None:
    """Call ``work(0) .. work(count - 1)``, in at most ``threads`` threads that end with the call."""
    if threads <= 1 or count <= 1:
        for index in range(count):
            work(index)
        return
    with ThreadPoolExecutor(min(threads, count)) as pool:
        for result in [pool.submit(work, index) for index in range(count)]:
            result.result()


def _aligned(size: int, dtype: Any) -> Array:  # noqa: ANN401  # NumPy's type of a number
    """Return uninitialised numbers of which the first starts a cache line."""
    raw = np.empty(size + LANES, dtype)
    start = -(raw.ctypes.data // raw.itemsize) % LANES
    return raw[start : start + size]


class PaddedRows:
    """An image made ready for distance transforms: padded rows and the cost's plan.

    Args:
        image: ``(C, Z, Y, X)`` float32, finite.
        spacing: Millimetres per axis, three values.
        plan: ``costs.plan``; for float32 it must be safe.
        mask: ``(Z, Y, X)`` bool, or ``None``.
        rest: What is to be added to ``image`` for its full precision, in its shape, or ``None``.
        threads: At most so many threads fill and copy padded arrays.
        dtype: Type of the image and the distances in the kernels: ``np.float32`` or ``np.float64``.
    """

    def __init__(
        self,
        image: Array,
        spacing: Sequence[float],
        plan: costs.CostPlan,
        mask: Array | None = None,
        rest: Array | None = None,
        threads: int = 1,
        dtype: Any = np.float32,  # noqa: ANN401  # NumPy's type of a number
    ) -> None:
        self.plan, self.mask, self.threads, self.dtype = plan, mask, threads, dtype
        self.cost = costs.weights_in(plan.cost, dtype)
        self.order = _row_order(image.shape[1:])
        self.shape = tuple(image.shape[1 + axis] for axis in self.order)
        depth, height, width = self.shape
        self.blocks = width // LANES + 1
        self.pitch = self.blocks * LANES
        self.group = -(-self.blocks // 64)
        self.lengths = costs.lengths(plan, [spacing[axis] for axis in self.order], dtype)
        self.size = (depth * height + 1) * self.pitch + 2 * LANES
        channels = image if plan.uses_image else image[:1]
        parts = [tuple(self._padded(channel) for channel in channels)]
        if mask is not None:
            self.view(parts[0][0])[~mask] = np.nan
        if rest is not None and plan.uses_image:
            parts.append(tuple(self._padded(channel) for channel in rest))
        # A channel is one array, or two whose sum it is.
        self.images: tuple[Any, ...] = parts[0] if len(parts) == 1 else tuple(zip(*parts, strict=True))
        self.typical, self.texture = self._edges()

    def _ends(self, pad: float) -> Array:
        """Return a padded array, uninitialised but for ``pad`` before the first and after the last row."""
        rows = _aligned(self.size, self.dtype)
        rows[: sweeps.ROW0] = pad
        rows[sweeps.ROW0 + self.shape[0] * self.shape[1] * self.pitch :] = pad
        return rows

    def _padded(self, channel: Array) -> Array:
        rows, width = self._ends(np.nan), self.shape[2]
        voxels = channel.transpose(self.order)

        def fill(planes: slice) -> None:
            view = self.rows(rows)[planes]
            view[:, :, width:] = np.nan
            if not self.plan.uses_image:
                view[:, :, :width] = 0
            elif self.plan.power == 0:
                view[:, :, :width] = voxels[planes]
            else:
                np.ldexp(voxels[planes], np.int32(self.plan.power), out=view[:, :, :width])

        self.by_planes(fill)
        return rows

    def by_planes(self, work: Callable[[slice], None]) -> None:
        """Call ``work`` for slabs of planes that together are all, in its threads."""
        deep = max(1, _SLAB // (self.shape[1] * self.pitch))
        parts = -(-self.shape[0] // deep)
        run_side_by_side(lambda part: work(slice(part * deep, (part + 1) * deep)), parts, self.threads)

    def rows(self, padded: Array) -> Array:
        """Return the rows ``(depth, height, pitch)`` of a padded array, in the rows' order."""
        depth, height, _ = self.shape
        return padded[sweeps.ROW0 : sweeps.ROW0 + depth * height * self.pitch].reshape(
            depth, height, self.pitch
        )

    def view(self, padded: Array) -> Array:
        """Return the voxels of a padded array, with the axes in the image's order."""
        inner = self.rows(padded)[:, :, : self.shape[2]]
        return inner.transpose(tuple(np.argsort(self.order)))

    def _edges(self) -> tuple[float, float]:
        """Measure the mean cost of a move along the row, and of its image term, over a sample of rows."""
        stride = max(1, self.shape[0] * self.shape[1] // 256)
        step = 0.0
        for channel in self.images:
            image = channel[0] if isinstance(channel, tuple) else channel
            rows = self.rows(image).reshape(-1, self.pitch)[::stride, : self.shape[2]]
            change = np.abs(np.diff(rows, axis=1))
            change = change[np.isfinite(change)]
            step += float(change.mean(dtype=np.float64)) if change.size else 0.0
        length = float(self.lengths[0, 0, 1])
        cost = self.plan.cost
        if isinstance(cost, costs.Sum):
            return length + step, step / length if length else math.inf
        if isinstance(cost, costs.Norm):
            return math.sqrt(length + step * step), step / math.sqrt(length)
        if isinstance(cost, costs.Product):
            return length * (step + 1e-5), math.inf
        q = step + 1e-5
        typical = length * q / (float(cost.length_weight) * q + float(cost.step_weight))
        return typical, float(cost.step_weight) / max(float(cost.length_weight) * q, 1e-30)

    def empty(self, value: float = math.inf) -> Array:
        """Return a padded array that holds ``value`` at voxels and infinity in the pads."""
        rows, width = self._ends(math.inf), self.shape[2]

        def fill(planes: slice) -> None:
            view = self.rows(rows)[planes]
            view.fill(value)
            if math.isfinite(value):
                view[:, :, width:] = math.inf

        self.by_planes(fill)
        return rows

    def copy(self, padded: Array) -> Array:
        """Return the same values in other memory."""
        rows = _aligned(self.size, self.dtype)
        rows[:] = padded
        return rows

    def below_cutoff(self, cutoff: float) -> Array:
        """Start values from which only distances up to ``cutoff`` mm can be reached."""
        if not math.isfinite(cutoff):
            return self.empty()
        # Clearly above the cutoff, so that scaling cannot round it down to it.
        return self.empty(max(cutoff / self.plan.scale * (1 + 1e-6), 1e-30))

    def solve(self, distance: Array, starts: Array, price: Array | None = None, threads: int = 1) -> None:
        """Lower the padded ``distance`` to the distance from ``starts``, in place.

        Args:
            distance: From ``empty`` or ``below_cutoff``, or upper bounds that no edge can lower.
            starts: ``(Z, Y, X)`` bool.
            price: ``(Z, Y, X)`` in mm: what starting at a seed costs.
            threads: At most so many threads share the work; the result is the same bits.
        """
        box = ((0, self.shape[0]), (0, self.shape[1]), (0, self.shape[2]))
        prices = None
        if price is not None:
            prices = np.ascontiguousarray(price.transpose(self.order) / self.plan.scale, dtype=self.dtype)
        self.solve_flags(distance, [(self.flags(starts), box)], prices, threads)

    def flags(self, starts: Array) -> Array:
        """Return seeds ``(Z, Y, X)`` bool in the rows' order, as the kernels take them."""
        allowed = starts if self.mask is None else starts & self.mask
        return np.ascontiguousarray(allowed.transpose(self.order)).view(np.uint8)

    def words(self) -> Array:
        """Return words of bits per row of voxels, and for one row beyond, for ``solve_flags`` to note in."""
        return np.zeros((len(sweeps.WORDS), self.shape[0] * self.shape[1] + 1), np.uint64)

    def solve_flags(
        self,
        distance: Array,
        starts: Iterable[tuple[Array, Box]],
        prices: Array | None = None,
        threads: int = 1,
        todo: Array | None = None,
    ) -> None:
        """Solve as ``solve``, from several seed sets in the rows' order, each with a box around its seeds.

        ``todo``, from ``words`` and all 0, ends with the blocks that have changed as its only bits.
        """
        todo = self.words() if todo is None else todo
        common = (todo, self.shape, self.pitch, self.group)
        planted = 0
        for flags, box in starts:
            if prices is not None:
                planted += planting.plant(distance, flags, prices, *common, box)
            else:
                words = self._plant_free(distance, flags, box, threads)
                planted += planting.mark(words, todo, self.shape[1], box)
        if planted:
            run = _Run(self, distance, todo, threads)
            run.finish()
            for other in run.todo[1:]:
                todo[sweeps.CHANGED] |= other[sweeps.CHANGED]

    def _plant_free(self, distance: Array, flags: Array, box: Box, threads: int) -> Array:
        (first, last), *_ = box
        count = min(threads, last - first) if last - first >= _THIN else 1
        edges = [first + (last - first) * part // count for part in range(count + 1)]
        words, aside = planting.seed_words(self.shape, self.group, box)

        def work(part: int) -> None:
            planes = edges[part], edges[part + 1]
            planting.plant_free(
                distance, flags, words, aside, self.shape, self.pitch, self.group, box, planes
            )

        run_side_by_side(work, count, threads)
        return words


class _Run:
    """One transform under way: its bands, its slabs of planes, one per thread, and its budget."""

    def __init__(self, grid: PaddedRows, distance: Array, todo: Array, threads: int) -> None:
        self.grid, self.distance = grid, distance
        depth, height, _ = grid.shape
        slabs = min(threads, -(-2 * depth // TILE_ROWS))
        deep = _share(depth, slabs * -(-depth // (slabs * TILE_ROWS)))
        wide = _share(height, -(-height // (TILE_ROWS if depth > 1 else 8 * TILE_ROWS)))
        self.tile = deep, wide
        tiles = -(-depth // deep)
        self.slabs = min(slabs, tiles)
        edges = [round(tiles * slab / self.slabs) * deep for slab in range(self.slabs)] + [depth]
        self.planes = [(edges[slab], min(edges[slab + 1], depth)) for slab in range(self.slabs)]
        self.todo = [todo] + [np.zeros_like(todo) for _ in range(self.slabs - 1)]
        self.dirty = [np.zeros((tiles + 2, -(-height // wide) + 2), np.uint8) for _ in range(self.slabs)]
        for slab in range(1, self.slabs):
            first, last = (plane * height for plane in self.planes[slab])
            self.todo[slab][:, first:last] = todo[:, first:last]
            todo[:, first:last] = 0
        self.pulls = [0] * self.slabs
        self.budget = BUDGET * depth * height * grid.pitch // self.slabs

    def _common(self, slab: int) -> tuple[Any, ...]:
        grid = self.grid
        return (
            self.distance, grid.images, grid.cost, grid.lengths, self.todo[slab],
            grid.shape, grid.pitch, grid.group,
        )  # fmt: skip

    def finish(self) -> None:
        """Run band after band until no value waits, or hand over to the heap."""
        width = 4 * self.grid.typical if self.grid.texture > 2 else math.inf
        low, bands = -1.0, 0
        while True:
            high = self._after(max(low, 0.0) + width, low)
            woken, waiting = self._wake(low, high)
            low = high
            if woken == 0:
                if not math.isfinite(waiting):
                    return
                high = self._after(waiting + width, waiting)
                self._wake(low, high)
                low = high
            if not self._relax(low):
                self._hand_over(low)
                return
            if math.isinf(low):
                return
            bands += 1
            # Values that grow far beyond one band would need too many of them.
            width *= 1.0 if bands < 12 else 1.5

    def _wake(self, low: float, high: float) -> tuple[int, float]:
        results: list[tuple[int, float]] = [(0, math.inf)] * self.slabs
        limits = (self.grid.dtype(low), self.grid.dtype(high))

        def work(slab: int) -> None:
            results[slab] = sweeps.wake(
                *self._common(slab), limits, self.planes[slab], self.dirty[slab], self.tile
            )

        run_side_by_side(work, self.slabs, self.slabs)
        return sum(count for count, _ in results), min(lowest for _, lowest in results)

    def _relax(self, limit: float) -> bool:
        """Bring the band to rest; False if the budget ran out before."""

        def work(index: int) -> None:
            slab = busy[index]
            self.pulls[slab] += sweeps.relax(
                *self._common(slab), self.grid.dtype(limit), self.planes[slab], self.dirty[slab],
                self.tile, 0, self.budget - self.pulls[slab],
            )  # fmt: skip

        while True:
            self._exchange()
            if max(self.pulls) >= self.budget:
                return False
            busy = [slab for slab in range(self.slabs) if self._own(slab).any()]
            if not busy:
                return True
            run_side_by_side(work, len(busy), self.slabs)

    def _own(self, slab: int) -> Array:
        deep = self.tile[0]
        first, last = self.planes[slab]
        return self.dirty[slab][1 + first // deep : 1 + -(-last // deep), 1:-1]

    def _exchange(self) -> None:
        """Pass each slab the bits that its neighbours have set in its first and last plane."""
        height = self.grid.shape[1]
        for slab in range(self.slabs - 1):
            border = self.planes[slab][1]
            for giver, taker, plane in ((slab, slab + 1, border), (slab + 1, slab, border - 1)):
                rows = slice(plane * height, (plane + 1) * height)
                bits = self.todo[giver][:, rows]
                if bits.any():
                    self.todo[taker][:, rows] |= bits
                    bits[:] = 0
                    self.dirty[taker][1 + plane // self.tile[0], 1:-1] = 1

    def _hand_over(self, limit: float) -> None:
        self._exchange()
        for other in self.todo[1:]:
            self.todo[0] |= other
        queue.finish(*self._common(0), self.grid.dtype(limit))

    def _after(self, value: float, previous: float) -> float:
        """Return ``value`` as the rows hold it, or the next number after ``previous`` if that is larger."""
        number = self.grid.dtype
        return float(max(number(value), np.nextafter(number(previous), number(math.inf))))


def _share(size: int, parts: int) -> int:
    """Return the size of the largest of so many equal parts."""
    return -(-size // parts)


def _row_order(shape: Iterable[int]) -> tuple[int, ...]:
    """Choose the order of the axes that wastes least on pads: the last stays last unless it is short."""
    sizes = list(shape)
    waste = [(size // LANES + 1) * LANES / size for size in sizes]
    best = min(
        range(len(sizes)), key=lambda axis: (waste[axis] > 1.3, -axis if waste[axis] <= 1.3 else waste[axis])
    )
    return (*(axis for axis in range(len(sizes)) if axis != best), best)
