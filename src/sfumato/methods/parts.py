"""The parts of methods by name: built-in rows, and a user's own code as ``module.path:NAME``."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.activations import ACTIVATIONS, Activation
from sfumato.decode import DECODERS, Decoder
from sfumato.errors import InputError, SfumatoError, UnknownNameError
from sfumato.labels.definition import Label, TargetCase, label_of
from sfumato.labels.table import LABELS
from sfumato.losses.definition import Loss
from sfumato.losses.table import LOSSES
from sfumato.structures import CLASSES, REGIONS

_NAMED = ("POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY")
# Where a user's modules are looked for, besides Python's own path: the recipe's folder.
_FOLDERS: ContextVar[tuple[str, ...]] = ContextVar("_FOLDERS", default=())


def _own_label(function: Callable[..., Any], reference: str) -> Label:
    kind = REGIONS if "regions" in inspect.signature(function).parameters else CLASSES
    label = label_of(function, reference, reference.partition(":")[2], kind)
    return replace(label, make=partial(_made, label, reference))


def _made(label: Label, reference: str, case: TargetCase, options: Mapping[str, Any]) -> Tensor:
    """Make a target with a user's own code, whose mistakes are told as the label's."""
    try:
        target = label.make(case, options)
    except SfumatoError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise InputError(f"label {reference!r} failed: {type(error).__name__}: {said}") from error
    wanted = (label.kind.channels(case.structures), *case.labels.shape)
    if not isinstance(target, Tensor) or tuple(target.shape) != wanted or not bool(target.isfinite().all()):
        shape = f" of shape {tuple(target.shape)}" if isinstance(target, Tensor) else ""
        raise InputError(
            f"label {reference!r} returned a {type(target).__name__}{shape}: give a tensor of shape {wanted} "
            "with finite values"
        )
    return target.to(torch.float32)


def _own_activation(function: Callable[..., Any], reference: str) -> Activation:
    return Activation(reference, reference.partition(":")[2], function)


def _own_loss(made: type[Any], reference: str) -> Loss:
    if not (inspect.isclass(made) and issubclass(made, nn.Module)):
        raise TypeError("give the class of a torch module, or a Loss")
    for parameter in inspect.signature(made).parameters.values():
        if parameter.default is parameter.empty and parameter.kind.name in _NAMED:
            raise TypeError(f"its argument {parameter.name!r} has no default: give it one")
    return Loss(reference, reference.partition(":")[2], made)


@dataclass(frozen=True)
class PartTable:
    """One of the four parts: its built-in rows, and how a user's own becomes one."""

    part: str  # what it is called: ``label``, ``activation``, ``loss`` or ``decoder``
    rows: Mapping[str, Any]  # the built-in rows by name
    row_type: type[Any]  # the type of a row
    # Makes a row of a plain function or class; ``None``: it has to be a row.
    adopt: Callable[[Any, str], Any] | None

    def look_up(self, name: Any) -> Any:  # noqa: ANN401 - a row of the table's type
        """Return the row of a name; a row is returned as it is.

        Args:
            name: A row's name or printed title (case and punctuation do not matter), or a user's own as
                ``module.path:NAME``.

        Raises:
            UnknownNameError: no row has that name; the nearest is suggested.
            InputError: the user's module or name does not exist, or is no such part.
        """
        if isinstance(name, self.row_type):
            return name
        if ":" in name:
            return _own(self.part, name)
        if name in self.rows:
            return self.rows[name]
        wanted = _plain(name)
        for row in self.rows.values():
            if wanted in (_plain(row.name), _plain(row.title)):
                return row
        raise UnknownNameError(self.part, name, self.rows)


PARTS: dict[str, PartTable] = {
    table.part: table
    for table in (
        PartTable("label", LABELS, Label, _own_label),
        PartTable("activation", ACTIVATIONS, Activation, _own_activation),
        PartTable("loss", LOSSES, Loss, _own_loss),
        PartTable("decoder", DECODERS, Decoder, None),
    )
}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


@cache
def _own(part: str, reference: str) -> Any:  # noqa: ANN401 - a row of the part's table
    table, value = PARTS[part], imported(reference, part)
    if isinstance(value, table.row_type):
        return value
    if table.adopt is None or not callable(value):
        raise InputError(
            f"{part} {reference!r} is a {type(value).__name__}: give a {table.row_type.__name__}"
            + ("" if table.adopt is None else ", a function or a class")
        )
    try:
        return table.adopt(value, reference)
    except (TypeError, ValueError) as error:
        raise InputError(f"{part} {reference!r} cannot be used as one: {error}") from error


def imported(reference: str, what: str) -> Any:  # noqa: ANN401 - whatever the user's module holds
    """Import a user's own object.

    The module is looked for on Python's path, in the current folder and in the recipe's.

    Args:
        reference: ``module.path:NAME``.
        what: What it is to be, for messages.

    Raises:
        InputError: there is no such module or name, or the module itself fails; the reason is named.
    """
    module_name, _, name = reference.partition(":")
    before = list(sys.path)
    sys.path[:0] = [*_FOLDERS.get(), str(Path.cwd())]
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            places = ", ".join(dict.fromkeys([*_FOLDERS.get(), str(Path.cwd())]))
            raise InputError(
                f"{what} {reference!r}: there is no module {module_name!r} in {places} or on Python's path"
            ) from error
        raise InputError(f"{what} {reference!r}: importing {module_name} failed: {error}") from error
    except Exception as error:
        raise InputError(
            f"{what} {reference!r}: importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path[:] = before
    if not hasattr(module, name):
        raise UnknownNameError(f"{what} of {module_name}", name, [n for n in vars(module) if n[0] != "_"])
    return getattr(module, name)


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Look for a user's modules in this folder, too, as long as this lasts."""
    token = _FOLDERS.set((*_FOLDERS.get(), str(folder.absolute())))
    try:
        yield
    finally:
        _FOLDERS.reset(token)
