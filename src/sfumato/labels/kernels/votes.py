"""Weighted votes of each voxel's neighbours over a label map, every output value written once.

Label maps are constant nearly everywhere. A first pass marks, row by row, where the box around a voxel holds
more than one class; the second writes plain one-hot rows and counts votes only at marked voxels.

The definition is ``sfumato.labels.svls.mixed_labels``.
"""

from __future__ import annotations

import numpy as np
import torch
from numba.extending import register_jitable
from torch import Tensor

from sfumato.geodesic.cpu import threads_for
from sfumato.geodesic.engine.jit import compiled
from sfumato.geodesic.engine.solve import run_side_by_side
from sfumato.geodesic.gpu.solve import current, require_countable
from sfumato.types import Array

# ruff: noqa: ANN001, ANN202  # Compiled code: its types are Numba's, chosen at the call.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

_PLANES = 4  # Planes that a thread works on at a time.


def voted_labels(
    labels: Array, num_classes: int, offsets: Array, weights: Array, threads: int | None = None
) -> Array:
    """Mix half each voxel's own class with half its neighbours' by weight; the border continues the image.

    Args:
        labels: ``(Z, Y, X)`` in ``0 .. num_classes - 1``, of an integer type.
        num_classes: Number of classes ``K``.
        offsets: ``(N, 3)`` int64, symmetric about 0 and without it: a box around the voxel.
        weights: ``(N,)`` float64 with a sum above 0.
        threads: As in ``geodesic_distance``; the result is the same bits.

    Returns:
        ``(K, Z, Y, X)`` float32; exactly one-hot where the box holds one class.
    """
    small = np.ascontiguousarray(labels, dtype=np.uint8 if num_classes <= 256 else np.int32)
    # Zeros from the system cost nothing until they are written to.
    out = np.zeros((num_classes, *small.shape), np.float32)
    if small.size == 0:
        return out
    radii = tuple(int(radius) for radius in np.abs(offsets).max(axis=0))
    share = np.asarray(weights) / np.sum(weights) / 2

    def work(part: int) -> None:
        planes = (part * _PLANES, min((part + 1) * _PLANES, len(small)))
        _vote(small, out, offsets, share, radii, planes)

    run_side_by_side(work, -(-len(small) // _PLANES), threads_for(threads))
    return out


@register_jitable
def _count(labels, out, offsets, share, votes, z, y, x):
    """Write the weights of one voxel, from the votes around it; ``votes`` comes and goes as zeros."""
    depth, height, width = labels.shape
    own = labels[z, y, x]
    votes[own] += 0.5
    alone = True
    for n in range(len(share)):
        w = min(max(z + offsets[n, 0], 0), depth - 1)
        v = min(max(y + offsets[n, 1], 0), height - 1)
        u = min(max(x + offsets[n, 2], 0), width - 1)
        votes[labels[w, v, u]] += share[n]
        alone = alone and labels[w, v, u] == own
    if alone:  # The one-hot values are there, and rounded sums would not be exact.
        votes[own] = 0
        return
    for c in range(len(votes)):
        if votes[c] != 0:
            out[c, z, y, x] = np.float32(votes[c])
            votes[c] = 0


@compiled
def _vote(labels, out, offsets, share, radii, planes):
    """Write the planes given: one-hot rows, then votes where a box holds more than one class."""
    depth, height, width = labels.shape
    mixed = np.empty(width, labels.dtype)
    votes = np.zeros(len(out))
    for z in range(planes[0], planes[1]):
        for y in range(height):
            row = labels[z, y]
            # Where a row of the box differs from the middle one at the same place: bits other than 0.
            for x in range(width):
                mixed[x] = 0
            for w in range(max(z - radii[0], 0), min(z + radii[0] + 1, depth)):
                for v in range(max(y - radii[1], 0), min(y + radii[1] + 1, height)):
                    other = labels[w, v]
                    for x in range(width):
                        mixed[x] |= other[x] ^ row[x]
            # A step along the row counts at the voxel before it.
            for x in range(width - 1):
                mixed[x] |= row[x + 1] ^ row[x]
            some = mixed[0]
            for x in range(width):
                some |= mixed[x]
            if some == 0:
                target = out[row[0], z, y]
                for x in range(width):
                    target[x] = np.float32(1)
                continue
            for x in range(width):
                out[row[x], z, y, x] = np.float32(1)
            done = 0
            for middle in range(width):
                if mixed[middle] != 0:
                    until = min(middle + radii[2] + 1, width)
                    for x in range(max(middle - radii[2], done), until):
                        _count(labels, out, offsets, share, votes, z, y, x)
                    done = until


def device_votes(labels: Tensor, num_classes: int, offsets: Tensor, weights: Tensor) -> Tensor:
    """Compute :func:`voted_labels` on the device of ``labels``; arguments and result as there, in torch.

    Raises:
        ValueRangeError: more than ``2^31 - 1`` voxels.
    """
    # Triton is imported only when a tensor on a GPU comes.
    from sfumato.labels.kernels import triton_votes

    require_countable(labels.shape)
    out = torch.empty((num_classes, *labels.shape), dtype=torch.float32, device=labels.device)
    if labels.numel() == 0:
        return out
    share = (weights / weights.sum() / 2).to(torch.float32)
    block = 512
    together = min(8, 1 << (num_classes - 1).bit_length())
    with current(labels):
        triton_votes.vote_neighbours[(-(-labels.numel() // block), -(-num_classes // together))](
            labels.to(torch.int32).contiguous(), out, offsets.to(labels.device, torch.int32).contiguous(),
            share.to(labels.device), *labels.shape, num_classes, len(offsets), BLOCK=block, CLASSES=together,
        )  # fmt: skip
    return out
