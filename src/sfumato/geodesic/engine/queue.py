"""Dijkstra with a heap, from any state that the sweeps have left: for mazes, spirals and the like.

Algorithm. First every move that a bit in ``todo`` stands for is tried once, and every voxel whose value is
still to be passed on goes into a heap: those just lowered, and those that wait for a later band. Then the
voxel with the smallest value leaves the heap and tries its 8 or 26 moves, until the heap is empty. The heap
has four children per node, and knows where each voxel sits in it, so a voxel is in it at most once.

Cost: about a microsecond a voxel, whatever the image; four bytes a voxel, and twelve per voxel in the heap.
The result is the same fixed point, to the bit, as that of ``sweeps.py``, where the reason is given.

References:
    Dijkstra (1959), A note on two problems in connexion with graphs, doi:10.1007/BF01386390.
"""

from __future__ import annotations

import numpy as np
from numba import uint64
from numba.extending import register_jitable

from sfumato.geodesic.engine.costs import edge_of_one
from sfumato.geodesic.engine.jit import compiled
from sfumato.geodesic.engine.simd import LANES
from sfumato.geodesic.engine.sweeps import (
    AFTER_PLANE,
    AFTER_ROW,
    BEFORE_PLANE,
    BEFORE_ROW,
    CHANGED,
    ONE,
    ROW0,
    WAITING,
)

# ruff: noqa: ANN001, ANN202, ANN201  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"


@register_jitable
def _rise(keys, items, place, at, key, item):
    """Move ``item`` up from node ``at`` of the heap to its place."""
    while at > 0:
        parent = (at - 1) >> 2
        if keys[parent] <= key:
            break
        keys[at] = keys[parent]
        items[at] = items[parent]
        place[items[at]] = at
        at = parent
    keys[at] = key
    items[at] = item
    place[item] = at


@register_jitable
def _sink(keys, items, place, size, key, item):
    """Move ``item`` down from the root to its place, in a heap of ``size``."""
    at = 0
    while True:
        child = 4 * at + 1
        if child >= size:
            break
        best = child
        for other in range(child + 1, min(child + 4, size)):
            if keys[other] < keys[best]:
                best = other
        if keys[best] >= key:
            break
        keys[at] = keys[best]
        items[at] = items[best]
        place[items[at]] = at
        at = best
    keys[at] = key
    items[at] = item
    place[item] = at


@register_jitable
def _enter(keys, items, place, size, key, item):
    """Push ``item`` onto the heap, or move it up; returns the heap, larger where it was full."""
    at = place[item]
    if at < 0:
        if size == keys.size:
            more_keys = np.empty(2 * size, keys.dtype)
            more_items = np.empty(2 * size, np.int64)
            more_keys[:size] = keys
            more_items[:size] = items
            keys, items = more_keys, more_items
        at = size
        size += 1
    _rise(keys, items, place, at, key, item)
    return keys, items, size


@compiled
def finish(distance, images, cost, lengths, todo, shape, pitch, group, limit):
    """Lower ``distance`` to its fixed point, and clear ``todo`` but for what has changed.

    Arguments as in ``sweeps.relax``; values from ``limit`` on have not been passed on.
    """
    depth, height, width = shape
    place = np.full(depth * height * pitch + ROW0, -1, np.int32)
    keys = np.empty(1024, distance.dtype)
    items = np.empty(1024, np.int64)
    size = 0
    for z in range(depth):
        for y in range(height):
            r = z * height + y
            row = ROW0 + r * pitch
            for x in range(width):
                i = row + x
                bit = ONE << uint64(x // (LANES * group))
                before = distance[i]
                best = before
                for dz in range(-1, 2):
                    if not 0 <= z + dz < depth:
                        continue
                    for dy in range(-1, 2):
                        if not 0 <= y + dy < height or (dz == 0 and dy == 0):
                            continue
                        if dz:
                            side = BEFORE_PLANE if dz < 0 else AFTER_PLANE
                        else:
                            side = BEFORE_ROW if dy < 0 else AFTER_ROW
                        if not todo[side, r] & bit:
                            continue
                        for dx in range(-1, 2):
                            j = i + (dz * height + dy) * pitch + dx
                            length = lengths[abs(dz), abs(dy), abs(dx)]
                            value = distance[j] + edge_of_one(cost, images, i, j, length)
                            if value < best:
                                best = value
                distance[i] = best
                if best < before:
                    todo[CHANGED, r] |= bit
                if best < before or (todo[WAITING, r] & bit and limit <= best < np.inf):
                    keys, items, size = _enter(keys, items, place, size, best, i)
    todo[:CHANGED] = 0
    while size > 0:
        value, i = keys[0], items[0]
        place[i] = -1
        size -= 1
        if size > 0:
            _sink(keys, items, place, size, keys[size], items[size])
        r = (i - ROW0) // pitch
        x = (i - ROW0) - r * pitch
        z = r // height
        y = r - z * height
        for dz in range(-1, 2):
            if not 0 <= z + dz < depth:
                continue
            for dy in range(-1, 2):
                if not 0 <= y + dy < height:
                    continue
                for dx in range(-1, 2):
                    if not 0 <= x + dx < width:
                        continue
                    j = i + (dz * height + dy) * pitch + dx
                    # Most neighbours are nearer already: the edge costs nothing less than 0.
                    if distance[j] <= value:
                        continue
                    length = lengths[abs(dz), abs(dy), abs(dx)]
                    other = value + edge_of_one(cost, images, j, i, length)
                    if other < distance[j]:
                        distance[j] = other
                        todo[CHANGED, r + dz * height + dy] |= ONE << uint64((x + dx) // (LANES * group))
                        keys, items, size = _enter(keys, items, place, size, other, j)
