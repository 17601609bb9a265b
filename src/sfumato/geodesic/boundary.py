"""The two exact boundaries of a region: on its own side, and on the other."""

from __future__ import annotations

import torch
from torch import Tensor


def inner_boundary(inside: Tensor, axes: int) -> Tensor:
    """Return the voxels of ``inside`` that have a face neighbour outside it; beyond the image is outside.

    Args:
        inside: Boolean, its last ``axes`` axes spatial.
        axes: Number of spatial axes.
    """
    return inside & _beside(~inside, axes, beyond=True)


def outer_boundary(inside: Tensor, axes: int) -> Tensor:
    """Return the voxels outside ``inside`` that have a face neighbour in it; arguments as above."""
    return ~inside & _beside(inside, axes, beyond=False)


def _beside(mask: Tensor, axes: int, *, beyond: bool) -> Tensor:
    """Return the voxels with a face neighbour in ``mask``, which continues past the image as ``beyond``."""
    beside = torch.zeros_like(mask)
    for axis in range(-axes, 0):
        target, flags = beside.movedim(axis, 0), mask.movedim(axis, 0)
        if beyond:
            target[:1] = target[-1:] = True
        target[1:] |= flags[:-1]
        target[:-1] |= flags[1:]
    return beside
