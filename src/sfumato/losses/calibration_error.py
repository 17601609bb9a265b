"""Average calibration error as a loss: how far each bin of predicted probability is from the truth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfumato.activations import ActivationFunction
from sfumato.checks import require_choice
from sfumato.errors import ValueRangeError
from sfumato.losses.base import ChannelLoss, require_not_negative
from sfumato.losses.definition import Loss
from sfumato.losses.overlap import DiceCELoss
from sfumato.structures import CLASSES, REGIONS

BINNINGS: tuple[str, ...] = ("hard", "soft")


@dataclass(kw_only=True, eq=False, repr=False)
class AverageCalibrationErrorLoss(ChannelLoss):
    """Marginal L1 average calibration error: ``mean over bins of |mean p - mean q|``, per item and class.

    ``binning="hard"``: bin ``m`` of ``M`` holds the voxels with ``p`` in ``[m / M, (m + 1) / M)``, the last
    one ``p = 1`` too. ``binning="soft"``: each voxel is shared between the two bins whose centres lie on
    either side of its ``p``, linearly, so that the loss has no steps; beyond the outermost centres it belongs
    to the outermost bin. Every bin that holds voxels counts alike, however many they are.

    Args:
        num_bins: Number of bins ``M``, of equal width over ``[0, 1]``.
        binning: ``"hard"`` or ``"soft"``.
        empty_below: A soft bin with less than this many voxels counts as empty, above 0.
        include_background: See :class:`~sfumato.losses.base.ChannelLoss`, as for ``sigmoid``, ``softmax``,
            ``other_act`` and ``reduction``.

    Shape:
        input: Probabilities, or logits with one of the activations, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``.
        output: A scalar; with ``"none"`` ``(B, K)``, or ``(B, K - 1)`` without the background.

    Raises:
        UnknownNameError: ``binning`` is not known.
        ValueRangeError: ``num_bins`` is below 1, or ``empty_below`` not in ``(0, 1]``.

    References:
        Barfoot et al. (2024), Average calibration error: a differentiable loss for improved reliability in
        image segmentation, arXiv:2403.06759 (hard bins). Barfoot et al. (2025), Average
        calibration losses for reliable uncertainty in medical image segmentation, arXiv:2506.03942 (soft
        bins).
    """

    num_bins: int = 20
    binning: str = "hard"
    empty_below: float = 0.01

    def __post_init__(self, other_act: ActivationFunction | None) -> None:
        super().__post_init__(other_act)
        require_choice("binning", self.binning, BINNINGS)
        if self.num_bins < 1:
            raise ValueRangeError(f"num_bins is {self.num_bins}: it must be at least 1")
        if not 0.0 < self.empty_below <= 1.0:
            raise ValueRangeError(f"empty_below is {self.empty_below}: it must lie in (0, 1]")

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        gap, held = self._binned(input.flatten(2), target.flatten(2))
        filled = held >= (1.0 if self.binning == "hard" else self.empty_below)
        errors = torch.where(filled, gap.abs() / torch.where(filled, held, 1.0), 0.0)
        # An image without voxels fills no bin; its error is 0.
        return (errors.sum(dim=2) / filled.sum(dim=2).clamp_min(1)).to(input.dtype)

    def _binned(self, probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of ``p - q`` and the number of voxels in every bin, both ``(B, K, M)``, float64."""
        # In float32 a count stops growing at 2^24 voxels.
        gap = (probs - target).to(torch.float64)
        place = probs * self.num_bins
        if self.binning == "hard":
            lower = place.detach().floor().clamp(0, self.num_bins - 1).to(torch.int64)
            return _per_bin(gap, lower, self.num_bins), _per_bin(torch.ones_like(gap), lower, self.num_bins)
        place = (place - 0.5).clamp(0, self.num_bins - 1)
        lower = place.detach().floor().clamp(0, max(self.num_bins - 2, 0)).to(torch.int64)
        upper = (lower + 1).clamp_max(self.num_bins - 1)
        share = (place - lower).to(torch.float64)
        both = ((lower, 1.0 - share), (upper, share))
        gaps = [_per_bin(gap * weight, bins, self.num_bins) for bins, weight in both]
        held = [_per_bin(weight, bins, self.num_bins) for bins, weight in both]
        return gaps[0] + gaps[1], held[0] + held[1]


@dataclass(kw_only=True, eq=False, repr=False)
class DiceCEACELoss(nn.Module):
    """Dice loss plus cross-entropy plus average calibration error, all on one activation of the logits.

    ``lambda_dice dice + lambda_ce ce + lambda_ace ace``; with ``lambda_dice=0`` it is the cross-entropy with
    the calibration error. See :class:`DiceCELoss` and :class:`AverageCalibrationErrorLoss`.

    Args:
        sigmoid: Independent channels.
        softmax: One distribution over the channels. Exactly one of the two must be chosen.
        include_background: Count channel 0 in the Dice part and the calibration error.
        num_bins: Of the calibration error.
        binning: Of the calibration error, ``"hard"`` or ``"soft"``.
        lambda_dice: Weight of the Dice part, 0 or above.
        lambda_ce: Weight of the cross-entropy, 0 or above.
        lambda_ace: Weight of the calibration error, 0 or above.

    Shape:
        input: Logits, ``(B, K, *S)``.
        target: Weights in ``[0, 1]``, ``(B, K, *S)``.
        output: A scalar.

    Raises:
        InputError: not exactly one of ``sigmoid`` and ``softmax`` is chosen.
        UnknownNameError: ``binning`` is not known.
        ValueRangeError: a weight is negative, or ``num_bins`` is below 1.
    """

    sigmoid: bool = False
    softmax: bool = False
    include_background: bool = True
    num_bins: int = 20
    binning: str = "hard"
    lambda_dice: float = 1.0
    lambda_ce: float = 1.0
    lambda_ace: float = 1.0

    def __post_init__(self) -> None:
        super().__init__()
        require_not_negative(
            lambda_dice=self.lambda_dice, lambda_ce=self.lambda_ce, lambda_ace=self.lambda_ace
        )
        self.dice_ce = DiceCELoss(
            include_background=self.include_background,
            sigmoid=self.sigmoid,
            softmax=self.softmax,
            lambda_dice=self.lambda_dice,
            lambda_ce=self.lambda_ce,
        )
        self.calibration_error = AverageCalibrationErrorLoss(
            num_bins=self.num_bins,
            binning=self.binning,
            include_background=self.include_background,
            sigmoid=self.sigmoid,
            softmax=self.softmax,
        )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of logits against a target."""
        base: Tensor = self.dice_ce(input, target)
        error: Tensor = self.calibration_error(input, target)
        return base + self.lambda_ace * error


def _per_bin(values: Tensor, bins: Tensor, num_bins: int) -> Tensor:
    """Sum ``(B, K, voxels)`` up in every bin, ``(B, K, num_bins)``."""
    return values.new_zeros((*values.shape[:2], num_bins)).scatter_add(2, bins, values)


DICE_CE_ACE = Loss(
    "dice-ce-ace",
    "Dice + cross-entropy + ACE",
    DiceCEACELoss,
    (CLASSES, REGIONS),
    {"softmax": {"softmax": True}, "sigmoid": {"sigmoid": True}},
)
