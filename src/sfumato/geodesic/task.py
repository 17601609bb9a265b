"""What is to be computed, checked and brought to one form: three axes, float32, C-ordered sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sfumato.checks import (
    as_tensor,
    extremes,
    require_between,
    require_choice,
    require_finite,
    require_same_shape,
    require_spacing,
)
from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.geodesic.engine import costs, drift
from sfumato.geodesic.engine.solve import PaddedRows, run_side_by_side
from sfumato.types import Array, ArrayLike


@dataclass(frozen=True)
class PathCost:
    """The cost of a path, by its name and weight.

    Raises:
        UnknownNameError, ValueRangeError: the name is unknown, or the weight does not suit it.
    """

    name: str
    weight: float

    def __post_init__(self) -> None:
        require_choice("cost", self.name, costs.COSTS)
        if self.name != "l2":
            require_between(f"weight (lambda of the {self.name} cost)", self.weight, 0.0, 1.0)
        elif not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueRangeError(
                f"weight (gamma of the l2 cost) is {self.weight}: it must be finite and at least 0"
            )

    def plan(self, spacing: Sequence[float], span: float, channels: int) -> costs.CostPlan:
        """Return the cost as the kernels take it; see ``costs.plan``."""
        return costs.plan(self.name, float(self.weight), spacing, span, channels)


@dataclass(frozen=True)
class Sources:
    """Where paths may start, what that costs, and where they may go; as in ``geodesic_distance``."""

    seeds: ArrayLike | None
    seed_cost: ArrayLike | None = None
    mask: ArrayLike | None = None

    def __post_init__(self) -> None:
        if self.seeds is None and self.seed_cost is None:
            raise ValueRangeError("seeds is None and there is no seed_cost: give one of them")

    def item(self, index: int) -> Sources:
        """Return the sources of one item of a batch."""
        return Sources(
            **{name: array if array is None else array[index] for name, array in vars(self).items()}
        )


@dataclass(frozen=True)
class Task:
    """One call of ``geodesic_distance``, checked."""

    image: Array  # (C, Z, Y, X) float32
    rest: Array | None  # what float32 leaves of each value, (C, Z, Y, X) float32
    starts: Array  # (K, Z, Y, X) bool
    price: Array | None  # (K or 1, Z, Y, X) float64
    mask: Array | None  # (Z, Y, X) bool
    spacing: tuple[float, ...]  # three values
    plan: costs.CostPlan
    shape: tuple[int, ...]  # of the result

    def rows(self, threads: int = 1) -> PaddedRows:
        """Return the image made ready for the kernels, in at most so many threads; the plan must be safe."""
        return PaddedRows(self.image, self.spacing, self.plan, self.mask, self.rest, threads)

    def wide_rows(self) -> PaddedRows:
        """Return the same in float64: about half as fast, for numbers beyond float32 and for long paths."""
        image = self.image.astype(np.float64)
        if self.rest is not None:
            image += self.rest
        return PaddedRows(image, self.spacing, self.plan, self.mask, dtype=np.float64)

    def reads(self, array: Array) -> bool:
        """Tell whether the computation may read ``array``'s memory, so that results must not go there."""
        inputs = (self.image, self.starts, self.price, self.mask)
        return any(used is not None and np.may_share_memory(array, used) for used in inputs)


def prepare(image: ArrayLike, sources: Sources, spacing: Sequence[float], cost: PathCost) -> Task:
    """Check the arguments of ``geodesic_distance``, which documents them, before any work."""
    axes = len(spacing)
    pixels = as_tensor(_signed(image)).detach().cpu()
    if axes not in (2, 3) or pixels.ndim not in (axes, axes + 1):
        raise ShapeError(
            f"spacing has {axes} values, but image has {pixels.ndim} axes {tuple(pixels.shape)}: "
            "give an image (*S) or (C, *S), and the mm between voxels for each of its 2 or 3 spatial axes"
        )
    if pixels.ndim > axes and not len(pixels):
        raise ShapeError(f"image has shape {tuple(pixels.shape)}: give at least one channel")
    spatial = tuple(pixels.shape[pixels.ndim - axes :])
    require_spacing(spacing, spatial)
    shape = (*(1,) * (3 - axes), *spatial)
    numbers, rest, span = _float32(pixels)
    channels = pixels.shape[0] if pixels.ndim > axes else 1
    numbers = numbers.reshape(channels, *shape)
    rest = None if rest is None else rest.reshape(channels, *shape)
    starts, prices, result = _seeds(sources, spatial, shape)
    allowed = None
    if sources.mask is not None:
        allowed = boolean("mask", sources.mask)
        require_same_shape("mask", allowed.shape, "image's spatial part", spatial)
        allowed = allowed.reshape(shape)
    steps = (*(1.0,) * (3 - axes), *(float(step) for step in spacing))
    plan = cost.plan([float(step) for step in spacing], span, channels)
    return Task(numbers, rest, starts, prices, allowed, steps, plan, result)


def boolean_tensor(name: str, array: ArrayLike) -> torch.Tensor:
    """Return ``array`` as a tensor, and refuse it unless it is boolean."""
    flags = as_tensor(array).detach()
    if flags.dtype != torch.bool:
        raise DTypeError(f"{name} has dtype {flags.dtype}: it must be boolean, e.g. labels == 1")
    return flags


def boolean(name: str, array: ArrayLike) -> Array:
    """Return ``array`` as NumPy booleans."""
    return boolean_tensor(name, array).cpu().numpy()


