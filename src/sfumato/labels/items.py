"""One image or a batch: what belongs to each item, and what its target is computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.checks import as_tensor
from sfumato.errors import ShapeError
from sfumato.types import ArrayLike, Spacing


@dataclass(frozen=True)
class TargetInputs:
    """What the targets of one or more items are computed from; every tensor's first axis is the items'.

    Attributes:
        owners: What is annotated: class indices ``(B, *S)``, or region masks ``(B, R, *S)``.
        starts: Where distances are 0, boolean: seeds ``(B, K, *S)``, or boundary voxels ``(B, R, *S)``.
        images: ``(B, C, *S)`` for each group of channels that is measured together.
        spacing: Millimetres per spatial axis, for each item.
        bodies: ``(B, 1, *S)`` boolean for each group: voxels that belong to the body.
    """

    owners: Tensor
    starts: Tensor
    images: Sequence[Tensor]
    spacing: Sequence[Spacing]
    bodies: Sequence[Tensor] = ()

    @classmethod
    def joined(cls, items: Sequence[TargetInputs]) -> TargetInputs:
        """Make one batch of the items."""
        return cls(
            torch.cat([item.owners for item in items]),
            torch.cat([item.starts for item in items]),
            [torch.cat(group) for group in zip(*(item.images for item in items), strict=True)],
            [step for item in items for step in item.spacing],
            [torch.cat(group) for group in zip(*(item.bodies for item in items), strict=True)],
        )


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
