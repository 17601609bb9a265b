"""What every loss does alike: check the shapes, widen the floats, activate, reduce."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sfumato import activations
from sfumato.checks import require_choice, require_same_shape
from sfumato.errors import InputError, ShapeError

REDUCTIONS: tuple[str, ...] = ("mean", "sum", "none")
ActivationFunction = Callable[[Tensor], Tensor]


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


def chosen_activation(
    *, sigmoid: bool, softmax: bool, other_act: ActivationFunction | None
) -> ActivationFunction | None:
    """Return the one activation asked for, or ``None``.

    Raises:
        InputError: more than one is asked for.
    """
    if sigmoid + softmax + (other_act is not None) > 1:
        raise InputError("sigmoid, softmax and other_act exclude each other: choose one")
    if sigmoid:
        return torch.sigmoid
    if softmax:
        return activations.softmax
    return other_act


def require_reduction(reduction: str) -> None:
    """Raise unless ``reduction`` is a known one."""
    require_choice("reduction", reduction, REDUCTIONS)


def reduced(values: Tensor, reduction: str) -> Tensor:
    """Return the mean, the sum, or the values as they are."""
    if reduction == "mean":
        return values.mean()
    return values.sum() if reduction == "sum" else values
