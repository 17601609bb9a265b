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

import torch
from torch import Tensor, nn

from sfumato.checks import require_between, require_choice
from sfumato.errors import InputError, ShapeError
from sfumato.losses.base import (
    ActivationFunction,
    checked_pair,
    chosen_activation,
    reduced,
    require_reduction,
)
from sfumato.losses.cross_entropy import SoftCrossEntropyLoss
from sfumato.losses.definition import Loss
from sfumato.structures import CLASSES, REGIONS


class OverlapLoss(nn.Module):
    """What the overlap losses share: ``1 - (agreement + smooth_nr) / (size + smooth_dr)``.

    One fraction per item and class. A class that neither ``p`` nor ``q`` has is 0/0 without smoothing; its
    loss is 0 then, as it is with two equal values above 0.

    Args:
        include_background: Count channel 0 as well.
        sigmoid: Apply a sigmoid to the input first.
        softmax: Apply a softmax over the channels first.
        other_act: Apply this activation first.
        smooth_nr: Added above the fraction's bar, 0 or above, far below one voxel.
        smooth_dr: Added below it. With two different values a perfect prediction has a loss other than 0.
        batch: Sum over the items of the batch as well, as if they were one image.
        reduction: ``"mean"`` or ``"sum"`` over items and classes, or ``"none"``.

    Shape:
        input: Probabilities, or logits with one of the activations, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``; the same shape, nothing is broadcast.
        output: A scalar; with ``"none"`` ``(B, K)``, or ``(K,)`` with ``batch=True``.

    Raises:
        InputError: more than one activation is asked for.
        ShapeError: when called, if the shapes differ, or if only the background is there to be left out.
        UnknownNameError: ``reduction`` or ``form`` is not known.
        ValueRangeError: ``smooth_nr`` or ``smooth_dr`` is negative.
    """

    def __init__(
        self,
        *,
        include_background: bool = True,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: ActivationFunction | None = None,
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        require_reduction(reduction)
        require_between("smooth_nr", smooth_nr, 0.0, float("inf"))
        require_between("smooth_dr", smooth_dr, 0.0, float("inf"))
        self.activation = chosen_activation(sigmoid=sigmoid, softmax=softmax, other_act=other_act)
        self.include_background, self.batch, self.reduction = include_background, batch, reduction
        self.smooth_nr, self.smooth_dr = smooth_nr, smooth_dr

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of a prediction against a soft target."""
        probs, target = checked_pair(input, target)
        if self.activation is not None:
            probs = self.activation(probs)
        if not self.include_background:
            if probs.shape[1] == 1:
                raise ShapeError("include_background=False, but the input has no channel besides channel 0")
            probs, target = probs[:, 1:], target[:, 1:]
        agreement, size = self._overlap(probs, target)
        above, below = agreement + self.smooth_nr, size + self.smooth_dr
        empty = below <= 0
        loss = torch.where(empty, 0.0, 1.0 - above / torch.where(empty, 1.0, below))
        return reduced(loss, self.reduction)

    def _overlap(self, probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _sum(self, values: Tensor) -> Tensor:
        """Sum over the voxels, and over the items with ``batch=True``."""
        axes = tuple(range(2, values.ndim))
        return values.sum(dim=(0, *axes) if self.batch else axes)


class DiceLoss(OverlapLoss):
    """Dice loss: ``1 - 2 sum pq / size``, with ``size`` one of two denominators.

    ``denominator="sum"``: ``sum p + sum q``. It rewards a hard prediction even where ``q`` is soft: for a
    fixed ``q`` the best ``p`` is 1 where ``q`` exceeds half the Dice reached and 0 elsewhere.
    ``denominator="squares"``: ``sum p^2 + sum q^2``. The loss is then
    ``sum (p - q)^2 / (sum p^2 + sum q^2)``, 0 exactly at ``p = q``.

    Args:
        denominator: ``"sum"`` or ``"squares"``.
        include_background: See :class:`OverlapLoss`, as for the other arguments.
        sigmoid: Apply a sigmoid to the input first.
        softmax: Apply a softmax over the channels first.
        other_act: Apply this activation first.
        smooth_nr: Added above the fraction's bar.
        smooth_dr: Added below it.
        batch: Sum over the items of the batch as well.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    References:
        Milletari, Navab and Ahmadi (2016), V-Net: fully convolutional neural networks for volumetric medical
        image segmentation, doi:10.1109/3DV.2016.79 (the squared denominator).
    """

    def __init__(
        self,
        *,
        denominator: str = "sum",
        include_background: bool = True,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: ActivationFunction | None = None,
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            include_background=include_background,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            batch=batch,
            reduction=reduction,
        )
        require_choice("denominator", denominator, ("sum", "squares"))
        self.denominator = denominator

    def _overlap(self, probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        size = probs + target if self.denominator == "sum" else probs**2 + target**2
        return 2.0 * self._sum(probs * target), self._sum(size)


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


class JaccardMetricLoss(OverlapLoss):
    """Jaccard metric loss, 0 exactly at ``p = q`` for soft targets as well.

    ``form="l1"``: ``1 - (|p| + |q| - |p - q|) / (|p| + |q| + |p - q|)``.
    ``form="product"``: ``1 - sum pq / (sum pq + |p - q|)``. Norms L1. For hard targets and predictions both
    are the Jaccard loss.

    Args:
        form: ``"l1"`` or ``"product"``.
        include_background: See :class:`OverlapLoss`, as for the other arguments.
        sigmoid: Apply a sigmoid to the input first.
        softmax: Apply a softmax over the channels first.
        other_act: Apply this activation first.
        smooth_nr: Added above the fraction's bar.
        smooth_dr: Added below it.
        batch: Sum over the items of the batch as well.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    References:
        Wang and Blaschko (2023), Jaccard metric losses: optimizing the Jaccard index with soft labels,
        arXiv:2302.05666.
    """

    def __init__(
        self,
        *,
        form: str = "l1",
        include_background: bool = True,
        sigmoid: bool = False,
        softmax: bool = False,
        other_act: ActivationFunction | None = None,
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            include_background=include_background,
            sigmoid=sigmoid,
            softmax=softmax,
            other_act=other_act,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            batch=batch,
            reduction=reduction,
        )
        require_choice("form", form, ("l1", "product"))
        self.form = form

    def _overlap(self, probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        gap = self._sum((probs - target).abs())
        if self.form == "product":
            shared = self._sum(probs * target)
            return shared, shared + gap
        size = self._sum(probs.abs() + target.abs())
        return size - gap, size + gap


class DiceCELoss(nn.Module):
    """Dice loss plus cross-entropy, both on one activation of the logits.

    ``lambda_dice dice + lambda_ce ce``. With ``softmax=True`` the cross-entropy is over the classes, with
    ``sigmoid=True`` it is the binary one of every channel.

    Args:
        include_background: Count channel 0 in the Dice part; the cross-entropy always does.
        sigmoid: Independent channels.
        softmax: One distribution over the channels. Exactly one of the two must be chosen.
        denominator: Of the Dice part, ``"sum"`` or ``"squares"``.
        smooth_nr: Of the Dice part.
        smooth_dr: Of the Dice part.
        batch: Of the Dice part.
        lambda_dice: Weight of the Dice part.
        lambda_ce: Weight of the cross-entropy.

    Shape:
        input: Logits, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``; the same shape, nothing is broadcast.
        output: A scalar.

    Raises:
        InputError: not exactly one of ``sigmoid`` and ``softmax`` is chosen.
        ShapeError: when called, if the shapes differ.
    """

    def __init__(
        self,
        *,
        include_background: bool = True,
        sigmoid: bool = False,
        softmax: bool = False,
        denominator: str = "sum",
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        lambda_dice: float = 1.0,
        lambda_ce: float = 1.0,
    ) -> None:
        super().__init__()
        if sigmoid == softmax:
            raise InputError("DiceCELoss takes logits: choose exactly one of sigmoid=True and softmax=True")
        self.dice = DiceLoss(
            include_background=include_background,
            sigmoid=sigmoid,
            softmax=softmax,
            denominator=denominator,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            batch=batch,
        )
        self.cross_entropy = SoftCrossEntropyLoss(sigmoid=sigmoid)
        self.lambda_dice, self.lambda_ce = lambda_dice, lambda_ce

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
