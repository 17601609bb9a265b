"""Pairs of region masks and maps: checking them, counting where they agree, going through them in slabs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_same_shape
from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.types import ArrayLike

_SLAB = 2**20  # voxels per slab and region


@dataclass(frozen=True)
class Counts:
    """Voxels per region, int64, shape ``(R)`` or ``(B, R)``."""

    both: Tensor  # true positives
    prediction_only: Tensor  # false positives
    reference_only: Tensor  # false negatives
    neither: Tensor  # true negatives

    @property
    def prediction(self) -> Tensor:
        """Voxels of the prediction."""
        return self.both + self.prediction_only

    @property
    def reference(self) -> Tensor:
        """Voxels of the reference."""
        return self.both + self.reference_only


def count_voxels(pred: ArrayLike, ref: ArrayLike, *, spatial_axes: int | None = None) -> Counts:
    """Count, per region, the voxels in both masks, in one of them, and in neither.

    Arguments and errors as :func:`~sfumato.metrics.dice`; nothing is binarised in silence.
    """
    pred, ref = mask("pred", pred), mask("ref", ref)
    require_same_shape("pred", pred.shape, "ref", ref.shape)
    lead = leading_axes(pred, spatial_axes)
    both = _per_region(lambda one, two: one & two, lead, pred, ref)
    in_pred, in_ref = voxels(pred, lead), voxels(ref, lead)
    return Counts(
        both=both,
        prediction_only=in_pred - both,
        reference_only=in_ref - both,
        neither=math.prod(pred.shape[lead:]) - in_pred - in_ref + both,
    )


def voxels(masks: Tensor, lead: int) -> Tensor:
    """Count the True voxels of each mask, int64, with ``lead`` axes before the spatial ones."""
    return _per_region(lambda one: one, lead, masks)


def _per_region(combine: Callable[..., Tensor], lead: int, *masks: Tensor) -> Tensor:
    """Count region by region: all at once, torch copies the masks to eight bytes a voxel first."""
    rows = zip(*(array.flatten(0, lead - 1) for array in masks), strict=True)
    counts = [torch.count_nonzero(combine(*row)) for row in rows]
    shape = masks[0].shape[:lead]
    return torch.stack(counts).reshape(shape) if counts else masks[0].new_zeros(shape, dtype=torch.int64)


def mask(name: str, array: ArrayLike) -> Tensor:
    """Return ``array`` as a boolean tensor; refuse fractions and values other than 0 and 1."""
    tensor = as_tensor(array)
    if tensor.dtype == torch.bool:
        return tensor
    if tensor.is_floating_point() or tensor.is_complex():
        raise DTypeError(
            f"{name} has dtype {tensor.dtype}: hard-mask metrics take booleans. Threshold it yourself, "
            "or use soft_dice, soft_iou or mean_squared_error for soft predictions"
        )
    if tensor.numel() and (int(tensor.min()) < 0 or int(tensor.max()) > 1):
        raise ValueRangeError(
            f"{name} holds values {int(tensor.min())} .. {int(tensor.max())}: a mask holds 0 and 1 only, "
            "one mask per region"
        )
    return tensor.bool()


def leading_axes(array: Tensor, spatial_axes: int | None) -> int:
    """Return how many axes come before the spatial ones: 1 for ``(R, *S)``, 2 for ``(B, R, *S)``.

    Without ``spatial_axes``, three axes are ``(R, H, W)`` and five ``(B, R, D, H, W)``; four may be either
    ``(R, D, H, W)`` or ``(B, R, H, W)`` and are refused.
    """
    if spatial_axes is None and array.ndim == 4:
        raise ShapeError(
            f"shape {tuple(array.shape)} may be regions of a volume (R, D, H, W) or a batch of 2-D regions "
            "(B, R, H, W): say spatial_axes=3 for regions of a volume, spatial_axes=2 for a batch of 2-D "
            "regions"
        )
    axes = spatial_axes if spatial_axes is not None else min(array.ndim - 1, 3)
    lead = array.ndim - axes
    if axes < 1 or lead not in (1, 2) or array.ndim < 2:
        raise ShapeError(
            f"masks have shape {tuple(array.shape)} with {axes} spatial axes: "
            "give (R, *S) or (B, R, *S), one mask per region; a lone mask needs a leading axis of 1"
        )
    return lead


def slabs(first: Tensor, second: Tensor, lead: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Cut two arrays of one shape into pieces along the first one's spatial axis that is outermost in memory.

    Views of both, so that temporary copies stay small, together cover every voxel of ``(*lead, *S)`` once.
    """
    axis = max(range(lead, first.ndim), key=lambda a: first.stride(a))
    length = first.shape[axis]
    across = first[(0,) * lead].numel() // max(length, 1) if first.numel() else 1
    step = max(_SLAB // max(across, 1), 1)
    for start in range(0, length, step):
        size = min(step, length - start)
        yield first.narrow(axis, start, size), second.narrow(axis, start, size)
