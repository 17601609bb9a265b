"""Neighbours' votes on the GPU, in Triton; the definition is ``sfumato.labels.svls.mixed_labels``."""

from __future__ import annotations

import triton
import triton.language as tl

# ruff: noqa: ANN001, ANN201  # Compiled code: its types are Triton's.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"


@triton.jit(do_not_specialize=("depth", "height", "width", "classes", "count"))
def vote_neighbours(
    labels, out, offsets, shares, depth, height, width, classes, count,
    BLOCK: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    """Mix half each voxel's own class with half its neighbours' by weight; the border continues the image.

    The grid is (blocks of voxels, groups of classes), ``BLOCK`` voxels and ``CLASSES`` classes per program.
    Every output value is written once. ``labels`` is ``(depth, height, width)`` int32, ``out``
    ``(classes, depth, height, width)`` float32, ``offsets`` ``(count, 3)`` int32, and ``shares`` ``(count,)``
    float32, summing to one half.
    """
    volume = depth * height * width
    voxel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = (voxel >= 0) & (voxel < volume)  # Below 0: the last block of nearly 2^31 voxels.
    a, b, c = voxel // (height * width), voxel // width % height, voxel % width
    own = tl.load(labels + voxel, mask=inside, other=0)
    which = tl.program_id(1) * CLASSES + tl.arange(0, CLASSES)
    votes = tl.where(own[None, :] == which[:, None], 0.5, 0.0)
    alone = inside
    for index in range(count):
        other_a = tl.minimum(tl.maximum(a + tl.load(offsets + 3 * index), 0), depth - 1)
        other_b = tl.minimum(tl.maximum(b + tl.load(offsets + 3 * index + 1), 0), height - 1)
        other_c = tl.minimum(tl.maximum(c + tl.load(offsets + 3 * index + 2), 0), width - 1)
        other = tl.load(labels + (other_a * height + other_b) * width + other_c, mask=inside, other=0)
        votes += tl.where(other[None, :] == which[:, None], tl.load(shares + index), 0.0)
        alone = alone & (other == own)
    # Rounded sums would not be exact where all neighbours agree.
    plain = tl.where(own[None, :] == which[:, None], 1.0, 0.0)
    target = out + which[:, None].to(tl.int64) * volume + voxel[None, :]
    tl.store(
        target, tl.where(alone[None, :], plain, votes), mask=inside[None, :] & (which[:, None] < classes)
    )
