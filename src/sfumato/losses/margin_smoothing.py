"""Margin-based label smoothing: cross-entropy plus a penalty on logits that lie too far below the largest."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sfumato.checks import require_between
from sfumato.losses.base import checked_pair
from sfumato.losses.definition import Loss
from sfumato.structures import CLASSES


class MarginBasedLabelSmoothingLoss(nn.Module):
    """MbLS: ``CE + weight * mean max(0, max_j l_j - l_k - margin)`` over items, classes and voxels.

    Logits within ``margin`` of the largest one are free. With ``margin=0`` every difference is penalised.

    Args:
        weight: Factor of the penalty, 0 or above; 0 leaves the cross-entropy.
        margin: Difference of logits that is allowed, 0 or above.

    Shape:
        input: Logits, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``; the same shape, nothing is broadcast.
        output: A scalar.

    Raises:
        ShapeError: when called, if the shapes differ.
        ValueRangeError: ``weight`` or ``margin`` is negative.

    References:
        Liu et al. (2022), The devil is in the margin: margin-based label smoothing for network calibration,
        arXiv:2111.15430: weight 0.1, margin 10. The printed penalty is a sum over the
        classes, so it is this one with ``K`` times the weight.
    """

    def __init__(self, *, weight: float = 0.1, margin: float = 10.0) -> None:
        super().__init__()
        for name, value in (("weight", weight), ("margin", margin)):
            require_between(name, value, 0.0, float("inf"))
        self.weight, self.margin = weight, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of logits against a target."""
        logits, target = checked_pair(input, target)
        entropy = -(target * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
        below = logits.amax(dim=1, keepdim=True) - logits
        return entropy + self.weight * torch.relu(below - self.margin).mean()


LOSS = Loss("mbls", "MbLS", MarginBasedLabelSmoothingLoss, (CLASSES,), {"softmax": {}})
