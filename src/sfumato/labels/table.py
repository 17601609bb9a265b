"""Every label by its name in recipes: the rows that the label files end with."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from sfumato import labels
from sfumato.labels.definition import Label

_MODULES = [
    import_module(f"{labels.__name__}.{module.name}")
    for module in pkgutil.iter_modules(labels.__path__)
    if module.name != __name__.rpartition(".")[2]
]

LABELS: dict[str, Label] = {
    label.name: label for module in _MODULES for label in vars(module).values() if isinstance(label, Label)
}
