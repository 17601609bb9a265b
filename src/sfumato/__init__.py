"""Soft labels for medical image segmentation: build them, train with them, measure what they buy.

``import sfumato`` is light; its parts are imported when they are first used: ``sfumato.labels``,
``sfumato.losses``, ``sfumato.metrics``, ``sfumato.geodesic``, ``sfumato.networks``, ``sfumato.data``, …
"""

from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_PARTS = (
    "activations",
    "data",
    "decode",
    "errors",
    "geodesic",
    "labels",
    "losses",
    "methods",
    "metrics",
    "networks",
    "report",
    "study",
)


def __getattr__(name: str) -> ModuleType:
    if name in _PARTS:
        return import_module(f"sfumato.{name}")
    raise AttributeError(f"module 'sfumato' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PARTS])
