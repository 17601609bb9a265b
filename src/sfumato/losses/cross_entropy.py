"""Cross-entropy and focal loss for targets that are distributions, not indices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfumato.losses.base import ReducedLoss, checked_pair, require_not_negative
from sfumato.losses.definition import Loss
from sfumato.structures import CLASSES, REGIONS


@dataclass(kw_only=True, eq=False, repr=False)
class SoftCrossEntropyLoss(ReducedLoss):
    """Cross-entropy against soft targets: ``-sum_c q_c log p_c`` per voxel, ``p`` the softmax of the logits.

    Its minimum over ``p`` for a fixed ``q`` lies at ``p = q``, where it equals the entropy of ``q``. With
    ``sigmoid=True`` every channel is its own yes-no question:
    ``-(q log p + (1 - q) log(1 - p))``, averaged over the channels too.

    Args:
        sigmoid: Independent channels instead of a softmax over them.
        reduction: ``"mean"`` or ``"sum"`` over items and voxels, or ``"none"``.

    Shape:
        input: Logits, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``.
        output: A scalar; with ``"none"`` ``(B, *S)``, or ``(B, K, *S)`` with ``sigmoid=True``.
    """

    sigmoid: bool = False

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        if self.sigmoid:
            return nn.functional.binary_cross_entropy_with_logits(input, target, reduction="none")
        return -(target * torch.log_softmax(input, dim=1)).sum(dim=1)


@dataclass(kw_only=True, eq=False, repr=False)
class FocalLoss(ReducedLoss):
    """Focal loss: ``-sum_c q_c (1 - p_c)^gamma log p_c`` per voxel, ``p`` the softmax of the logits.

    With ``gamma=0`` it is the cross-entropy. For ``gamma > 0`` and a soft ``q`` its minimum over ``p`` is in
    general not at ``p = q``: of two classes, ``p`` is flatter. With ``use_softmax=False`` every
    channel is its own yes-no question: ``-(q (1 - p)^gamma log p + (1 - q) p^gamma log(1 - p))``.

    Args:
        gamma: Exponent that quiets the voxels already predicted well, 0 or above.
        use_softmax: Softmax over the channels; otherwise a sigmoid per channel.
        reduction: ``"mean"`` or ``"sum"`` over items and voxels (and channels, without softmax), or
            ``"none"``.

    Shape:
        input: Logits, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``.
        output: A scalar; with ``"none"`` ``(B, *S)``, or ``(B, K, *S)`` without softmax.

    Raises:
        ValueRangeError: ``gamma`` is negative.

    References:
        Lin et al. (2017), Focal loss for dense object detection, doi:10.1109/ICCV.2017.324.
    """

    gamma: float = 2.0
    use_softmax: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_not_negative(gamma=self.gamma)

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        if self.use_softmax:
            return (target * self._term(torch.log_softmax(input, dim=1))).sum(dim=1)
        yes = self._term(nn.functional.logsigmoid(input))
        no = self._term(nn.functional.logsigmoid(-input))
        return target * yes + (1.0 - target) * no

    def _term(self, log_p: Tensor) -> Tensor:
        """Compute ``-(1 - p)^gamma log p``."""
        # 1 - p rounds to 0 for a sure prediction, and 0^(gamma - 1) in the gradient is infinite for
        # gamma below 1: the floor keeps it finite and the product, a tiny number times a tiny number, 0.
        rest = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).eps ** 2)
        return -(rest**self.gamma) * log_p


@dataclass(kw_only=True, eq=False, repr=False)
class PenalisedCrossEntropyLoss(nn.Module):
    """Cross-entropy of classes plus ``weight`` times a penalty on the logits.

    Args:
        weight: Factor of the penalty, 0 or above; 0 leaves the cross-entropy.

    Shape:
        input: Logits, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``.
        output: A scalar.

    Raises:
        ShapeError: when called, if the shapes differ: nothing is broadcast.
        ValueRangeError: ``weight`` is negative.
    """

    weight: float = 0.1

    def __post_init__(self) -> None:
        super().__init__()
        require_not_negative(weight=self.weight)
        self.cross_entropy = SoftCrossEntropyLoss()

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of logits against a target of the same shape."""
        logits, target = checked_pair(input, target)
        entropy: Tensor = self.cross_entropy(logits, target)
        return entropy + self.weight * self._penalty(logits, target)

    def _penalty(self, logits: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError


SOFT_CROSS_ENTROPY = Loss(
    "soft-cross-entropy",
    "soft cross-entropy",
    SoftCrossEntropyLoss,
    (CLASSES, REGIONS),
    {"softmax": {}, "sigmoid": {"sigmoid": True}},
)
FOCAL = Loss(
    "focal", "focal", FocalLoss, (CLASSES, REGIONS), {"softmax": {}, "sigmoid": {"use_softmax": False}}
)
