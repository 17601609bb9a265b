"""Cross-entropy and focal loss for targets that are distributions, not indices."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sfumato.checks import require_between
from sfumato.losses.base import checked_pair, reduced, require_reduction
from sfumato.losses.definition import Loss
from sfumato.structures import CLASSES, REGIONS


class SoftCrossEntropyLoss(nn.Module):
    """Cross-entropy against soft targets: ``-sum_c q_c log p_c`` per voxel, ``p`` the softmax of the logits.

    Its minimum over ``p`` for a fixed ``q`` lies at ``p = q``, where it equals the entropy of ``q``. With
    ``sigmoid=True`` every channel is its own yes-no question:
    ``-(q log p + (1 - q) log(1 - p))``, averaged over the channels too.

    Args:
        sigmoid: Independent channels instead of a softmax over them.
        reduction: ``"mean"`` or ``"sum"`` over items and voxels, or ``"none"``.

    Shape:
        input: Logits, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``; the same shape, nothing is broadcast.
        output: A scalar; with ``"none"`` ``(B, *S)``, or ``(B, K, *S)`` with ``sigmoid=True``.

    Raises:
        ShapeError: when called, if the shapes differ.
        UnknownNameError: ``reduction`` is not known.
    """

    def __init__(self, *, sigmoid: bool = False, reduction: str = "mean") -> None:
        super().__init__()
        require_reduction(reduction)
        self.sigmoid, self.reduction = sigmoid, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of logits against a soft target."""
        logits, target = checked_pair(input, target)
        if self.sigmoid:
            values = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        else:
            values = -(target * torch.log_softmax(logits, dim=1)).sum(dim=1)
        return reduced(values, self.reduction)


class FocalLoss(nn.Module):
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
        target: Weights in ``[0, 1]``, ``(B, K, *S)``; the same shape, nothing is broadcast.
        output: A scalar; with ``"none"`` ``(B, *S)``, or ``(B, K, *S)`` without softmax.

    Raises:
        ShapeError: when called, if the shapes differ.
        UnknownNameError: ``reduction`` is not known.
        ValueRangeError: ``gamma`` is negative.

    References:
        Lin et al. (2017), Focal loss for dense object detection, doi:10.1109/ICCV.2017.324.
    """

    def __init__(self, *, gamma: float = 2.0, use_softmax: bool = True, reduction: str = "mean") -> None:
        super().__init__()
        require_between("gamma", gamma, 0.0, float("inf"))
        require_reduction(reduction)
        self.gamma, self.use_softmax, self.reduction = gamma, use_softmax, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of logits against a soft target."""
        logits, target = checked_pair(input, target)
        if self.use_softmax:
            return reduced((target * self._term(torch.log_softmax(logits, dim=1))).sum(dim=1), self.reduction)
        yes = self._term(nn.functional.logsigmoid(logits))
        no = self._term(nn.functional.logsigmoid(-logits))
        return reduced(target * yes + (1.0 - target) * no, self.reduction)

    def _term(self, log_p: Tensor) -> Tensor:
        """``-(1 - p)^gamma log p``."""
        # 1 - p rounds to 0 for a sure prediction, and 0^(gamma - 1) in the gradient is infinite for
        # gamma below 1: the floor keeps it finite and the product, a tiny number times a tiny number, 0.
        rest = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).eps ** 2)
        return -(rest**self.gamma) * log_p


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
