"""Shortest paths on the GPU, tile by tile: the kernel, in Triton.

**The algorithm.** The grid is cut into tiles; a tile is one program. ``relax_tiles`` is launched again and
again, and each launch (a pass) works only on the tiles that are marked:

1. the costs of the moves into each voxel of the tile are worked out once and stay in registers;
2. every voxel takes ``min over moves of distance[neighbour] + cost``, again and again, until nothing in the
   tile changes, or ``ROUNDS`` times. The distances are read through the first cache, which holds the tile;
3. if a voxel at the tile's rim got lower, the tiles that touch it there are marked for the next pass; if
   the rounds ran out, so is the tile itself.

So the cost follows the front of the search, not the size of the image. The end is reached when no tile is
marked: then no move lowers any voxel by even one bit.

**Why the result is exact and always the same.** Distances only fall, and each is the float32 cost of some
path. A tile may read a neighbour's voxel before or after that tile lowers it; if before, the neighbour's
change marks this tile for the next pass. Rounded addition is monotone, so the fixed point reached from above
is the same one in whatever order the tiles ran.

**Memory.** Distances lie in an array with a rim one voxel thick that stays infinite, so that no read needs a
test. A voxel that no path may enter (outside the image or the mask) has infinite costs and stays infinite.

**Source.** Block-wise relaxation with an active list is an old idea for eikonal equations (Jeong and Whitaker
2008, A fast iterative method for eikonal equations, doi:10.1137/060670298). Shortest paths instead of upwind
differences, registers for the costs and marks per rim are ours.
"""

from __future__ import annotations

import triton
import triton.language as tl

# ruff: noqa: ANN001, ANN201, RUF005  # Compiled code: its types are Triton's.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, assignment"

SUM = tl.constexpr(0)  # length + |step|
NORM = tl.constexpr(1)  # sqrt(length^2 + step^2); the lengths come squared
PRODUCT = tl.constexpr(2)  # length * (|step| + epsilon)
RATIO = tl.constexpr(3)  # length * q / (length_weight * q + step_weight) with q = |step| + epsilon
EPSILON = tl.constexpr(1e-5)


