"""Rows in blocks, and words of bits that say which blocks of a row are meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import uint64
from numba.extending import register_jitable

from sfumato.geodesic.engine.jit import compiled
from sfumato.geodesic.engine.moves import fetch_blocks
from sfumato.geodesic.engine.simd import LANES, lowest_bit
from sfumato.geodesic.engine.sweeps import AHEAD, CHANGED, ROW0
from sfumato.types import Array

# ruff: noqa: ANN001, ANN201  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"


class Blocks(NamedTuple):
    """Blocks of voxels, set by set.

    Attributes:
        order: The image's axes in the order of the rows: a row lies along the last.
        size: Voxels per bit.
        words: ``(rows, K)`` uint64; bit ``b`` stands for the voxels from ``b * size`` on.
    """

    order: tuple[int, ...]
    size: int
    words: Array

    @classmethod
    def every(cls, count: int, shape: Sequence[int]) -> Blocks:
        """Return all blocks of ``count`` sets ``(Z, Y, X)``."""
        size = -(-shape[2] // 64)
        words = np.full((shape[0] * shape[1], count), full_word(shape[2], size))
        return cls((0, 1, 2), size, words)


def full_word(width: int, size: int) -> np.uint64:
    """Return the bits of all blocks of ``size`` voxels in a row of ``width``."""
    return np.uint64((1 << -(-width // size)) - 1)


@register_jitable
def run_of(word, size, width):
    """Return first and one past the last voxel of a word's lowest run of bits, and the bits after it."""
    first = lowest_bit(word)
    gap = ~(word >> uint64(first))
    last = first + (lowest_bit(gap) if gap else 64)
    rest = uint64(0) if last >= 64 else word >> uint64(last) << uint64(last)
    return first * size, min(last * size, width), rest


@compiled
def take_changed(distance, bound, todo, target, words, k, pitch, group, scale):
    """Write changed blocks to ``target`` times ``scale``, put ``bound`` back there, and clear their bits.

    ``bound``, padded, is what ``distance`` was before; ``target`` is ``(Z, Y, X)`` float32. Column ``k``, all
    0, of ``words``, ``(rows, K)`` uint64, gets the bits. The rest is as in ``sweeps.relax``.
    """
    depth, height, width = target.shape
    for z in range(depth):
        for y in range(height):
            r = z * height + y
            word = todo[CHANGED, r]
            # The word after the last row's is 0.
            ahead = todo[CHANGED, min(r + AHEAD, depth * height)]
            fetch_blocks(distance, bound, ROW0 + (r + AHEAD) * pitch, ahead, group)
            if word == 0:
                continue
            words[r, k] = word
            todo[CHANGED, r] = 0
            row = ROW0 + r * pitch
            line = target[z, y]
            while word:
                left, right, word = run_of(word, LANES * group, width)
                # Slices, because an index that LLVM takes for negative would keep it from making vector code.
                values, before, there = (
                    distance[row + left : row + right],
                    bound[row + left : row + right],
                    line[left:right],
                )
                for x in range(len(values)):
                    there[x] = values[x] * scale
                    values[x] = before[x]
