"""Class weights by nearness: each class is solved in its neighbourhood, and written once."""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_same_shape
from sfumato.geodesic.cpu import threads_for
from sfumato.geodesic.engine import blocks
from sfumato.geodesic.engine.blocks import Blocks
from sfumato.geodesic.engine.solve import run_side_by_side
from sfumato.geodesic.task import PathCost, Sources, prepare, solve_sets
from sfumato.labels.kernels import weighing
from sfumato.labels.kernels.pruning import solve_near
from sfumato.types import Array, ArrayLike

# exp(-d) is below half a float32 step of 1 from here on, so the minimum of the min-max is 0.
FAR = np.float32(24 * 0.6931471805599453)

# Beyond this much more than the nearest class a class's share is below float32's resolution. It exceeds
# ``FAR``, so that a class with voxels beyond it needs no min-max.
MARGIN = np.float32(16.64)

_FEW = 8  # Sets that together write to most of the memory.
_ROWS = 1024  # Rows that a thread works on at a time.


def nearness_labels(
    image: ArrayLike,
    seeds: ArrayLike,
    labels: ArrayLike,
    *,
    spacing: Sequence[float],
    alpha: float,
    weight: float = 1.0,
    threads: int | None = None,
) -> Tensor:
    """Compute ``nearness_weights`` of the ``l2`` distances to each class's seeds, without the far ones.

    Args:
        image: ``(*S)`` or ``(C, *S)``.
        seeds: Boolean ``(K, *S)``; at least one set is not empty.
        labels: Class indices ``(*S)``, in ``0 .. K - 1``.
        spacing: Millimetres per spatial axis.
        alpha: Share of ``g``.
        weight: As in ``geodesic_distance``, whose cost is ``l2``.
        threads: As in ``geodesic_distance``; the result is the same bits.

    Returns:
        Float32 ``(K, *S)``. Memory beyond it: a few float32 volumes per thread, whatever ``K``.

    Raises:
        InputError: As in ``geodesic_distance``.
    """
    task = prepare(image, Sources(seeds), spacing, PathCost("l2", weight))
    classes = as_tensor(labels).detach()
    require_same_shape("labels", classes.shape, "image's spatial part", task.shape[1:])
    owners = np.ascontiguousarray(classes.cpu().to(torch.int64).numpy()).reshape(task.starts.shape[1:])
    workers = threads_for(threads)
    if task.starts.size == 0:
        return torch.zeros(task.shape)
    result = _zeros(task.starts.shape)
    if task.plan.is_safe:
        written = solve_near(task, result, float(MARGIN), workers)
    else:
        solve_sets(task, result, np.inf, workers)
        written = Blocks.every(len(result), result.shape[1:])
    weigh(result, owners, written, alpha, workers)
    device = image.device if isinstance(image, Tensor) else torch.device("cpu")
    return torch.from_numpy(result.reshape(task.shape)).to(device)


def _zeros(shape: tuple[int, ...]) -> Array:
    """Return float32 zeros, which cost nothing until they are written to.

    Many sets write here and there. In pages of 2 MiB, which NumPy asks for, most memory would be made for
    nothing.
    """
    if shape[0] <= _FEW or not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.zeros(shape, np.float32)
    memory = mmap.mmap(-1, math.prod(shape) * 4, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    # Where the system has no huge pages, it need not be told.
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(shape)


def weigh(distance: Array, owners: Array, written: Blocks, alpha: float, threads: int = 1) -> None:
    """Turn distances into the weights that ``nearness_labels`` describes, in place.

    Args:
        distance: ``(K, Z, Y, X)`` float32, exact up to the margin beyond the smallest, 0 where nothing was
            written. An empty set's may be infinite.
        owners: Class indices ``(Z, Y, X)`` int64.
        written: Where distances are: all others are beyond the margin.
        alpha: Share of the nearness.
        threads: At most so many threads; the result is the same bits.
    """
    ends = np.full(len(distance), np.inf, np.float32)
    everything = blocks.full_word(distance.shape[1 + written.order[2]], written.size)
    rows = distance.transpose(0, *(1 + axis for axis in written.order))
    labels = np.ascontiguousarray(owners.transpose(written.order))
    count = len(written.words)

    def find_end(k: int) -> None:
        column = written.words[:, k]
        if column[:1] == everything and (column == everything).all():
            ends[k] = weighing.farthest(distance[k].reshape(-1), FAR)

    def work(part: int) -> None:
        some = (part * _ROWS, min((part + 1) * _ROWS, count))
        weighing.weigh(rows, labels, written.words, written.size, ends, MARGIN, float(alpha), some)

    run_side_by_side(find_end, len(distance), threads)
    run_side_by_side(work, -(-count // _ROWS), threads)
