"""The engine's inner loops: banded sweeps over tiles of rows, in explicit vector code.

Algorithm. The distance ``D`` is the largest solution of ``D(v) = min(D(v), D(u) + edge(u, v))`` over all
neighbours ``u``, below given start values. Any order of such updates ends there (Bellman 1958); the art
is to do few of them, sixteen at a time.

- A *row* is a line of voxels along one axis, cut in blocks of sixteen. A row *pulls*: it takes the best of
  the nine moves from the three rows in the plane before it, and of the three moves from the row before it
  in its own plane ("before" in the order of the sweep). Then the moves within the row run to rest, block
  by block. Four sweep orders, forwards and backwards in both row axes, together cover all 26 moves.
- Whenever a block changes, it sets one bit in each of the eight rows around it: "your block k has a move
  to pull". There are four words of bits a row, one for each side that a change can come from. A row
  without bits costs one look; a block without a bit costs nothing.
- Rows are gathered in *tiles* of about the second-level cache's size, and a tile is swept until it is quiet
  before the next one is touched. Memory is thus read a few times instead of once a sweep. Blocks that a
  change reaches in the next plane are brought into the cache meanwhile.
- Where a move's cost takes a root or a quotient, a row's three moves are first tried without the image. If
  that lowers nothing, the moves themselves cannot.
- *Bands*: where the image's texture rules, far values are improved again and again. Values at or above
  the band's limit are therefore kept but not passed on (their blocks wait in a fifth word), as in
  delta-stepping. A sixth word remembers which blocks have changed.

Stopping rule. Bits are the list of all edges not looked at since their source changed. When no bit is left
and no value waits, no edge can lower any voxel, not even by its last bit: that is the fixed
point, and it is unique. Rounding keeps ``D + edge`` monotone in ``D``, so every order, number of threads,
width of the processor's vectors, and Dijkstra itself (``queue.py``) end in the same bits.

Cost. A block's pull of twelve moves takes about 10 ns, its in-row moves as much. Where the spatial term
rules, each voxel is pulled about six times; where texture rules, about fifteen times. A maze can need
arbitrarily many visits: the caller gives a budget, and what is left is done by ``queue.py``.

Layout. A row has ``pitch`` floats: its voxels, then at least one pad, so that reading one voxel too far,
left or right, finds a pad. Pads are infinite in ``D`` and NaN in the image: a move from or to them costs
NaN, and NaN never wins a comparison. Voxels outside the mask are NaN in the image too. One extra row of
pads stands for every neighbour beyond the volume.

References:
    Bellman (1958), On a routing problem, doi:10.1090/qam/102435.
    Meyer, Sanders (2003), Delta-stepping: a parallelizable shortest path algorithm,
    doi:10.1016/S0196-6774(03)00076-2.
    Toivanen (1996), New geodesic distance transforms for gray-scale images, doi:10.1016/0167-8655(96)00010-4
    (raster sweeps). The bits, the tiles and their union with bands are our own.
"""

from __future__ import annotations

import numpy as np
from numba import uint64
from numba.extending import register_jitable

from sfumato.geodesic.engine.jit import compiled
from sfumato.geodesic.engine.moves import fetch_blocks, move, pull, run_within
from sfumato.geodesic.engine.simd import LANES, below, highest_bit, load, lowest_bit, splat, store

# ruff: noqa: ANN001, ANN201, ANN202  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

ROW0 = LANES  # Where the first row starts: the voxel before it must exist.
# Words of bits per row: blocks with a move to pull, by side; blocks that wait for a later band; and blocks
# that have changed since the transform began.
BEFORE_PLANE, AFTER_PLANE, BEFORE_ROW, AFTER_ROW, WAITING, CHANGED = WORDS = range(6)
ONE = uint64(1)
AHEAD = 4  # Rows: what is read so much later is brought into the cache now.


