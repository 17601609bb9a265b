"""What losses share: check the shapes, widen the floats, activate, reduce; every loss is a dataclass."""

from __future__ import annotations

from dataclasses import InitVar, dataclass

import torch
from torch import Tensor, nn

from sfumato import activations
from sfumato.activations import ActivationFunction
from sfumato.checks import require_between, require_choice, require_same_shape
from sfumato.errors import InputError, ShapeError

REDUCTIONS: tuple[str, ...] = ("mean", "sum", "none")


def checked_pair(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as floats of at least 32 bits, refusing shapes that torch would broadcast.

    Half precision is widened here, so a loss is the same inside and outside autocast.

    Raises:
        ShapeError: the shapes differ, or are not ``(B, C, *S)``.
    """
    require_same_shape("input", input.shape, "target", target.shape)
    if input.ndim < 3:
        raise ShapeError(f"input has shape {tuple(input.shape)}: give (B, C, *S)")
    wide = torch.float64 if input.dtype == torch.float64 else torch.float32
    return input.to(wide), target.to(wide)


def require_not_negative(**values: float) -> None:
    """Raise unless every value is 0 or above."""
    for name, value in values.items():
        require_between(name, value, 0.0, float("inf"))


def reduced(values: Tensor, reduction: str) -> Tensor:
    """Return the mean, the sum, or the values as they are."""
    if reduction == "mean":
        return values.mean()
    return values.sum() if reduction == "sum" else values


@dataclass(kw_only=True, eq=False, repr=False)
class ReducedLoss(nn.Module):
    """A loss that has several values, and what becomes of them.

    Args:
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Raises:
        ShapeError: when called, if the shapes differ: nothing is broadcast.
        UnknownNameError: ``reduction`` is not known.
    """

    reduction: str = "mean"

    def __post_init__(self) -> None:
        super().__init__()
        require_choice("reduction", self.reduction, REDUCTIONS)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of a prediction, or of logits, against a target of the same shape."""
        return reduced(self._values(*self._pair(input, target)), self.reduction)

    def _pair(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return checked_pair(input, target)

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(kw_only=True, eq=False, repr=False)
class PredictionLoss(ReducedLoss):
    """A loss of predictions ``(B, C, *S)``, activated already or by an activation of its own.

    Args:
        other_act: Activation applied to the input first, e.g. ``torch.tanh`` for logits.
        reduction: ``"mean"`` or ``"sum"`` over everything, or ``"none"``.
    """

    other_act: InitVar[ActivationFunction | None] = None

    def __post_init__(self, other_act: ActivationFunction | None) -> None:
        super().__post_init__()
        self.activation = other_act

    def _pair(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        prediction, target = super()._pair(input, target)
        return prediction if self.activation is None else self.activation(prediction), target


@dataclass(kw_only=True, eq=False, repr=False)
class ChannelLoss(PredictionLoss):
    """A loss of probabilities ``(B, K, *S)`` that has one value per item and channel.

    Args:
        include_background: Count channel 0 as well.
        sigmoid: Apply a sigmoid to the input first.
        softmax: Apply a softmax over the channels first.
        other_act: Apply this activation first.
        reduction: ``"mean"`` or ``"sum"`` over items and channels, or ``"none"``.

    Raises:
        InputError: more than one activation is asked for.
        ShapeError: when called, if only the background is there to be left out.
    """

    include_background: bool = True
    sigmoid: bool = False
    softmax: bool = False

    def __post_init__(self, other_act: ActivationFunction | None) -> None:
        chosen = [torch.sigmoid] * self.sigmoid + [activations.softmax] * self.softmax
        if len(chosen) + (other_act is not None) > 1:
            raise InputError("sigmoid, softmax and other_act exclude each other: choose one")
        super().__post_init__(chosen[0] if chosen else other_act)

    def _pair(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        probs, target = super()._pair(input, target)
        if self.include_background:
            return probs, target
        if probs.shape[1] == 1:
            raise ShapeError("include_background=False, but the input has no channel besides channel 0")
        return probs[:, 1:], target[:, 1:]
