"""Overlap losses: Dice, Dice plus cross-entropy, Dice semimetric, Jaccard metric.

Sums run over the voxels of each item and class, or with ``batch=True`` over the items too. For a fixed soft
target ``q`` the losses differ in the ``p`` that they favour, and only some of them favour ``q`` itself:

=====================================  ===========================================================
loss                                   minimum over ``p`` in ``[0, 1]`` for a fixed soft ``q``
=====================================  ===========================================================
``DiceLoss(denominator="sum")``        hard: 1 where ``q > D / 2``, ``D`` the Dice reached; above 0
``DiceLoss(denominator="squares")``    ``p = q``; 0
``DiceSemimetricLoss``                 ``p = q``; 0
``JaccardMetricLoss``, both forms      ``p = q``; 0
=====================================  ===========================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfumato.activations import ActivationFunction
from sfumato.checks import require_choice
from sfumato.errors import InputError
from sfumato.losses.base import ChannelLoss, require_not_negative
from sfumato.losses.cross_entropy import SoftCrossEntropyLoss
from sfumato.losses.definition import Loss
from sfumato.structures import CLASSES, REGIONS


@dataclass(kw_only=True, eq=False, repr=False)
class OverlapLoss(ChannelLoss):
    """What the overlap losses share: ``1 - (agreement + smooth_nr) / (size + smooth_dr)``.

    Of logits it needs ``softmax=True`` or ``sigmoid=True``; the rest has defaults.

    One fraction per item and class. A class that neither ``p`` nor ``q`` has is 0/0 without smoothing; its
    loss is 0 then, as it is with two equal values above 0.

    Args:
        include_background: See :class:`~sfumato.losses.base.ChannelLoss`, as for ``sigmoid``, ``softmax``,
            ``other_act`` and ``reduction``.
        smooth_nr: Added above the fraction's bar, 0 or above, far below one voxel.
        smooth_dr: Added below it. With two different values a perfect prediction has a loss other than 0.
        batch: Sum over the items of the batch as well, as if they were one image.

    Shape:
        input: Probabilities, or logits with one of the activations, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``.
        output: A scalar; with ``"none"`` ``(B, K)``, or ``(K,)`` with ``batch=True``.

    Raises:
        ValueRangeError: ``smooth_nr`` or ``smooth_dr`` is negative.
    """

    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5
    batch: bool = False

    def __post_init__(self, other_act: ActivationFunction | None) -> None:
        super().__post_init__(other_act)
        require_not_negative(smooth_nr=self.smooth_nr, smooth_dr=self.smooth_dr)

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        agreement, size = self._overlap(input, target)
        above, below = agreement + self.smooth_nr, size + self.smooth_dr
        empty = below <= 0
        return torch.where(empty, 0.0, 1.0 - above / torch.where(empty, 1.0, below))

    def _overlap(self, probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _sum(self, values: Tensor) -> Tensor:
        """Sum up over the voxels, and over the items with ``batch=True``."""
        axes = tuple(range(2, values.ndim))
        return values.sum(dim=(0, *axes) if self.batch else axes)


@dataclass(kw_only=True, eq=False, repr=False)
class DiceLoss(OverlapLoss):
    """Dice loss: ``1 - 2 sum pq / size``, with ``size`` one of two denominators.

    ``denominator="sum"``: ``sum p + sum q``. It rewards a hard prediction even where ``q`` is soft: for a
    fixed ``q`` the best ``p`` is 1 where ``q`` exceeds half the Dice reached and 0 elsewhere.
    ``denominator="squares"``: ``sum p^2 + sum q^2``. The loss is then
    ``sum (p - q)^2 / (sum p^2 + sum q^2)``, 0 exactly at ``p = q``.

    Args:
        denominator: ``"sum"`` or ``"squares"``.
        include_background: See :class:`OverlapLoss`, as for the other arguments.

    References:
        Milletari, Navab and Ahmadi (2016), V-Net: fully convolutional neural networks for volumetric medical
        image segmentation, doi:10.1109/3DV.2016.79 (the squared denominator).
    """

    denominator: str = "sum"

    def __post_init__(self, other_act: ActivationFunction | None) -> None:
        super().__post_init__(other_act)
        require_choice("denominator", self.denominator, ("sum", "squares"))

    def _overlap(self, probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        size = probs + target if self.denominator == "sum" else probs**2 + target**2
        return 2.0 * self._sum(probs * target), self._sum(size)


@dataclass(kw_only=True, eq=False, repr=False)
class DiceSemimetricLoss(OverlapLoss):
    """Dice semimetric loss: ``1 - (|p| + |q| - |p - q|) / (|p| + |q|)``, norms L1.

    For hard targets and predictions it is the Dice loss; for soft ones it is 0 exactly at ``p = q``.
    Arguments as :class:`OverlapLoss`.

    References:
        Wang et al. (2023), Dice semimetric losses: optimizing the Dice score with soft labels,
        doi:10.1007/978-3-031-43898-1_46.
    """

    def _overlap(self, probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        size = self._sum(probs.abs() + target.abs())
        return size - self._sum((probs - target).abs()), size


@dataclass(kw_only=True, eq=False, repr=False)
class JaccardMetricLoss(OverlapLoss):
    """Jaccard metric loss, 0 exactly at ``p = q`` for soft targets as well.

    ``form="l1"``: ``1 - (|p| + |q| - |p - q|) / (|p| + |q| + |p - q|)``.
    ``form="product"``: ``1 - sum pq / (sum pq + |p - q|)``. Norms L1. For hard targets and predictions both
    are the Jaccard loss.

    Args:
        form: ``"l1"`` or ``"product"``.
        include_background: See :class:`OverlapLoss`, as for the other arguments.

    References:
        Wang and Blaschko (2023), Jaccard metric losses: optimizing the Jaccard index with soft labels,
        arXiv:2302.05666.
    """

    form: str = "l1"

    def __post_init__(self, other_act: ActivationFunction | None) -> None:
        super().__post_init__(other_act)
        require_choice("form", self.form, ("l1", "product"))

    def _overlap(self, probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        gap = self._sum((probs - target).abs())
        if self.form == "product":
            shared = self._sum(probs * target)
            return shared, shared + gap
        size = self._sum(probs.abs() + target.abs())
        return size - gap, size + gap


@dataclass(kw_only=True, eq=False, repr=False)
class DiceCELoss(nn.Module):
    """Dice loss plus cross-entropy, both on one activation of the logits.

    ``lambda_dice dice + lambda_ce ce``. With ``softmax=True`` the cross-entropy is over the classes, with
    ``sigmoid=True`` it is the binary one of every channel; the other arguments have defaults.

    Args:
        include_background: Count channel 0 in the Dice part; the cross-entropy always does.
        sigmoid: Independent channels.
        softmax: One distribution over the channels. Exactly one of the two must be chosen.
        denominator: Of the Dice part, ``"sum"`` or ``"squares"``.
        smooth_nr: Of the Dice part, as ``smooth_dr`` and ``batch``.
        lambda_dice: Weight of the Dice part.
        lambda_ce: Weight of the cross-entropy.

    Shape:
        input: Logits, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``.
        output: A scalar.

    Raises:
        InputError: not exactly one of ``sigmoid`` and ``softmax`` is chosen.
    """

    include_background: bool = True
    sigmoid: bool = False
    softmax: bool = False
    denominator: str = "sum"
    smooth_nr: float = 1e-5
    smooth_dr: float = 1e-5
    batch: bool = False
    lambda_dice: float = 1.0
    lambda_ce: float = 1.0

    def __post_init__(self) -> None:
        super().__init__()
        if self.sigmoid == self.softmax:
            raise InputError("DiceCELoss takes logits: choose exactly one of sigmoid=True and softmax=True")
        self.dice = DiceLoss(
            include_background=self.include_background,
            sigmoid=self.sigmoid,
            softmax=self.softmax,
            denominator=self.denominator,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
            batch=self.batch,
        )
        self.cross_entropy = SoftCrossEntropyLoss(sigmoid=self.sigmoid)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of logits against a soft target."""
        dice: Tensor = self.dice(input, target)
        entropy: Tensor = self.cross_entropy(input, target)
        return self.lambda_dice * dice + self.lambda_ce * entropy


DICE = Loss("dice", "Dice", DiceLoss, (CLASSES, REGIONS))
DICE_SEMIMETRIC = Loss("dice-semimetric", "Dice semimetric", DiceSemimetricLoss, (CLASSES, REGIONS))
JACCARD_METRIC = Loss("jaccard-metric", "Jaccard metric", JaccardMetricLoss, (CLASSES, REGIONS))
DICE_CE = Loss(
    "dice-ce",
    "Dice + cross-entropy",
    DiceCELoss,
    (CLASSES, REGIONS),
    {"softmax": {"softmax": True}, "sigmoid": {"sigmoid": True}},
)
