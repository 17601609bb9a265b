"""One block's moves: those from another row, and those within its own."""

from __future__ import annotations

from numba import uint64
from numba.extending import register_jitable

from sfumato.geodesic.engine.costs import edge, fetch_images, is_cheap, least_edge
from sfumato.geodesic.engine.simd import (
    LANES,
    add,
    below,
    fetch,
    from_left,
    from_right,
    load,
    lower,
    lowest_bit,
    splat,
)

# ruff: noqa: ANN001, ANN201  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"


@register_jitable
def pull(distance, images, cost, i, j, straight, diagonal, best):
    """Return the best of ``best`` and the three moves to block ``i`` from the row whose same block is ``j``.

    ``straight`` and ``diagonal`` are the moves' lengths, and their least costs, which may rule them out.
    """
    before, here, after = load(distance, j - 1), load(distance, j), load(distance, j + 1)
    if not is_cheap(cost):
        bound = lower(add(here, straight[1]), add(lower(before, after), diagonal[1]))
        if not below(bound, best):
            return best
    best = lower(add(here, edge(cost, images, i, j, straight[0])), best)
    best = lower(add(before, edge(cost, images, i, j - 1, diagonal[0])), best)
    return lower(add(after, edge(cost, images, i, j + 1, diagonal[0])), best)


@register_jitable
def move(cost, length):
    """Make what a move takes: a length in every lane, and what such a move costs at least."""
    lanes = splat(length)
    return lanes, least_edge(cost, lanes)


@register_jitable
def fetch_blocks(distance, others, row, blocks, group):
    """Have the blocks of a row whose bits are set brought into the cache, of ``others`` too.

    ``others`` is a padded array, or a tuple of channels.
    """
    while blocks:
        g = lowest_bit(blocks)
        blocks ^= uint64(1) << uint64(g)
        fetch(distance, row + LANES * g * group)
        fetch_images(others, row + LANES * g * group)


@register_jitable
def run_within(distance, images, cost, step, i, best):
    """Run the moves within block ``i``, and those from the blocks left and right of it, to rest."""
    left, right = load(distance, i - LANES), load(distance, i + LANES)
    from_before = edge(cost, images, i, i - 1, step)
    from_after = edge(cost, images, i, i + 1, step)
    # A NaN loses only as the candidate: the two moves are therefore tried one after the other.
    best = lower(
        add(from_right(right, best), from_after), lower(add(from_left(left, best), from_before), best)
    )
    better = lower(
        add(from_right(right, best), from_after), lower(add(from_left(left, best), from_before), best)
    )
    while below(better, best):
        best = better
        better = lower(
            add(from_right(right, best), from_after), lower(add(from_left(left, best), from_before), best)
        )
    return best
