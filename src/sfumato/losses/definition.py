"""A loss: between what an activation predicts and a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from sfumato.activations import Activation, defaults_of
from sfumato.errors import InputError
from sfumato.structures import TARGET_KINDS, TargetKind

# What the method decides: the activation, and that training needs one number.
_DECIDED = {"softmax", "sigmoid", "use_softmax", "other_act", "reduction"}


@dataclass(frozen=True)
class Loss:
    """One loss, as recipes and methods know it.

    Attributes:
        name: What a recipe calls it.
        title: What a table calls it.
        make: Its class.
        kinds: The targets that it is meaningful for.
        own_activation: The activations that the class computes itself, more accurately, by name, with the
            arguments that say so; it takes no other. Empty: it takes any, as ``other_act``.
    """

    name: str
    title: str
    make: Callable[..., nn.Module]
    kinds: tuple[TargetKind, ...] = tuple(TARGET_KINDS.values())
    own_activation: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)

    def options(self, kind: TargetKind) -> dict[str, Any]:
        """Return every option for targets of a kind, with its default."""
        # Only classes have a background to leave out: channel 0 of the others is a structure.
        decided = _DECIDED if kind.joint else _DECIDED | {"include_background"}
        return {name: value for name, value in defaults_of(self.make).items() if name not in decided}

    def build(self, activation: Activation, options: Mapping[str, Any]) -> nn.Module:
        """Build the module, which takes raw logits and the target.

        Raises:
            InputError: the loss computes its activation itself, and it is another one.
        """
        if not self.own_activation:
            if "other_act" in defaults_of(self.make):
                return self.make(other_act=activation, **options)
            return _Activated(activation, self.make(**options))
        if activation.name not in self.own_activation:
            known = " or ".join(self.own_activation)
            raise InputError(f"the loss {self.title!r} needs {known}, not {activation.name!r}")
        return self.make(**self.own_activation[activation.name], **options)


class _Activated(nn.Module):
    """A loss that takes predictions, behind an activation."""

    def __init__(self, activation: Activation, loss: nn.Module) -> None:
        super().__init__()
        self.activation, self.loss = activation, loss

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss of logits against a target."""
        value: Tensor = self.loss(self.activation(input), target)
        return value
