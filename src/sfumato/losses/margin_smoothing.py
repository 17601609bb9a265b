"""Margin-based label smoothing: cross-entropy plus a penalty on logits that lie too far below the largest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.losses.base import require_not_negative
from sfumato.losses.cross_entropy import PenalisedCrossEntropyLoss
from sfumato.losses.definition import Loss
from sfumato.structures import CLASSES


@dataclass(kw_only=True, eq=False, repr=False)
class MarginBasedLabelSmoothingLoss(PenalisedCrossEntropyLoss):
    """MbLS: ``CE + weight * mean max(0, max_j l_j - l_k - margin)`` over items, classes and voxels.

    Logits within ``margin`` of the largest one are free. With ``margin=0`` every difference is penalised.

    Args:
        weight: Factor of the penalty, 0 or above; 0 leaves the cross-entropy.
        margin: Difference of logits that is allowed, 0 or above.

    Raises:
        ValueRangeError: ``weight`` or ``margin`` is negative.

    References:
        Liu et al. (2022), The devil is in the margin: margin-based label smoothing for network calibration,
        arXiv:2111.15430: weight 0.1, margin 10. The printed penalty is a sum over the
        classes, so it is this one with ``K`` times the weight.
    """

    margin: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_not_negative(margin=self.margin)

    def _penalty(self, logits: Tensor, target: Tensor) -> Tensor:
        below = logits.amax(dim=1, keepdim=True) - logits
        return torch.relu(below - self.margin).mean()


LOSS = Loss("mbls", "MbLS", MarginBasedLabelSmoothingLoss, (CLASSES,), {"softmax": {}})
