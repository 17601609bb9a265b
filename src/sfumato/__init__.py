"""Soft labels for medical image segmentation: build them, train with them, measure what they buy.

``import sfumato`` is light; its packages are imported when they are first used: ``sfumato.labels``,
``sfumato.losses``, ``sfumato.metrics``, ``sfumato.geodesic``, ``sfumato.model``, ``sfumato.data``, …
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from sfumato import activations as activations
    from sfumato import data as data
    from sfumato import decode as decode
    from sfumato import errors as errors
    from sfumato import evaluation as evaluation
    from sfumato import geodesic as geodesic
    from sfumato import labels as labels
    from sfumato import losses as losses
    from sfumato import methods as methods
    from sfumato import metrics as metrics
    from sfumato import model as model
    from sfumato import networks as networks
    from sfumato import recipe as recipe
    from sfumato import report as report
    from sfumato import reproduction as reproduction
    from sfumato import runs as runs
    from sfumato import statistics as statistics
    from sfumato import structures as structures
    from sfumato import study as study
    from sfumato import tables as tables
    from sfumato import training as training
    from sfumato import types as types

__version__ = "0.1.0"
__all__ = [
    "activations",
    "data",
    "decode",
    "errors",
    "evaluation",
    "geodesic",
    "labels",
    "losses",
    "methods",
    "metrics",
    "model",
    "networks",
    "recipe",
    "report",
    "reproduction",
    "runs",
    "statistics",
    "structures",
    "study",
    "tables",
    "training",
    "types",
]


def __getattr__(name: str) -> _ModuleType:
    if name in __all__:
        return _import_module(f"sfumato.{name}")
    raise AttributeError(f"module 'sfumato' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
