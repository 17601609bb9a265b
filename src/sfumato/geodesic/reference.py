"""The slow, obvious geodesic distance: Dijkstra in float64 over a Python heap.

Every fast path of this package is tested against it; nothing else uses it. About 20 microseconds
per voxel and neighbour, so keep the arrays small.

References:
    Dijkstra (1959), A note on two problems in connexion with graphs, doi:10.1007/BF01386390.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from sfumato.types import Array


def edge_cost(cost: str, weight: float, length: float, difference: Sequence[float]) -> float:
    """Compute the cost of one move of ``length`` mm over which the channels change by ``difference``."""
    if cost == "l1":
        return (1 - weight) * length + weight * sum(abs(d) for d in difference)
    norm = math.hypot(*difference)
    if cost == "l2":
        return math.hypot(length, weight * norm)
    if cost == "geodistk":
        return length / ((1 - weight) + weight / (norm + 1e-5))
    raise ValueError(cost)


def neighbours(
    index: tuple[int, ...], shape: tuple[int, ...], spacing: Sequence[float]
) -> Iterator[tuple[tuple[int, ...], float]]:
    """Find the 8 (2-D) or 26 (3-D) voxels around ``index`` in the grid, with their distance in mm."""
    for move in itertools.product((-1, 0, 1), repeat=len(shape)):
        other = tuple(i + m for i, m in zip(index, move, strict=True))
        if any(move) and all(0 <= i < side for i, side in zip(other, shape, strict=True)):
            yield other, math.hypot(*(m * s for m, s in zip(move, spacing, strict=True)))


def geodesic_distance_reference(
    image: Array,
    seeds: Array,
    *,
    spacing: Sequence[float],
    cost: str = "l2",
    weight: float = 1.0,
    cutoff: float = math.inf,
    mask: Array | None = None,
    seed_cost: Array | None = None,
) -> Array:
    """Compute ``geodesic_distance`` by its definition, for one seed set ``(*S)``.

    Returns:
        Float64 distances ``(*S)``; infinite where no path leads and above ``cutoff``.
    """
    channels = np.asarray(image, dtype=np.float64).reshape(-1, *seeds.shape)
    distance = np.full(seeds.shape, np.inf)
    heap: list[tuple[float, tuple[int, ...]]] = []
    for index in np.ndindex(*seeds.shape):
        if seeds[index] and (mask is None or mask[index]):
            start = 0.0 if seed_cost is None else float(seed_cost[index])
            distance[index] = start
            heapq.heappush(heap, (start, index))
    while heap:
        value, index = heapq.heappop(heap)
        if value > distance[index]:
            continue
        for other, length in neighbours(index, seeds.shape, spacing):
            if mask is not None and not mask[other]:
                continue
            difference = [float(channel[index] - channel[other]) for channel in channels]
            candidate = value + edge_cost(cost, weight, length, difference)
            if candidate < distance[other]:
                distance[other] = candidate
                heapq.heappush(heap, (candidate, other))
    distance[distance > cutoff] = np.inf
    return distance
