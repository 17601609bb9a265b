"""Going through large arrays in slabs, so that temporary copies stay small."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

VOXELS = 2**20  # per slab and region


def slabs(first: Tensor, second: Tensor, lead: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut two arrays of one shape into pieces along the spatial axis that is outermost in memory.

    Args:
        first: ``(*lead, *S)``; its memory order decides the axis.
        second: The same shape.
        lead: Number of axes before the spatial ones.

    Yields:
        Views of both, together covering every voxel once; none where there is no spatial axis to cut.
    """
    axis = max(range(lead, first.ndim), key=lambda a: first.stride(a))
    length = first.shape[axis]
    across = first[(0,) * lead].numel() // max(length, 1) if first.numel() else 1
    step = max(VOXELS // max(across, 1), 1)
    for start in range(0, length, step):
        size = min(step, length - start)
        yield first.narrow(axis, start, size), second.narrow(axis, start, size)