@register_jitable
def _backward(distance, images, cost, step, row, blocks, group, limit, state):
    """Carry changes leftwards along the row, after a rightward pass has left ``state``."""
    bits, first, last, waiting = state
    inner = first if group > 1 else uint64(0)
    need = (first >> ONE) | inner
    while need:
        g = highest_bit(need)
        bit = ONE << uint64(g)
        need ^= bit
        for k in range(min(g * group + group, blocks) - 1, g * group - 1, -1):
            i = row + LANES * k
            old = load(distance, i)
            best = run_within(distance, images, cost, step, i, old)
            lanes = below(best, old)
            if lanes:
                store(distance, i, best)
                hot = lanes & below(best, limit)
                if hot != lanes:
                    waiting |= bit
                if hot:
                    bits |= bit
                if hot & 1:
                    first |= bit
                    need |= bit >> ONE
                if hot >> 15:
                    last |= bit
    return bits, first, last, waiting


@register_jitable
def _settle_row(distance, images, cost, step, row, blocks, group, limit, state):
    """Run the moves within a row to rest, starting at the blocks in ``state``."""
    bits, first, last, waiting = state
    nothing = splat(distance.dtype.type(0))
    need = bits | (last << ONE) | (first >> ONE)
    while need:
        g = lowest_bit(need)
        bit = ONE << uint64(g)
        need ^= bit
        for k in range(g * group, min(g * group + group, blocks)):
            i = row + LANES * k
            old = load(distance, i)
            if not below(nothing, old):
                continue
            best = run_within(distance, images, cost, step, i, old)
            lanes = below(best, old)
            if lanes:
                store(distance, i, best)
                hot = lanes & below(best, limit)
                if hot != lanes:
                    waiting |= bit
                if hot:
                    bits |= bit
                if hot & 1:
                    first |= bit
                    need |= (bit >> ONE) | (bit if group > 1 else uint64(0))
                if hot >> 15:
                    last |= bit
                    need |= bit << ONE
    return bits, first, last, waiting


@register_jitable
def _announce(todo, state, z, y, depth, height):
    """Set the bits of the blocks that a row's changes reach, in the eight rows around row ``(z, y)``."""
    bits, first, last, _ = state
    bits |= (first >> ONE) | (last << ONE)
    row = z * height + y
    for side, step in ((BEFORE_PLANE, 1), (AFTER_PLANE, -1)):
        if 0 <= z + step < depth:
            there = row + step * height
            todo[side, there] |= bits
            if y > 0:
                todo[side, there - 1] |= bits
            if y + 1 < height:
                todo[side, there + 1] |= bits
    if y + 1 < height:
        todo[BEFORE_ROW, row + 1] |= bits
    if y > 0:
        todo[AFTER_ROW, row - 1] |= bits


@compiled
def wake(distance, images, cost, lengths, todo, shape, pitch, group, limits, planes, dirty, tile):
    """Pass on the waiting values in ``[limits[0], limits[1])``, in the planes given.

    Returns:
        The number of blocks that woke, and the smallest value that still waits.
    """
    depth, height, _ = shape
    blocks = pitch // LANES
    old, new, step = splat(limits[0]), splat(limits[1]), splat(lengths[0, 0, 1])
    infinite = distance.dtype.type(np.inf)
    never = splat(infinite)
    count, last_row = 0, planes[1] * height
    lowest = infinite
    for z in range(planes[0], planes[1]):
        for y in range(height):
            r = z * height + y
            need = todo[WAITING, r]
            if r + AHEAD < last_row:
                fetch_blocks(distance, images, ROW0 + (r + AHEAD) * pitch, todo[WAITING, r + AHEAD], group)
            if need == 0:
                continue
            row = ROW0 + r * pitch
            bits, first, last, keep = uint64(0), uint64(0), uint64(0), uint64(0)
            while need:
                g = lowest_bit(need)
                bit = ONE << uint64(g)
                need ^= bit
                for k in range(g * group, min(g * group + group, blocks)):
                    values = load(distance, row + LANES * k)
                    ripe = below(values, new)
                    hot = ripe & ~below(values, old)
                    if hot:
                        count += 1
                        bits |= bit
                        if hot & 1:
                            first |= bit
                        if hot >> 15:
                            last |= bit
                    if below(values, never) & ~ripe:
                        keep |= bit
                        if count == 0:
                            for lane in range(LANES):
                                value = distance[row + LANES * k + lane]
                                if value >= limits[1] and value < lowest:
                                    lowest = value
            if bits:
                state = _settle_row(
                    distance, images, cost, step, row, blocks, group, new, (bits, first, last, keep)
                )
                _announce(todo, state, z, y, depth, height)
                keep = state[3]
                todo[CHANGED, r] |= state[0] | keep
                a, b = z // tile[0] + 1, y // tile[1] + 1
                for c in range(a - 1, a + 2):
                    for d in range(b - 1, b + 2):
                        dirty[c, d] = 1
            todo[WAITING, r] = keep
    return count, lowest


