"""The four parts of a method in a recipe: the method's own, or others by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from sfumato.errors import InputError
from sfumato.methods import Method, method


@dataclass(frozen=True)
class PartChoice:
    """A label, activation, loss or decoder.

    Attributes:
        name: Its name; ``None``: the method's own.
        options: What differs from its defaults.
    """

    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def _read(value: object) -> PartChoice:
    """Read a part as a file states it: options, a name, or a name with options beside it."""
    if isinstance(value, PartChoice):
        return value
    if isinstance(value, str):
        return PartChoice(value)
    name = value.get("name") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(name, str | None):
        raise ValueError(f"expected options, a name, or both as {{name: …, option: …}}, found {value!r}")
    return PartChoice(name, {key: option for key, option in value.items() if key != "name"})


def _plain(part: PartChoice) -> str | dict[str, Any]:
    if part.name is None:
        return dict(part.options)
    return {"name": part.name, **part.options} if part.options else part.name


Choice = Annotated[PartChoice, PlainValidator(_read), PlainSerializer(_plain)]
"""A part as a key of a recipe or a plan."""


def compose(
    name: str, *, label: PartChoice, activation: PartChoice, loss: PartChoice, decoder: PartChoice
) -> Method:
    """Return the method with these parts.

    Raises:
        UnknownNameError: there is no such method, part or option.
    """
    for part, choice in (("label", label), ("activation", activation), ("loss", loss), ("decoder", decoder)):
        if choice.name is not None or (choice.options and part in ("activation", "decoder")):
            raise InputError(f"{part} of method {name!r} cannot be replaced")
    chosen = method(name)
    chosen.make_loss(loss.options)
    return replace(
        chosen,
        label_options=chosen.label_settings(label.options),
        loss_options={**chosen.loss_options, **loss.options},
    )
