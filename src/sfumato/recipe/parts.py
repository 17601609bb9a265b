"""The four parts of a method in a recipe: the method's own, or others by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator


@dataclass(frozen=True)
class PartChoice:
    """A label, activation, loss or decoder.

    Attributes:
        name: Its name; ``None``: the method's own.
        options: What differs from its defaults.
    """

    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def choice(self) -> tuple[str | None, Mapping[str, Any]]:
        """Name and options, as :func:`sfumato.methods.compose` takes them."""
        return self.name, self.options


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
