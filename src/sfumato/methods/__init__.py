"""Methods by name: each is a label, an activation, a loss and a decoder."""

from sfumato.labels.definition import Label
from sfumato.losses.definition import Loss
from sfumato.methods.compose import compose, known_methods, method
from sfumato.methods.definition import Method
from sfumato.methods.parts import PARTS
from sfumato.methods.table import GROUPS, METHODS

__all__ = ["GROUPS", "METHODS", "PARTS", "Label", "Loss", "Method", "compose", "known_methods", "method"]
