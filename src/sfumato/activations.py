"""Activations: from a network's logits to a prediction in the target's range."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sfumato.checks import require_choice
from sfumato.errors import ShapeError
from sfumato.structures import CLASSES, REGIONS, SIGNED, TARGET_KINDS, TargetKind
from sfumato.types import Batch

ActivationFunction = Callable[[Tensor], Tensor]

# Below this peak the scaled gradient would overflow float32; such a channel counts as nearly empty.
_SMALLEST_PEAK = 1e-12


def softmax(logits: Tensor) -> Batch:
    """Compute class probabilities, summing to 1 over the channels, ``(B, K, *S)``."""
    return torch.softmax(logits, dim=1)


def sigmoid(logits: Tensor) -> Batch:
    """Compute one probability per channel, each in ``(0, 1)``, ``(B, R, *S)``."""
    return torch.sigmoid(logits)


def tanh(logits: Tensor) -> Batch:
    """Compute one signed value per channel, each in ``(-1, 1)``, ``(B, R, *S)``."""
    return torch.tanh(logits)


def norm_relu(logits: Tensor, *, scope: str = "sample") -> Batch:
    """Scale the positive part of each channel so that its largest value is 1.

    ``scope="sample"``: ``relu(x) / max(relu(x))``, the maximum over the voxels of each sample and channel.
    ``scope="batch"``, what the released code does: the maximum over the whole tensor, so that a case depends
    on the others of its batch, and with several channels a division by their sum.

    A weakness of the method itself: where no logit of a channel is above 0, the channel's gradient is 0. A
    network that predicts only such logits never learns that channel again; training warns of it.

    Args:
        logits: ``(B, C, *S)``, floating.
        scope: Over what the maximum is taken.

    Returns:
        ``(B, C, *S)`` in ``[0, 1]``, of the dtype of ``logits``. Where nothing is above 0 the result is 0 and
        the gradient is 0; a maximum below 1e-12 counts as 1e-12. A channel with anything above 0 reaches 1
        somewhere, so an absent class is predicted absent only if none of its logits is above 0.

    Raises:
        ShapeError: ``logits`` has fewer than three axes.
        UnknownNameError: ``scope`` is neither ``"sample"`` nor ``"batch"``.

    Example:
        >>> norm_relu(torch.tensor([[[-1.0, 2.0, 4.0]]]))
        tensor([[[0.0000, 0.5000, 1.0000]]])

    References:
        Gros, Lemay and Cohen-Adad (2021), SoftSeg: advantages of soft versus binary training for image
        segmentation, doi:10.1016/j.media.2021.102038.
    """
    require_choice("scope", scope, ("sample", "batch"))
    if logits.ndim < 3:
        raise ShapeError(f"logits have shape {tuple(logits.shape)}: give (B, C, *S)")
    # Half precision cannot hold the smallest peak.
    wide = logits if logits.dtype == torch.float64 else logits.to(torch.float32)
    positive = torch.relu(wide)
    if scope == "sample":
        peak = positive.amax(dim=tuple(range(2, logits.ndim)), keepdim=True)
        return (positive / peak.clamp_min(_SMALLEST_PEAK)).to(logits.dtype)
    scaled = positive / positive.amax().clamp_min(_SMALLEST_PEAK)
    if logits.shape[1] > 1:
        scaled = scaled / scaled.sum(dim=1, keepdim=True).clamp_min(_SMALLEST_PEAK)
    return scaled.to(logits.dtype)


@dataclass(frozen=True)
class Activation:
    """One activation, as recipes and methods know it.

    Attributes:
        name: What a recipe calls it.
        title: What a table calls it.
        function: From logits ``(B, C, *S)`` to a prediction; its other arguments are options with defaults.
        kinds: The targets whose range it has.
    """

    name: str
    title: str
    function: Callable[..., Tensor]
    kinds: tuple[TargetKind, ...] = tuple(TARGET_KINDS.values())

    @property
    def options(self) -> dict[str, Any]:
        """Every option with its default."""
        return defaults_of(self.function)

    def with_options(self, options: Mapping[str, Any]) -> Activation:
        """Return the activation with other defaults."""
        return replace(self, function=partial(self.function, **options)) if options else self

    def __call__(self, logits: Tensor) -> Tensor:
        """Turn logits into a prediction in the target's range."""
        return self.function(logits)


def defaults_of(function: Callable[..., object]) -> dict[str, Any]:
    """Return every parameter of a signature that has a default, with it."""
    parameters = inspect.signature(function).parameters.values()
    return {row.name: row.default for row in parameters if row.default is not inspect.Parameter.empty}


ACTIVATIONS: dict[str, Activation] = {
    row.name: row
    for row in (
        Activation("softmax", "softmax", softmax, (CLASSES,)),
        Activation("sigmoid", "sigmoid", sigmoid, (REGIONS,)),
        Activation("tanh", "tanh", tanh, (SIGNED,)),
        Activation("norm-relu", "norm_relu", norm_relu, (REGIONS,)),
    )
}
