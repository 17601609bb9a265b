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
from sfumato.geodesic.pruning import Neighbourhoods
from sfumato.geodesic.sweeps import ROW0
from sfumato.geodesic.task import Task, prepare, solve_sets
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
    if task.plan.is_safe:
        result = _near(task, owners, alpha, workers)
    else:
        distance = np.empty(task.starts.shape, np.float32)
        solve_sets(task, distance, np.inf, workers)
        result = labels_from(distance, owners, alpha, workers)
    device = image.device if isinstance(image, Tensor) else torch.device("cpu")
    return torch.from_numpy(result.reshape(task.shape)).to(device)


def _near(task: Task, owners: Array, alpha: float, threads: int) -> Array:
    near = Neighbourhoods(task, float(MARGIN), threads)
    field, scale = near.field, np.float32(task.plan.scale)
    # Zeros from the system cost nothing until they are written to.
    out = np.zeros(task.starts.shape, np.float32)
    boxes = np.zeros((len(out), 3, 2), np.int64)
    ends = np.full(len(out), np.inf, np.float32)

    def use(k: int, distance: Array, box: Box) -> None:
        if all(side == (0, size) for side, size in zip(box, field.shape, strict=True)):
            ends[k] = voxelwise.farthest(distance, ROW0, field.pitch, field.shape, scale, FAR)
        target = out[k] if field.order == (0, 1, 2) else out[k].transpose(field.order)
        voxelwise.nearness(
            distance, near.union, ROW0, field.pitch, field.shape[1], box, scale, MARGIN, ends[k], target
        )
        boxes[k, list(field.order)] = box

    near.visit(use)
    _blend(out, owners, boxes, ends, alpha, threads)
    return out


def labels_from(distance: Array, owners: Array, alpha: float, threads: int = 1) -> Array:
    """As ``nearness_labels``, from distances ``(K, Z, Y, X)`` float32; an empty set's are infinite."""
    depth, height, width = distance.shape[1:]
    nearest = np.ascontiguousarray(distance.min(axis=0)).reshape(-1)
    out = np.zeros(distance.shape, np.float32)
    ends = np.full(len(out), np.inf, np.float32)
    box = ((0, depth), (0, height), (0, width))
    one = np.float32(1)
    for k, each in enumerate(distance):
        flat = np.ascontiguousarray(each).reshape(-1)
        ends[k] = voxelwise.farthest(flat, 0, width, each.shape, one, FAR)
        voxelwise.nearness(flat, nearest, 0, width, height, box, one, MARGIN, ends[k], out[k])
    _blend(out, owners, np.array([box] * len(out)), ends, alpha, threads)
    return out


def _blend(out: Array, owners: Array, boxes: Array, ends: Array, alpha: float, threads: int) -> None:
    depth = out.shape[1]

    def work(part: int) -> None:
        planes = (part * _PLANES, min((part + 1) * _PLANES, depth))
        voxelwise.blend(out, owners, boxes, ends, float(alpha), planes)

    run_side_by_side(work, -(-depth // _PLANES), threads)