@triton.jit
def jump_of(index: tl.constexpr, plane, pitch):
    """Compute how far away in memory a neighbour lies; of 0 .. 26 the 13th is the voxel itself."""
    return (index // 9 - 1) * plane + (index // 3 % 3 - 1) * pitch + (index % 3 - 1)


@triton.jit
def length_index(index: tl.constexpr):
    """Return where the move's length stands: 4, 2 and 1 for a step along the first, second and third axis."""
    return (index // 9 != 1) * 4 + (index // 3 % 3 != 1) * 2 + (index % 3 != 1) * 1


@triton.jit
def exists(index: tl.constexpr, inside, a, b, c, depth, height, width):
    """Tell where the voxel is one to work on and has this neighbour in the image."""
    da: tl.constexpr = index // 9 - 1
    db: tl.constexpr = index // 3 % 3 - 1
    dc: tl.constexpr = index % 3 - 1
    there = inside & (a + da >= 0) & (a + da < depth)
    there = there & (b + db >= 0) & (b + db < height)
    return there & (c + dc >= 0) & (c + dc < width) & (index != 13)


@triton.jit
def move_cost(
    length, own, other, stride, valid, length_weight, step_weight, FORM: tl.constexpr, CHANNELS: tl.constexpr
):
    """Compute the costs of one move into each voxel, with the operations and their order as on the CPU."""
    total = tl.zeros(valid.shape, tl.float32)
    single: tl.constexpr = CHANNELS == 1
    for channel in tl.static_range(CHANNELS):
        step = tl.load(own + channel * stride, mask=valid, other=0.0)
        step -= tl.load(other + channel * stride, mask=valid, other=0.0)
        if (FORM == SUM) | ((FORM != NORM) & single):
            total += tl.abs(step)
        else:
            total += step * step
    if FORM == SUM:
        cost = length + total
    elif FORM == NORM:
        cost = tl.sqrt_rn(length + total)
    else:
        size = total if single else tl.sqrt_rn(total)
        q = size + EPSILON
        cost = length * q
        if FORM == RATIO:
            cost = tl.div_rn(cost, length_weight * q + step_weight)
    return tl.where(valid, cost, float("inf"))


# A number that is 1 would otherwise become a constant, and every new size would be compiled anew.
@triton.jit(
    do_not_specialize=(
        "depth", "height", "width", "tiles_a", "tiles_b", "tiles_c", "sets_per_item", "sets_per_mask",
    )
)  # fmt: skip
def relax_tiles(
    distance, image, allowed, lengths, limits, now, later, visits,
    depth, height, width, tiles_a, tiles_b, tiles_c, sets_per_item, sets_per_mask, length_weight, step_weight,
    FORM: tl.constexpr, CHANNELS: tl.constexpr, SOLID: tl.constexpr, MASKED: tl.constexpr,
    COUNTED: tl.constexpr,
    A: tl.constexpr, B: tl.constexpr, C: tl.constexpr, ROUNDS: tl.constexpr,
):  # fmt: skip
    """Relax the marked tiles of every set once; the grid is (tiles, sets).

    Args:
        distance: ``(sets, tiles_a * A + 2 SOLID, tiles_b * B + 2, tiles_c * C + 2)`` float32, lowered in
            place.
        image: ``(items, CHANNELS, depth, height, width)`` float32.
        allowed: ``(masks, depth, height, width)`` uint8: not 0 where paths may go; read if ``MASKED``.
        lengths: ``(items, 2, 2, 2)`` float32: the length of a move by its size along each axis.
        limits: ``(sets,)`` float32: values above are not written.
        now: ``(sets, tiles)`` int32, not 0 at the tiles to work on; cleared.
        later: ``(sets, tiles)`` int32: the tiles to work on in the next pass are set to 1.
        visits: One int64: counts the tiles worked on, if ``COUNTED``.
        depth: Voxels along the first axis, 1 unless ``SOLID``.
        height: Voxels along the second axis.
        width: Voxels along the third axis.
        tiles_a: Tiles along the first axis.
        tiles_b: Tiles along the second axis.
        tiles_c: Tiles along the third axis.
        sets_per_item: Seed sets that share one image.
        sets_per_mask: Seed sets that share one mask.
        length_weight: Of ``RATIO``.
        step_weight: Of ``RATIO``.
        FORM: How a move's cost is formed.
        CHANNELS: Image channels.
        SOLID: Three axes, 26 moves; otherwise two axes and 8 moves.
        MASKED: Look at ``allowed``.
        COUNTED: Count the visits.
        A: A tile's side along the first axis.
        B: Along the second.
        C: Along the third.
        ROUNDS: Most rounds per visit.
    """
    tile = tl.program_id(0)
    one = tl.program_id(1)
    here = one.to(tl.int64) * (tiles_a * tiles_b * tiles_c) + tile
    if tl.load(now + here) != 0:
        # Every thread reads the mark: none may clear it before all have.
        tl.debug_barrier()
        tl.store(now + here, 0)
        tile_a = tile // (tiles_b * tiles_c)
        tile_b = tile // tiles_c % tiles_b
        tile_c = tile % tiles_c
        inner = tl.arange(0, A * B * C)
        local_a, local_b, local_c = inner // (B * C), inner // C % B, inner % C
        a, b, c = tile_a * A + local_a, tile_b * B + local_b, tile_c * C + local_c
        item = (one // sets_per_item).to(tl.int64)
        volume = depth.to(tl.int64) * height * width
        pitch = tiles_c * C + 2
        plane = (tiles_b * B + 2) * pitch
        rim: tl.constexpr = 1 if SOLID else 0
        base = distance + one.to(tl.int64) * (tiles_a * A + 2 * rim) * plane
        place = base + ((a + rim) * plane + (b + 1) * pitch + (c + 1))
        before = tl.load(place)
        # In 2-D only the middle nine of the 27 neighbours are in the plane.
        first: tl.constexpr = 0 if SOLID else 9
        last: tl.constexpr = 27 if SOLID else 18
        nearest = before
        for index in tl.static_range(first, last):
            nearest = tl.minimum(nearest, tl.load(place + jump_of(index, plane, pitch)))
        if tl.min(nearest) < float("inf"):
            inside = (a < depth) & (b < height) & (c < width)
            voxel = (a * height + b) * width + c
            if MASKED:
                gate = allowed + (one // sets_per_mask).to(tl.int64) * volume + voxel
                inside = inside & (tl.load(gate, mask=inside, other=0) != 0)
            own = image + item * CHANNELS * volume + voxel
            costs = ()
            for index in tl.static_range(first, last):
                valid = exists(index, inside, a, b, c, depth, height, width)
                length = tl.load(lengths + item * 8 + length_index(index))
                other = own + jump_of(index, height * width, width)
                cost = move_cost(
                    length, own, other, volume, valid, length_weight, step_weight, FORM, CHANNELS
                )
                costs = costs + (cost,)
            limit = tl.load(limits + one)
            current = before
            changed = 1
            rounds = 0
            while (changed != 0) & (rounds < ROUNDS):
                best = current
                for index in tl.static_range(first, last):
                    if index != 13:
                        reached = tl.load(place + jump_of(index, plane, pitch)) + costs[index - first]
                        best = tl.minimum(best, reached)
                best = tl.where(best <= limit, best, current)
                # The reduction waits for every thread, so no value is overwritten before all have read it.
                changed = tl.max((best < current).to(tl.int32))
                tl.store(place, best, mask=best < current)
                tl.debug_barrier()
                current = best
                rounds += 1
            if COUNTED:
                tl.atomic_add(visits, 1)
            lower = current < before
            if tl.max(lower.to(tl.int32)) != 0:
                low_a = tl.max((lower & (local_a == 0)).to(tl.int32))
                high_a = tl.max((lower & (local_a == A - 1)).to(tl.int32))
                low_b = tl.max((lower & (local_b == 0)).to(tl.int32))
                high_b = tl.max((lower & (local_b == B - 1)).to(tl.int32))
                low_c = tl.max((lower & (local_c == 0)).to(tl.int32))
                high_c = tl.max((lower & (local_c == C - 1)).to(tl.int32))
                beside = tl.arange(0, 32)
                next_a, next_b, next_c = beside // 9 - 1, beside // 3 % 3 - 1, beside % 3 - 1
                touched = tl.where(next_a < 0, low_a, tl.where(next_a > 0, high_a, 1))
                touched = tl.minimum(touched, tl.where(next_b < 0, low_b, tl.where(next_b > 0, high_b, 1)))
                touched = tl.minimum(touched, tl.where(next_c < 0, low_c, tl.where(next_c > 0, high_c, 1)))
                touched = tl.where(beside == 13, changed, touched)  # The rounds ran out: go on here too.
                next_a, next_b, next_c = next_a + tile_a, next_b + tile_b, next_c + tile_c
                there = (beside < 27) & (next_a >= 0) & (next_a < tiles_a)
                there = there & (next_b >= 0) & (next_b < tiles_b)
                there = there & (next_c >= 0) & (next_c < tiles_c)
                target = here - tile + (next_a * tiles_b + next_b) * tiles_c + next_c
                tl.store(later + target, 1, mask=there & (touched != 0))
