"""How far the roundings of single moves have added up: a few paths, walked back to their seeds.

A float32 sum of a thousand equal moves may round every one of them to the same side, and lose the fifth
digit. ``D`` is a fixed point to the bit, so from every voxel some neighbour leads back with
``D(u) + edge = D(v)`` in float32; what the same sum leaves in float64 is that move's rounding.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from sfumato.geodesic.engine import costs
from sfumato.geodesic.engine.costs import edge_of_one
from sfumato.geodesic.engine.jit import compiled
from sfumato.geodesic.engine.solve import PaddedRows
from sfumato.geodesic.engine.sweeps import ROW0
from sfumato.types import Array

# ruff: noqa: ANN001, ANN202  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"


_ALLOWED = 4e-6  # As a share of the distance: paths not looked at may have drifted twice as far.
_FEW = 250  # So many moves of any length cannot drift that far.
_MANY = 500  # So many typical moves may; asked only where a path could not be followed.
_CANDIDATES, _PATHS = 4096, 24
_ENDLESS = 20_000  # Moves after which a path is not followed further: it is long.
_LOST = 64  # So many moves one after the other that float32 has lost make a path long, too.


def is_long(rows: PaddedRows, distance: Array, below: float = np.inf) -> bool:
    """Tell whether the padded ``distance`` in float32 may have drifted more than exact distances may.

    Args:
        rows: The rows that it was solved in.
        distance: Padded distances at their fixed point.
        below: Values from here on are not distances.
    """
    depth, height, width = rows.shape
    if rows.mask is None:
        count = depth * height * width
        # An odd stride meets every column of rows of an even width.
        voxels = np.arange(0, count, max(1, count // _CANDIDATES) | 1)
    else:
        voxels = np.flatnonzero(rows.mask.transpose(rows.order))
        voxels = voxels[:: max(1, len(voxels) // _CANDIDATES)]
    places = ROW0 + voxels // width * rows.pitch + voxels % width
    values = distance[places]
    reached = values < below
    values, places = values[reached], places[reached]
    if not len(values) or values.max() <= _FEW * costs.shortest(rows.plan, rows.lengths):
        return False
    # The farthest, and others of the far half, since other directions drift otherwise.
    far = places[np.argsort(values)[-max(1, len(values) // 2) :]]
    chosen = np.unique(np.concatenate([far[-_PATHS // 4 :], far[:: max(1, len(far) // _PATHS)]]))
    worst, is_followed = _drift(
        distance, rows.images, rows.cost, rows.lengths, rows.shape, rows.pitch, chosen
    )
    return bool(worst > _ALLOWED or (not is_followed and values.max() > _MANY * rows.typical))


@register_jitable
def _parent(distance, images, cost, lengths, shape, pitch, i, trail):
    """Find the voxel that ``i`` has its value from, or -1, and the move's rounding.

    That voxel is nearer, unless the move costs nothing or is lost in float32: then it is not on ``trail``.
    """
    depth, height, width = shape
    row = (i - ROW0) // pitch
    z, y, x = row // height, row % height, i - ROW0 - row * pitch
    here = distance[i]
    level, lost = -1, 0.0
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
                there = distance[j]
                if j == i or not there <= here:
                    continue
                move = edge_of_one(cost, images, i, j, lengths[abs(dz), abs(dy), abs(dx)])
                if there + move != here:
                    continue
                rounding = np.float64(there) + np.float64(move) - np.float64(here)
                if there < here:
                    return j, rounding
                if not (trail == j).any():
                    level, lost = j, rounding
    return level, lost


@compiled
def _drift(distance, images, cost, lengths, shape, pitch, items):
    """Find the largest sum of roundings on the way to any of ``items``, as a share of the distance there.

    Returns:
        That share, infinite for an endless way or one of lost moves, and whether no way ended in a flat area.
    """
    worst, is_followed = 0.0, True
    values = np.empty(_ENDLESS, np.float64)
    roundings = np.empty(_ENDLESS, np.float64)
    trail = np.empty(_LOST, np.int64)
    for item in items:
        count, lost, i = 0, 0, item
        while distance[i] > 0:
            trail[lost] = i
            j, rounding = _parent(distance, images, cost, lengths, shape, pitch, i, trail[: lost + 1])
            if j < 0:  # A seed that has a price, or the end of a flat area.
                is_followed &= lost == 0
                break
            if distance[j] < distance[i]:
                lost = 0
            elif rounding == 0:
                is_followed = False
                break
            else:
                lost += 1
                if lost == _LOST:
                    return np.inf, is_followed
            values[count], roundings[count] = distance[i], rounding
            count += 1
            if count == _ENDLESS:
                return np.inf, is_followed
            i = j
        total = 0.0
        for k in range(count - 1, -1, -1):
            total += roundings[k]
            worst = max(worst, abs(total) / values[k])
    return worst, is_followed
