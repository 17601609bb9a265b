"""Neighbour-aware calibration: cross-entropy plus a pull of the logits to the classes around each voxel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.checks import require_choice, require_positive
from sfumato.errors import ValueRangeError
from sfumato.losses.cross_entropy import PenalisedCrossEntropyLoss
from sfumato.losses.definition import Loss
from sfumato.structures import CLASSES
from sfumato.types import Batch


@dataclass(kw_only=True, eq=False, repr=False)
class NeighborAwareCalibrationLoss(PenalisedCrossEntropyLoss):
    """NACL: ``CE + weight * mean |tau - l|``, ``tau`` the class shares around each voxel, ``l`` the logits.

    ``tau`` is the mean of the target over a box of ``size`` voxels a side, plain or Gaussian. Neighbours
    beyond the image do not count, so ``tau`` sums to 1 wherever the target does. The penalty is the mean over
    items, classes and voxels.

    Args:
        weight: Factor of the penalty, 0 or above; 0 leaves the cross-entropy.
        size: Side of the box in voxels, odd; 1 takes the target itself.
        kernel: ``"mean"`` or ``"gaussian"``.
        sigma: Standard deviation of the Gaussian, in voxels, above 0.
        norm: ``"l1"``, or ``"l2"`` for the squared difference.

    Raises:
        UnknownNameError: ``kernel`` or ``norm`` is not known.
        ValueRangeError: ``weight`` is negative, ``sigma`` not above 0, or ``size`` even or below 1.

    References:
        Murugesan et al. (2023), Trust your neighbours: penalty-based constraints for model calibration,
        arXiv:2303.06268. There the penalty is summed over the classes; MONAI's version averages as this one
        does, but counts zeros beyond the image.
    """

    size: int = 3
    kernel: str = "mean"
    sigma: float = 1.0
    norm: str = "l1"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("kernel", self.kernel, ("mean", "gaussian"))
        require_choice("norm", self.norm, ("l1", "l2"))
        require_positive("sigma", self.sigma)
        if self.size < 1 or self.size % 2 == 0:
            raise ValueRangeError(f"size is {self.size}: it must be odd and at least 1")

    def _penalty(self, logits: Tensor, target: Tensor) -> Tensor:
        gap = self.shares(target) - logits
        return gap.abs().mean() if self.norm == "l1" else (gap**2).mean()

    def shares(self, target: Tensor) -> Batch:
        """Compute the share of each class in every voxel's neighbourhood, ``(B, K, *S)``."""
        half = self.size // 2
        taps = torch.arange(-half, half + 1, dtype=target.dtype, device=target.device)
        taps = torch.exp(-((taps / self.sigma) ** 2) / 2) if self.kernel == "gaussian" else taps * 0 + 1
        # Both kernels are products of one factor per axis.
        for axis in range(2, target.ndim):
            inside = _weighted_sum(torch.ones_like(target[:1, :1]), taps, axis)
            target = _weighted_sum(target, taps, axis) / inside
        return target


def _weighted_sum(values: Tensor, taps: Tensor, axis: int) -> Tensor:
    """Sum up along one axis over the neighbours that exist, each times its tap."""
    half, side = len(taps) // 2, values.shape[axis]
    total = torch.zeros_like(values)
    for offset in range(-min(half, side - 1), min(half, side - 1) + 1):
        width = side - abs(offset)
        there = values.narrow(axis, max(offset, 0), width)
        total.narrow(axis, max(-offset, 0), width).add_(there * taps[offset + half])
    return total


LOSS = Loss("nacl", "NACL", NeighborAwareCalibrationLoss, (CLASSES,), {"softmax": {}})