@register_jitable
def _sweep(distance, images, cost, lengths, todo, shape, pitch, group, limit, box, forward):
    """Sweep once over the rows of ``box`` in one order; returns moves pulled and which sides changed."""
    depth, height, _ = shape
    z0, z1, y0, y1 = box
    sz, sy = forward
    beyond = depth * height
    blocks = pitch // LANES
    plane_side = BEFORE_PLANE if sz > 0 else AFTER_PLANE
    row_side = BEFORE_ROW if sy > 0 else AFTER_ROW
    step, nothing = splat(lengths[0, 0, 1]), splat(distance.dtype.type(0))
    row_straight, row_diagonal = move(cost, lengths[0, 1, 0]), move(cost, lengths[0, 1, 1])
    plane_straight, plane_diagonal = move(cost, lengths[1, 0, 0]), move(cost, lengths[1, 0, 1])
    slant_straight, slant_diagonal = move(cost, lengths[1, 1, 0]), move(cost, lengths[1, 1, 1])
    pulls = 0
    sides = 0
    for zz in range(z1 - z0):
        z = z0 + zz if sz > 0 else z1 - 1 - zz
        for yy in range(y1 - y0):
            y = y0 + yy if sy > 0 else y1 - 1 - yy
            r = z * height + y
            by_plane, by_row = todo[plane_side, r], todo[row_side, r]
            need = by_plane | by_row
            if need == 0:
                continue
            todo[plane_side, r] = 0
            todo[row_side, r] = 0
            pulls += 6  # Looking after a row costs as much as about six pulls.
            row = ROW0 + r * pitch
            across = r - sz * height if 0 <= z - sz < depth else beyond
            slant_a = across - 1 if across != beyond and y > 0 else beyond
            slant_b = across + 1 if across != beyond and y + 1 < height else beyond
            along = r - sy if 0 <= y - sy < height else beyond
            to_across, to_along = (across - r) * pitch, (along - r) * pitch
            to_slant_a, to_slant_b = (slant_a - r) * pitch, (slant_b - r) * pitch
            bits, first, last, waiting = uint64(0), uint64(0), uint64(0), uint64(0)
            carried = -1  # The block whose left neighbour has just passed on a change.
            while need:
                g = lowest_bit(need)
                bit = ONE << uint64(g)
                need ^= bit
                for k in range(g * group, min(g * group + group, blocks)):
                    i = row + LANES * k
                    old = load(distance, i)
                    if not below(nothing, old):
                        continue
                    best = old
                    if by_row & bit:
                        best = pull(distance, images, cost, i, i + to_along, row_straight, row_diagonal, best)
                        pulls += 1
                    if by_plane & bit:
                        best = pull(
                            distance, images, cost, i, i + to_across, plane_straight, plane_diagonal, best
                        )
                        best = pull(
                            distance, images, cost, i, i + to_slant_a, slant_straight, slant_diagonal, best
                        )
                        best = pull(
                            distance, images, cost, i, i + to_slant_b, slant_straight, slant_diagonal, best
                        )
                        pulls += 3
                    # The row is at rest but for what this sweep has changed.
                    if k != carried and not below(best, old):
                        continue
                    best = run_within(distance, images, cost, step, i, best)
                    lanes = below(best, old)
                    if lanes:
                        store(distance, i, best)
                        hot = lanes & below(best, limit)
                        waiting |= uint64(hot != lanes) << uint64(g)
                        bits |= uint64(hot != 0) << uint64(g)
                        first |= uint64(hot & 1) << uint64(g)
                        over = uint64(hot >> 15) << uint64(g)
                        last |= over
                        carried = k + 1 if over else carried
                        need |= over << ONE
            if bits:
                state = (bits, first, last, waiting)
                state = _backward(distance, images, cost, step, row, blocks, group, limit, state)
                _announce(todo, state, z, y, depth, height)
                bits, waiting = state[0], state[3]
                if 0 <= z + sz < depth:
                    around = bits | (bits << ONE) | (bits >> ONE)
                    fetch_blocks(distance, images, row + sz * height * pitch, around, group)
                sides |= 16 | (z == z0) | (z == z1 - 1) << 1 | (y == y0) << 2 | (y == y1 - 1) << 3
            todo[WAITING, r] |= waiting
            todo[CHANGED, r] |= bits | waiting
    return pulls, sides


