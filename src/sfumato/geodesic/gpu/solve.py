"""Shortest paths on the GPU, from the host's side: buffers, passes, and the check for the end."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.errors import ValueRangeError
from sfumato.geodesic.engine import costs

TILES = {2: (1, 16, 32), 3: (8, 8, 8)}  # A tile's sides, by the number of axes: powers of two.
_WARPS = 8
_ROUNDS = 32
_PASSES = 8  # Between two looks at what is left to do: each look makes the host wait for the device.
_LARGEST = 2**31 - 1  # Voxels of one set, rim included: the kernels count them in 32 bits.
_FORMS = {costs.Sum: 0, costs.Norm: 1, costs.Product: 2, costs.Ratio: 3}


@dataclass
class SolverWork:
    """What a call did, for benchmarks.

    Attributes:
        passes: Launches over all tiles.
        visits: Tiles worked on, over all passes; one that no front has reached is not counted.
        tiles: Tiles of all sets together.
        voxels_per_tile: What one tile holds.
    """

    passes: int = 0
    visits: int = 0
    tiles: int = 0
    voxels_per_tile: int = 0


@dataclass(frozen=True)
class Tiling:
    """How the voxels of one set are cut into tiles.

    Attributes:
        shape: Voxels per axis, three of them; the first is 1 in 2-D.
        tile: A tile's sides.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Tiles per axis."""
        return tuple(-(-side // width) for side, width in zip(self.shape, self.tile, strict=True))

    @property
    def rims(self) -> tuple[int, ...]:
        """Voxels of the rim that stays infinite, on either side, per axis."""
        return (int(self.shape[0] > 1), 1, 1)

    @property
    def padded(self) -> tuple[int, ...]:
        """Voxels per axis with the rim and the rest of the last tiles."""
        sides = zip(self.counts, self.tile, self.rims, strict=True)
        return tuple(count * width + 2 * rim for count, width, rim in sides)

    def inner(self, padded: Tensor) -> Tensor:
        """Return the image's own voxels of padded arrays ``(sets, *padded)``."""
        sides = zip(self.rims, self.shape, strict=True)
        return padded[(slice(None), *(slice(rim, rim + side) for rim, side in sides))]


def solve(
    image: Tensor,
    start: Tensor,
    *,
    spacing: Sequence[Sequence[float]],
    plan: costs.CostPlan,
    limits: Tensor,
    allowed: Tensor | None = None,
    work: SolverWork | None = None,
    tile: tuple[int, int, int] | None = None,
) -> Tensor:
    """Solve for the distances at the fixed point, for all items and seed sets at once.

    Args:
        image: ``(N, C, Z, Y, X)`` float32.
        start: ``(N, K, Z, Y, X)`` float32: what a path pays to start at a voxel, infinite where none does.
        spacing: Three values in mm per item.
        plan: The cost; it must be safe in float32.
        limits: ``(N, K)`` float32: distances above are infinite.
        allowed: ``(N, 1 or K, Z, Y, X)`` boolean: True where paths may go.
        work: Filled in where given.
        tile: Sides of a tile, powers of two; None takes the default.

    Returns:
        ``(N, K, Z, Y, X)`` float32.

    Raises:
        ValueRangeError: one seed set with its rim has more than ``2^31 - 1`` voxels.
    """
    items, sets = start.shape[:2]
    shape = tuple(start.shape[2:])
    tiling = Tiling(shape, tile or TILES[3 if shape[0] > 1 else 2])
    require_countable(tiling.padded)
    if start.numel() == 0:
        return torch.empty_like(start)
    scale = torch.full((), plan.scale, dtype=torch.float32, device=start.device)
    # A little more than the limit, so that rounding in the scale loses no voxel; the end is exact again.
    bound = (limits.to(torch.float32) / scale * (1 + 2.0**-22)).reshape(-1)
    first = start / scale
    if allowed is not None:
        first = first.masked_fill(~allowed, math.inf)
    first = first.reshape(items * sets, *shape)
    distance = start.new_full((items * sets, *tiling.padded), math.inf)
    inner = tiling.inner(distance)
    inner.copy_(first.masked_fill(first > bound.view(-1, 1, 1, 1), math.inf))
    lengths = torch.stack([torch.from_numpy(costs.lengths(plan, step)) for step in spacing]).to(image.device)
    _run(distance, tiling, image, allowed, lengths, bound, plan, sets, work)
    result = (inner * scale).view(start.shape)
    return result.masked_fill_(result > limits.view(items, sets, 1, 1, 1), math.inf)


def current(tensor: Tensor) -> AbstractContextManager[object]:
    """Make the tensor's device the current one, which is where Triton launches kernels."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def require_countable(shape: Sequence[int]) -> None:
    """Refuse a grid whose voxels 32 bits cannot count."""
    if math.prod(shape) > _LARGEST:
        raise ValueRangeError(
            f"one seed set takes {math.prod(shape)} voxels with its rim, but the GPU kernels count up to "
            f"{_LARGEST}: cut the image, or compute on the CPU with image.cpu()"
        )


def _run(
    distance: Tensor,
    tiling: Tiling,
    image: Tensor,
    allowed: Tensor | None,
    lengths: Tensor,
    bound: Tensor,
    plan: costs.CostPlan,
    sets: int,
    work: SolverWork | None,
) -> None:
    """Lower ``distance`` to the fixed point: launch passes until no tile is marked."""
    from sfumato.geodesic.gpu import kernels

    pixels = image.contiguous()
    if plan.power:
        pixels = torch.ldexp(pixels, torch.full((), plan.power, device=image.device))
    gate = lengths if allowed is None else allowed.to(torch.uint8).contiguous()
    tiles = math.prod(tiling.counts)
    now = torch.ones((len(distance), tiles), dtype=torch.int32, device=image.device)
    later = torch.zeros_like(now)
    visits = torch.zeros(1, dtype=torch.int64, device=image.device)
    options: dict[str, Any] = {
        "FORM": _FORMS[type(plan.cost)],
        "CHANNELS": pixels.shape[1] if plan.uses_image else 0,
        "SOLID": tiling.shape[0] > 1,
        "MASKED": allowed is not None,
        "COUNTED": work is not None,
        "ROUNDS": _ROUNDS,
        **dict(zip("ABC", tiling.tile, strict=True)),
        # A warp without voxels of its own would work on copies of another's, which may have seen other halos.
        "num_warps": max(1, min(_WARPS, math.prod(tiling.tile) // 32)),
        # A fused multiply-add would round once where the CPU rounds twice.
        "enable_fp_fusion": False,
    }
    shared = (sets, sets if allowed is None or allowed.shape[1] == 1 else 1)
    weights = (float(plan.cost.length_weight), float(plan.cost.step_weight))
    for block in itertools.count(1):  # noqa: B007 - the count is read after the loop
        for _ in range(_PASSES):
            with current(distance):
                kernels.relax_tiles[(tiles, len(distance))](
                    distance, pixels, gate, lengths, bound, now, later, visits,
                    *tiling.shape, *tiling.counts, *shared, *weights, **options,
                )  # fmt: skip
            now, later = later, now
        if not bool(now.any()):
            break
    if work is not None:
        work.passes, work.visits = block * _PASSES, int(visits)
        work.tiles, work.voxels_per_tile = now.numel(), math.prod(tiling.tile)
