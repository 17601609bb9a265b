"""One image or a batch: what belongs to each item."""

from __future__ import annotations

from typing import Any

from sfumato.checks import as_tensor
from sfumato.errors import ShapeError
from sfumato.types import ArrayLike


def split(name: str, value: ArrayLike | str | None, count: int, *, batched: bool) -> list[Any]:
    """Return what each of ``count`` images gets; a name, or nothing, holds for all of them.

    Raises:
        ShapeError: the batch has another number of items.
    """
    if value is None or isinstance(value, str):
        return [value] * count
    items = list(as_tensor(value)) if batched else [value]
    if len(items) != count:
        raise ShapeError(f"{name} has {len(items)} items, but image has {count}: give one for each")
    return items
