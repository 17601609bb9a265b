"""The distances of one image on the CPU, and their way out: torch or NumPy, in the caller's memory or new."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_same_shape
from sfumato.errors import DTypeError, ValueRangeError
from sfumato.geodesic.engine.solve import default_threads
from sfumato.geodesic.task import PathCost, Sources, prepare, solve_sets
from sfumato.types import Array, ArrayLike

AnyArray = TypeVar("AnyArray", Tensor, np.ndarray[Any, np.dtype[Any]])


def image_distance(
    image: AnyArray,
    sources: Sources,
    spacing: Sequence[float],
    cost: PathCost,
    *,
    cutoff: float,
    threads: int | None,
    out: AnyArray | None = None,
) -> AnyArray:
    """Compute the distances of one image; arguments as in ``geodesic_distance``."""
    task = prepare(image, sources, spacing, cost)
    if out is not None:
        _require_fitting(out, task.shape)
    if isinstance(out, np.ndarray) and out.flags.c_contiguous and not task.reads(out):
        result: Array = out
    else:
        result = np.empty(task.shape, np.float32)
    solve_sets(task, result.reshape(task.starts.shape), cutoff, threads_for(threads))
    return delivered(result, image, out)


def threads_for(threads: int | None) -> int:
    """Return the number asked for, else torch's, and at most what this process may use."""
    if threads is None:
        return min(default_threads(), torch.get_num_threads())
    if threads < 1:
        raise ValueRangeError(f"threads is {threads}: it must be at least 1")
    return threads


def delivered(result: Array, image: AnyArray, out: AnyArray | None = None) -> AnyArray:
    """Return ``result`` as torch or NumPy like ``image``, or written to ``out`` where that is given."""
    if out is not None:
        return out if out is result else _copied(result, out)
    return torch.from_numpy(result).to(image.device) if isinstance(image, Tensor) else result


def written(distance: AnyArray, out: AnyArray) -> AnyArray:
    """Return ``out`` with the distances in it."""
    _require_fitting(out, distance.shape)
    return _copied(distance, out)


def _copied(distance: ArrayLike, out: AnyArray) -> AnyArray:
    if isinstance(out, Tensor):
        return out.copy_(as_tensor(distance))
    out[...] = distance
    return out


def _require_fitting(out: ArrayLike, shape: Sequence[int]) -> None:
    require_same_shape("out", out.shape, "the result", shape)
    if str(out.dtype).removeprefix("torch.") != "float32":
        raise DTypeError(f"out has dtype {out.dtype}: it must be float32")
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ValueRangeError("out is read-only: give an array that can be written to")
