"""Regression losses: L1, L2, Focal-L1 and the product loss, for signed or fractional maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sfumato.checks import require_between
from sfumato.losses.base import ActivationFunction, checked_pair, reduced, require_reduction
from sfumato.losses.definition import Loss
from sfumato.structures import SIGNED


class RegressionLoss(nn.Module):
    """What the regression losses share: one value per voxel of prediction and target, then a reduction.

    Args:
        other_act: Activation applied to the input first, e.g. ``torch.tanh`` for logits.
        reduction: ``"mean"`` or ``"sum"`` over everything, or ``"none"``.

    Shape:
        input: Activated predictions, or logits with ``other_act``, ``(B, C, *S)``.
        target: ``(B, C, *S)``; the same shape, nothing is broadcast.
        output: A scalar; with ``"none"`` ``(B, C, *S)``.

    Raises:
        ShapeError: when called, if the shapes differ.
        UnknownNameError: ``reduction`` is not known.
    """

    def __init__(self, *, other_act: ActivationFunction | None = None, reduction: str = "mean") -> None:
        super().__init__()
        require_reduction(reduction)
        self.activation, self.reduction = other_act, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of a prediction against a target map."""
        return reduced(self._values(*self._pair(input, target)), self.reduction)

    def _pair(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        values, target = checked_pair(input, target)
        return (values if self.activation is None else self.activation(values)), target

    def _values(self, prediction: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError


class L1Loss(RegressionLoss):
    """Absolute error ``|S - Z|``. Arguments as :class:`RegressionLoss`."""

    def _values(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).abs()


class L2Loss(RegressionLoss):
    """Squared error ``(S - Z)^2``. Arguments as :class:`RegressionLoss`."""

    def _values(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target) ** 2


class FocalL1Loss(RegressionLoss):
    """Absolute error, weighted towards the voxels that are on the wrong side or unsure.

    ``|S - Z| w`` per voxel with ``w = |S - Z|^(gamma [S Z >= 0]) / (max(|S|, |Z|) + eps)``. No gradient
    flows through ``w``. Where ``S`` and ``Z`` are both 0 the error is 0 and so is the loss.

    Args:
        gamma: Exponent that quiets the voxels on the right side, 0 or above.
        eps: Added to the denominator, 0 or above; the paper's is 0.
        denominator: Divide by ``max(|S|, |Z|) + eps``; without it ``w = |S - Z|^gamma``, the paper's
            dagger row, for voxels on either side.
        scale: Factor on the weight; the released configuration uses 2.
        other_act: Activation applied to the input first, e.g. ``torch.tanh`` for logits.
        reduction: ``"mean"`` or ``"sum"`` over everything, or ``"none"``.

    Raises:
        ShapeError: when called, if the shapes differ.
        UnknownNameError: ``reduction`` is not known.
        ValueRangeError: ``gamma``, ``eps`` or ``scale`` is negative.

    References:
        Dang, Nguyen and Tiulpin (2024), SiNGR: brain tumor segmentation via signed normalized geodesic
        transform regression, doi:10.1007/978-3-031-72111-3_56.
    """

    def __init__(
        self,
        *,
        gamma: float = 1.0,
        eps: float = 0.0,
        denominator: bool = True,
        scale: float = 1.0,
        other_act: ActivationFunction | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(other_act=other_act, reduction=reduction)
        for name, value in (("gamma", gamma), ("eps", eps), ("scale", scale)):
            require_between(name, value, 0.0, float("inf"))
        self.gamma, self.eps, self.denominator, self.scale = gamma, eps, denominator, scale

    def _values(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).abs() * self.weight(prediction, target)

    @torch.no_grad()
    def weight(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Weight of every voxel, without a gradient."""
        gap = (prediction - target).abs()
        if not self.denominator:
            return self.scale * gap**self.gamma
        # Two signs, not a product: the product of two tiny numbers of opposite sign rounds to 0.
        same_side = torch.sign(prediction) * torch.sign(target) >= 0
        size = torch.maximum(prediction.abs(), target.abs()) + self.eps
        top = torch.where(same_side, gap**self.gamma, 1.0)
        return self.scale * top / size.clamp_min(torch.finfo(size.dtype).tiny)


class ProductLoss(RegressionLoss):
    """Product loss plus absolute error: ``-sum SZ / (sum SZ + sum Z^2 + sum S^2)`` + ``|S - Z|``.

    The sums run over the voxels of each item and channel. Where ``S`` and ``Z`` are 0 throughout, the first
    part is 0. For a fixed ``S`` the minimum lies at ``Z = S``: -1/3.

    Args:
        weight_l1: Factor of the absolute error, 0 or above.
        other_act: Activation applied to the input first, e.g. ``torch.tanh`` for logits.
        reduction: ``"mean"`` or ``"sum"`` over items and channels, or ``"none"`` for ``(B, C)``; the
            absolute error is the mean over the voxels in any case.

    Raises:
        ShapeError: when called, if the shapes differ.
        UnknownNameError: ``reduction`` is not known.
        ValueRangeError: ``weight_l1`` is negative.

    References:
        Xue et al. (2020), Shape-aware organ segmentation by predicting signed distance maps,
        doi:10.1609/aaai.v34i07.6946.
    """

    def __init__(
        self,
        *,
        weight_l1: float = 1.0,
        other_act: ActivationFunction | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(other_act=other_act, reduction=reduction)
        require_between("weight_l1", weight_l1, 0.0, float("inf"))
        self.weight_l1 = weight_l1

    def _values(self, prediction: Tensor, target: Tensor) -> Tensor:
        axes = tuple(range(2, prediction.ndim))
        shared = (prediction * target).sum(dim=axes)
        size = shared + (prediction**2).sum(dim=axes) + (target**2).sum(dim=axes)
        product = -shared / torch.where(size > 0, size, 1.0)
        return product + self.weight_l1 * (prediction - target).abs().mean(dim=axes)


L1 = Loss("l1", "L1", L1Loss)
L2 = Loss("l2", "L2", L2Loss)
# Its weight takes 0 for the boundary between the two sides, which only signed maps have.
FOCAL_L1 = Loss("focal-l1", "Focal-L1", FocalL1Loss, (SIGNED,))
# Of maps in [0, 1] too the minimum lies at Z = S: sum Z^2 + sum S^2 is at least 2 sum SZ, equal only there.
PRODUCT = Loss("product", "product", ProductLoss)
