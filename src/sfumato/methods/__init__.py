"""Methods by name: each is a label, an activation, a loss and a decoder."""

from sfumato.labels.definition import When
from sfumato.methods.definition import Method
from sfumato.methods.table import GROUPS, METHODS, method

__all__ = ["GROUPS", "METHODS", "Method", "When", "method"]
