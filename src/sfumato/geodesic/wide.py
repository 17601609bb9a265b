"""Dijkstra in float64, for numbers that leave float32's range: slow, and rarely needed.

Steps of 1e20 have squares that float32 cannot hold, and lengths of 1e-20 mm squares that it takes for 0.
Such images are sent here, and masks with corridors so long that the rounding of each move adds up. The heap
may hold a voxel more than once; an open voxel costs a microsecond or two.
"""

from __future__ import annotations

import heapq
import math
from typing import Any

import numpy as np

from sfumato.geodesic.jit import compiled

# Numba widens the integers.
# mypy: disable-error-code="assignment"

Array = np.ndarray[Any, np.dtype[Any]]


@compiled
def settle(distance: Array, image: Array, allowed: Array, spacing: Array, kind: int, weight: float) -> None:
    """Lower ``distance`` in place until no edge can lower it further."""
    channels = image.shape[0]
    depth, height, width = distance.shape
    heap = [(np.float64(0.0), np.int64(0)) for _ in range(0)]
    for flat in range(distance.size):
        value = distance.flat[flat]
        if value < np.inf:
            heap.append((np.float64(value), np.int64(flat)))
    heapq.heapify(heap)
    while len(heap) > 0:
        value, flat = heapq.heappop(heap)
        z, y, x = flat // (height * width), flat // width % height, flat % width
        if value > distance[z, y, x]:
            continue
        for w in range(max(z - 1, 0), min(z + 2, depth)):
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    if not allowed[w, v, u]:
                        continue
                    length = math.sqrt(
                        ((w - z) * spacing[0]) ** 2
                        + ((v - y) * spacing[1]) ** 2
                        + ((u - x) * spacing[2]) ** 2
                    )
                    total = 0.0
                    for c in range(channels):
                        step = np.float64(image[c, z, y, x]) - np.float64(image[c, w, v, u])
                        total += abs(step) if kind == 0 else step * step
                    if kind == 0:
                        edge = (1 - weight) * length + weight * total
                    elif kind == 1:
                        edge = math.sqrt(length * length + weight * weight * total)
                    else:
                        edge = length / ((1 - weight) + weight / (math.sqrt(total) + 1e-5))
                    candidate = value + edge
                    if candidate < distance[w, v, u]:
                        distance[w, v, u] = candidate
                        heapq.heappush(heap, (candidate, (w * height + v) * width + u))
