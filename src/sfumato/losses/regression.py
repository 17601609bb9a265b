"""Regression losses: L1, L2, Focal-L1 and the product loss, for signed or fractional maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.activations import ActivationFunction
from sfumato.losses.base import PredictionLoss, require_not_negative
from sfumato.losses.definition import Loss
from sfumato.structures import SIGNED


class L1Loss(PredictionLoss):
    """Absolute error ``|S - Z|``. Arguments as :class:`~sfumato.losses.base.PredictionLoss`."""

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        return (input - target).abs()


class L2Loss(PredictionLoss):
    """Squared error ``(S - Z)^2``. Arguments as :class:`~sfumato.losses.base.PredictionLoss`."""

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        return (input - target) ** 2


@dataclass(kw_only=True, eq=False, repr=False)
class FocalL1Loss(PredictionLoss):
    """Absolute error, weighted towards the voxels that are on the wrong side or unsure.

    ``|S - Z| w`` per voxel with ``w = |S - Z|^(gamma [S Z >= 0]) / (max(|S|, |Z|) + eps)``. No gradient
    flows through ``w``. Where ``S`` and ``Z`` are both 0 the error is 0 and so is the loss.

    Args:
        gamma: Exponent that quiets the voxels on the right side, 0 or above.
        eps: Added to the denominator, 0 or above; the paper's is 0.
        denominator: Divide by ``max(|S|, |Z|) + eps``; without it ``w = |S - Z|^gamma``, the paper's
            dagger row, for voxels on either side.
        scale: Factor on the weight; the released configuration uses 2.
        other_act: See :class:`~sfumato.losses.base.PredictionLoss`, as for ``reduction``.

    Raises:
        ValueRangeError: ``gamma``, ``eps`` or ``scale`` is negative.

    References:
        Dang, Nguyen and Tiulpin (2024), SiNGR: brain tumor segmentation via signed normalized geodesic
        transform regression, doi:10.1007/978-3-031-72111-3_56.
    """

    gamma: float = 1.0
    eps: float = 0.0
    denominator: bool = True
    scale: float = 1.0

    def __post_init__(self, other_act: ActivationFunction | None) -> None:
        super().__post_init__(other_act)
        require_not_negative(gamma=self.gamma, eps=self.eps, scale=self.scale)

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        return (input - target).abs() * self.weight(input, target)

    @torch.no_grad()
    def weight(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compute the weight of every voxel, without a gradient."""
        gap = (prediction - target).abs()
        if not self.denominator:
            return self.scale * gap**self.gamma
        # Two signs, not a product: the product of two tiny numbers of opposite sign rounds to 0.
        same_side = torch.sign(prediction) * torch.sign(target) >= 0
        size = torch.maximum(prediction.abs(), target.abs()) + self.eps
        top = torch.where(same_side, gap**self.gamma, 1.0)
        return self.scale * top / size.clamp_min(torch.finfo(size.dtype).tiny)


@dataclass(kw_only=True, eq=False, repr=False)
class ProductLoss(PredictionLoss):
    """Product loss plus absolute error: ``-sum SZ / (sum SZ + sum Z^2 + sum S^2)`` + ``|S - Z|``.

    The sums run over the voxels of each item and channel. Where ``S`` and ``Z`` are 0 throughout, the first
    part is 0. For a fixed ``S`` the minimum lies at ``Z = S``: -1/3.

    Args:
        weight_l1: Factor of the absolute error, 0 or above.
        other_act: Activation applied to the input first, e.g. ``torch.tanh`` for logits.
        reduction: ``"mean"`` or ``"sum"`` over items and channels, or ``"none"`` for ``(B, C)``; the
            absolute error is the mean over the voxels in any case.

    Raises:
        ValueRangeError: ``weight_l1`` is negative.

    References:
        Xue et al. (2020), Shape-aware organ segmentation by predicting signed distance maps,
        doi:10.1609/aaai.v34i07.6946.
    """

    weight_l1: float = 1.0

    def __post_init__(self, other_act: ActivationFunction | None) -> None:
        super().__post_init__(other_act)
        require_not_negative(weight_l1=self.weight_l1)

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        axes = tuple(range(2, input.ndim))
        shared = (input * target).sum(dim=axes)
        size = shared + (input**2).sum(dim=axes) + (target**2).sum(dim=axes)
        product = -shared / torch.where(size > 0, size, 1.0)
        return product + self.weight_l1 * (input - target).abs().mean(dim=axes)


L1 = Loss("l1", "L1", L1Loss)
L2 = Loss("l2", "L2", L2Loss)
# Its weight takes 0 for the boundary between the two sides, which only signed maps have.
FOCAL_L1 = Loss("focal-l1", "Focal-L1", FocalL1Loss, (SIGNED,))
# Of maps in [0, 1] too the minimum lies at Z = S: sum Z^2 + sum S^2 is at least 2 sum SZ, equal only there.
PRODUCT = Loss("product", "product", ProductLoss)
