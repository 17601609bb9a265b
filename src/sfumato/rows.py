"""Tables whose rows stand at the end of the files that they are about."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Protocol, TypeVar


class Named(Protocol):
    """A row of a table."""

    @property
    def name(self) -> str:
        """What recipes call it."""


Row = TypeVar("Row", bound=Named)


def rows_of(package: str, row_type: type[Row]) -> dict[str, Row]:
    """Return the rows that the modules of a package hold, by name."""
    modules = pkgutil.iter_modules(import_module(package).__path__, prefix=f"{package}.")
    values = [value for module in modules for value in vars(import_module(module.name)).values()]
    return {value.name: value for value in values if isinstance(value, row_type)}
