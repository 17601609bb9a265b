"""Class weights by nearness: each class is solved in its neighbourhood, and written once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_same_shape
from sfumato.geodesic import voxelwise
from sfumato.geodesic.distance import threads_for
from sfumato.geodesic.engine import Box, run_side_by_side
from sfumato.geodesic.pruning import solve_near
from sfumato.geodesic.task import prepare, solve_sets
from sfumato.types import ArrayLike

Array = np.ndarray[Any, np.dtype[Any]]

# exp(-d) is below half a float32 step of 1 from here on, so the minimum of the min-max is 0.
FAR = np.float32(24 * 0.6931471805599453)

# Beyond this much more than the nearest class a class's share is below float32's resolution. It exceeds
# ``FAR``, so that a class with voxels beyond it needs no min-max.
MARGIN = np.float32(17.0)

_PLANES = 8  # Planes that a thread works on at a time.


def nearness_labels(
    image: ArrayLike,
    seeds: ArrayLike,
    labels: ArrayLike,
    *,
    spacing: Sequence[float],
    alpha: float,
    cost: str = "l2",
    weight: float = 1.0,
    threads: int | None = None,
) -> Tensor:
    """``(1 - alpha) onehot + alpha g`` with ``g`` from the distances to each class's seeds.

    ``e_c = exp(-D_c)``, scaled to ``[0, 1]`` over the image, and ``g_c = e_c / sum_c e_c``. The minimum of
    ``e_c`` counts as 0 where it is below float32's resolution, and ``g`` is ``softmax(-D)`` where every
    ``e_c`` is 0. A class with distance 0 everywhere has ``e_c = 1``.

    Args:
        image: ``(*S)`` or ``(C, *S)``.
        seeds: Boolean ``(K, *S)``; at least one set is not empty.
        labels: Class indices ``(*S)``, in ``0 .. K - 1``.
        spacing: Millimetres per spatial axis.
        alpha: Share of ``g``.
        cost: As in ``geodesic_distance``.
        weight: As in ``geodesic_distance``.
        threads: As in ``geodesic_distance``; the result is the same bits.

    Returns:
        Float32 ``(K, *S)``. Memory beyond it: a few float32 volumes per thread, whatever ``K``.

    Raises:
        InputError: As in ``geodesic_distance``.
    """
    task = prepare(image, seeds, spacing=spacing, cost=cost, weight=weight)
    classes = as_tensor(labels).detach()
    require_same_shape("labels", classes.shape, "image's spatial part", task.shape[1:])
    owners = np.ascontiguousarray(classes.cpu().to(torch.int64).numpy()).reshape(task.starts.shape[1:])
    workers = threads_for(threads)
    if task.starts.size == 0:
        return torch.zeros(task.shape)
    # Zeros from the system cost nothing until they are written to.
    result = np.zeros(task.starts.shape, np.float32)
    if task.plan.is_safe:
        boxes = solve_near(task, result, float(MARGIN), workers)
    else:
        solve_sets(task, result, np.inf, workers)
        boxes = [_whole(result)] * len(result)
    weigh(result, owners, boxes, alpha, workers)
    device = image.device if isinstance(image, Tensor) else torch.device("cpu")
    return torch.from_numpy(result.reshape(task.shape)).to(device)


def _whole(distance: Array) -> Box:
    depth, height, width = distance.shape[1:]
    return (0, depth), (0, height), (0, width)


def weigh(distance: Array, owners: Array, boxes: Sequence[Box], alpha: float, threads: int = 1) -> None:
    """Turn distances into the weights that ``nearness_labels`` describes, in place.

    Args:
        distance: ``(K, Z, Y, X)`` float32, exact up to the margin beyond the smallest, and 0 outside the
            boxes. An empty set's may be infinite.
        owners: Class indices ``(Z, Y, X)`` int64.
        boxes: Per class, first and one past the last voxel per axis: outside it is beyond the margin.
        alpha: Share of the nearness.
        threads: At most so many threads; the result is the same bits.
    """
    sides = np.array(boxes, np.int64).reshape(len(distance), 3, 2)
    ends = np.full(len(distance), np.inf, np.float32)

    def find_end(k: int) -> None:
        if boxes[k] == _whole(distance):
            ends[k] = voxelwise.farthest(distance[k].reshape(-1), FAR)

    def work(part: int) -> None:
        planes = (part * _PLANES, min((part + 1) * _PLANES, distance.shape[1]))
        voxelwise.weigh(distance, owners, sides, ends, MARGIN, float(alpha), planes)

    run_side_by_side(find_end, len(distance), threads)
    run_side_by_side(work, -(-distance.shape[1] // _PLANES), threads)