def _signed(image: ArrayLike) -> ArrayLike:
    """Move unsigned 64-bit integers down into the signed ones that torch has; differences stay."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint64:
        return image
    return (image ^ np.uint64(1 << 63)).view(np.int64)


def _float32(pixels: torch.Tensor) -> tuple[Array, Array | None, float]:
    """Return the image in float32, what that leaves of each value if anything, and its largest difference.

    Other types than float32 are shifted to the middle of their range first: only differences count, and a
    large offset would cost their digits. What is left then makes them good to twice float32's digits.
    """
    if pixels.is_complex():
        raise DTypeError(f"image has dtype {pixels.dtype}: it must be real")
    if pixels.dtype in (torch.float16, torch.bfloat16):
        pixels = pixels.float()
    numbers = pixels.numpy()
    if numbers.size == 0:
        return numbers.astype(np.float32), None, 0.0
    least, most = extremes(pixels)
    low, high = float(least), float(most)
    if not (math.isfinite(low) and math.isfinite(high)):
        require_finite("image", pixels)
    if numbers.dtype in (np.float32, np.int8, np.uint8, np.int16, np.bool_):
        return numbers.astype(np.float32, copy=False), None, high - low
    middle = low + (high - low) / 2
    if numbers.dtype.kind == "i":
        # In integers the shift is exact, and unsigned 64 bits hold every difference.
        span = most - least
        shifted = numbers.astype(np.int64).view(np.uint64) - np.uint64(least % 2**64)
        return *_halves(shifted.astype(np.float64) - span / 2), float(span)
    if high - low > 3e38:
        raise ValueRangeError(f"image spans {low} .. {high}: float32 cannot hold it, scale it first")
    return *_halves(numbers - middle), high - low


def _halves(numbers: Array) -> tuple[Array, Array | None]:
    """Split float64 into a sum of two float32, of which the second is ``None`` where it is 0 everywhere."""
    first = numbers.astype(np.float32)
    second = (numbers - first).astype(np.float32)
    return first, second if second.any() else None


def _seeds(
    sources: Sources, spatial: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[Array, Array | None, tuple[int, ...]]:
    """Return seed sets ``(K, Z, Y, X)``, what starting there costs, and the result's shape."""
    seeds, seed_cost = sources.seeds, sources.seed_cost
    prices: Array | None = None
    outer: tuple[int, ...] = ()
    if seed_cost is not None:
        numbers = as_tensor(seed_cost).detach().cpu().numpy()
        _require_spatial("seed_cost", numbers.shape, spatial)
        if not (numbers >= 0).all():
            raise ValueRangeError("seed_cost holds NaN or negative values: starting costs 0 or more")
        outer = numbers.shape[: numbers.ndim - len(spatial)]
        prices = numbers.reshape(outer[0] if outer else 1, *shape)
        starts = np.isfinite(prices)
    if seeds is not None:
        flags = boolean("seeds", seeds)
        _require_spatial("seeds", flags.shape, spatial)
        if outer and flags.shape[: len(outer)] != outer:
            raise ShapeError(
                f"seed_cost has shape {(*outer, *spatial)}, but seeds has shape {tuple(flags.shape)}: "
                "give one cost per set, or (*S) for all"
            )
        outer = flags.shape[: flags.ndim - len(spatial)]
        starts = flags.reshape(outer[0] if outer else 1, *shape)
    return starts, prices, (*outer, *spatial)


def _require_spatial(name: str, shape: Sequence[int], spatial: Sequence[int]) -> None:
    if tuple(shape) != tuple(spatial) and (
        len(shape) != len(spatial) + 1 or tuple(shape[1:]) != tuple(spatial)
    ):
        raise ShapeError(
            f"{name} has shape {tuple(shape)}, but image has spatial shape {tuple(spatial)}: "
            "give (*S), or (K, *S) for several seed sets"
        )


def solve_sets(task: Task, result: Array, cutoff: float, threads: int) -> None:
    """Write the distance from each of the task's seed sets into ``result`` ``(K, Z, Y, X)``."""
    if result.size == 0:
        return
    wide = list(range(len(result)))
    if task.plan.is_safe:
        drifts = _solve_in(task.rows(), task, result, cutoff, threads, wide)
        wide = [k for k in wide if drifts[k]]
    if wide:
        _solve_in(task.wide_rows(), task, result, cutoff, threads, wide)


def _solve_in(
    rows: PaddedRows, task: Task, result: Array, cutoff: float, threads: int, chosen: Sequence[int]
) -> list[bool]:
    """Solve the ``chosen`` sets in ``rows``; returns for every set whether float32 drifts there."""
    threads_per_set = max(1, threads // len(chosen))
    scale = rows.dtype(task.plan.scale)
    drifts = [False] * len(result)

    def work(index: int) -> None:
        k = chosen[index]
        distance = rows.below_cutoff(cutoff)
        price = None if task.price is None else task.price[k if len(task.price) > 1 else 0]
        rows.solve(distance, task.starts[k], price, threads_per_set)
        if rows.dtype is np.float32:
            drifts[k] = drift.is_long(rows, distance, float(np.nextafter(cutoff, np.inf)) / task.plan.scale)
        with np.errstate(over="ignore"):
            np.multiply(rows.view(distance), scale, out=result[k], casting="same_kind")
        if math.isfinite(cutoff):
            result[k][result[k] > cutoff] = np.inf
        if task.mask is not None:
            result[k][~task.mask] = np.inf

    run_side_by_side(work, len(chosen), threads)
    return drifts