@compiled
def relax(
    distance, images, cost, lengths, todo, shape, pitch, group, limit, planes, dirty, tile, turn, budget
):
    """Sweep the dirty tiles of the planes given until all are quiet, or the budget is spent.

    Args:
        distance: Padded distances, lowered in place.
        images: Tuple of padded channels.
        cost: One of ``costs.CostForm``.
        lengths: ``costs.lengths``.
        todo: ``(6, rows + 1)`` words of bits.
        shape: Voxels per axis.
        pitch: Floats per row.
        group: Blocks per bit.
        limit: Values from here on wait.
        planes: First plane, and one past the last. ``planes[0]`` is a multiple of the tile's depth.
        dirty: ``(tiles + 2, tiles + 2)`` uint8: tiles with something to pull.
        tile: Rows per tile and axis.
        turn: A number that varies the order.
        budget: Pulls to spend.

    Returns:
        The pulls spent.
    """
    height = shape[1]
    ceiling = splat(limit)
    first, last = planes[0] // tile[0], (planes[1] + tile[0] - 1) // tile[0]
    columns = (height + tile[1] - 1) // tile[1]
    pulls = 0
    again = True
    while again and pulls < budget:
        again = False
        turn += 1
        for across in range(last - first):
            a = first + across if turn & 1 else last - 1 - across
            for along in range(columns):
                b = along if turn & 2 else columns - 1 - along
                if dirty[a + 1, b + 1] == 0:
                    continue
                again = True
                dirty[a + 1, b + 1] = 0
                box = (
                    a * tile[0],
                    min(a * tile[0] + tile[0], planes[1]),
                    b * tile[1],
                    min(b * tile[1] + tile[1], height),
                )
                sides, quiet, order = 0, 0, 0
                while quiet < 4 and order < 8:
                    forward = (
                        1 if (order ^ turn) & 1 else -1,
                        1 if (order + (order >> 1) ^ turn >> 1) & 1 else -1,
                    )
                    work, changed = _sweep(
                        distance, images, cost, lengths, todo, shape, pitch, group, ceiling, box, forward
                    )
                    pulls += work + 16  # Looking at a tile's rows costs as much as about sixteen pulls.
                    sides |= changed
                    quiet = quiet + 1 if work == 0 else 0
                    order += 1
                if quiet < 4:
                    dirty[a + 1, b + 1] = 1
                for c in range(-1, 2):
                    for d in range(-1, 2):
                        if (
                            (c or d)
                            and (c == 0 or sides & (1 if c < 0 else 2))
                            and (d == 0 or sides & (4 if d < 0 else 8))
                        ):
                            dirty[a + 1 + c, b + 1 + d] = 1
    return pulls
