"""Methods put together: a named method with other parts, refused where the parts do not go together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from typing import Any

from sfumato.activations import ACTIVATIONS, Activation
from sfumato.decode import DECODERS
from sfumato.errors import InputError, UnknownNameError
from sfumato.labels.definition import Label
from sfumato.losses.definition import Loss
from sfumato.losses.table import LOSSES
from sfumato.methods.definition import Method
from sfumato.methods.parts import PARTS, imported
from sfumato.methods.table import METHODS
from sfumato.structures import TARGET_KINDS

LOG = logging.getLogger("sfumato.methods")
ENTRY_POINTS = "sfumato.methods"
Choice = tuple[str | None, Mapping[str, Any]]  # a part's name, or the method's own; options that differ


@dataclass(frozen=True)
class Reading:
    """What a prediction needs to know of a method whose own code is not to be run."""

    kind: str = ""  # name of the target kind
    activation: str = ""  # name of the activation
    decoder: str = ""  # name of the decoder
    # What differs from the activation's defaults.
    activation_options: Mapping[str, Any] = field(default_factory=dict)


_FOREIGN: ContextVar[Reading | None] = ContextVar("_FOREIGN", default=None)


@cache
def plugin_methods() -> dict[str, Method]:
    """Return the methods of installed packages: entry points of the group ``sfumato.methods``.

    Each loads a :class:`Method` or several. One that fails, or takes a name that exists, is warned of and
    left out.
    """
    methods: dict[str, Method] = {}
    for entry in metadata.entry_points(group=ENTRY_POINTS):
        try:
            value = entry.load()
            rows = [value] if isinstance(value, Method) else list(value)
            for row in rows:
                if not isinstance(row, Method):
                    raise TypeError(f"it holds a {type(row).__name__}, not a Method")
                require_fitting(row)
        except Exception as error:
            LOG.warning("the methods of %s are left out: %s: %s", entry.value, type(error).__name__, error)
            continue
        for row in rows:
            if row.name in METHODS or row.name in methods:
                LOG.warning("method %r of %s is left out: the name is taken", row.name, entry.value)
            else:
                methods[row.name] = row
    return methods


def known_methods() -> dict[str, Method]:
    """Return every method by name: built in, and of installed packages."""
    return {**METHODS, **plugin_methods()}


def method(name: str) -> Method:
    """Look a method up by name.

    Args:
        name: A built-in method, one of an installed package, or a user's own as ``module.path:NAME``.

    Raises:
        UnknownNameError: no method has that name; the nearest one is suggested.
        InputError: the user's own cannot be imported, is no Method, or its parts do not go together.
    """
    if name in METHODS:
        return METHODS[name]
    if ":" in name:
        value = imported(name, "method")
        if not isinstance(value, Method):
            raise InputError(f"method {name!r} is a {type(value).__name__}: give a Method")
        require_fitting(value)
        return replace(value, name=name)
    known = known_methods()
    if name not in known:
        raise UnknownNameError("method", name, known)
    return known[name]


def compose(
    name: str,
    *,
    label: Choice = (None, {}),
    activation: Choice = (None, {}),
    loss: Choice = (None, {}),
    decoder: Choice = (None, {}),
) -> Method:
    """Return a named method, as :func:`method` finds it, with other parts or options.

    A part is given by its name, ``None`` for the method's own, and the options that differ from its defaults.

    Raises:
        UnknownNameError: there is no such method, part or option.
        InputError: the parts do not go together; those that would are named.
    """
    choices = {"label": label, "activation": activation, "loss": loss, "decoder": decoder}
    reading = _FOREIGN.get()
    if reading is not None and any(":" in (part or "") for part in (name, *(c[0] for c in choices.values()))):
        return _read_only(name, reading)
    own = method(name)
    parts: dict[str, Any] = {part: choice[0] for part, choice in choices.items() if choice[0] is not None}
    for part in parts:
        row = PARTS[part].look_up(parts[part])
        parts[part] = parts[part] if ":" in parts[part] else row.name
    # Another label has its own defaults, not those that the method gave to the one that it replaces.
    if "label" in parts and parts["label"] != own.label:
        parts["label_changes"] = {}
    if "loss" in parts and parts["loss"] != own.loss:
        parts["loss_changes"] = {}
    composed = replace(own, **parts)
    require_fitting(composed)
    changed = composed.activation_row
    for key in activation[1]:
        if key not in changed.options:
            raise UnknownNameError(f"activation option of method {name!r}", key, changed.options)
    for key in decoder[1]:
        raise InputError(f"decoder {composed.decoder_row.name!r} has no options, but {key!r} is given")
    composed.label_settings(label[1])
    composed.loss_settings(loss[1])
    composed = replace(
        composed,
        activation=changed.with_options(activation[1]) if activation[1] else composed.activation,
        label_changes={**composed.label_changes, **label[1]},
        loss_changes={**composed.loss_changes, **loss[1]},
    )
    composed.make_loss()
    return composed


def require_fitting(chosen: Method) -> None:
    """Raise unless the four parts of a method go together.

    Raises:
        InputError: a part does not fit the label's targets, or the loss not the activation; the parts that
            do are named.
        UnknownNameError: there is no such part.
    """
    kind, label = chosen.kind, chosen.label_row
    for part in ("activation", "loss", "decoder"):
        row = getattr(chosen, f"{part}_row")
        if kind not in row.kinds:
            fitting = [name for name, other in PARTS[part].rows.items() if kind in other.kinds]
            raise InputError(
                f"{part} {row.name!r} does not go with label {label.name!r}, whose target is {kind.title}: "
                f"give {_or(fitting)}"
            )
    loss, activation = chosen.loss_row, chosen.activation_row
    if not _takes(loss, activation):
        losses = [name for name, row in LOSSES.items() if kind in row.kinds and _takes(row, activation)]
        activations = [name for name, row in ACTIVATIONS.items() if kind in row.kinds and _takes(loss, row)]
        other = f", or activation {_or(activations)}" if activations else ""
        raise InputError(
            f"loss {loss.name!r} does not go with activation {activation.name!r}: "
            f"give loss {_or(losses)}{other}"
        )


def _takes(loss: Loss, activation: Activation) -> bool:
    return not loss.own_activation or activation.name in loss.own_activation


def _or(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


@contextmanager
def without_own_code(reading: Reading | None) -> Iterator[None]:
    """Let methods that name a user's own code be read for prediction without importing any of it.

    Args:
        reading: How predictions of such a method are read; ``None``: the code may be imported.
    """
    token = _FOREIGN.set(reading)
    try:
        yield
    finally:
        _FOREIGN.reset(token)


def _refuse(*_: object, **__: object) -> Any:  # noqa: ANN401 - it never returns
    raise InputError("this model was loaded for prediction alone, without the code of its label and loss")


def _read_only(name: str, reading: Reading) -> Method:
    """Return a method that reads predictions, and whose label and loss refuse to work."""
    if reading.activation not in ACTIVATIONS or reading.decoder not in DECODERS or not reading.kind:
        raise InputError(
            f"method {name!r} predicts with code outside Sfumato (activation {reading.activation!r}, decoder "
            f"{reading.decoder!r}), which is run only if you say that you trust it: --trust-code"
        )
    kind = TARGET_KINDS[reading.kind]
    activation = ACTIVATIONS[reading.activation].with_options(reading.activation_options)
    label = Label(name, name, kind, _refuse)
    loss = Loss(name, name, _refuse, kinds=(kind,))
    return Method(name, name, "", label, activation, loss, reading.decoder)
