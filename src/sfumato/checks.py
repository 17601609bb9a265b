"""One-sentence argument checks: each raises an error of ``errors.py`` that says what to change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from sfumato.errors import DTypeError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.types import ArrayLike, Regions


def as_tensor(array: Tensor | np.ndarray) -> Tensor:
    """Return ``array`` as a torch tensor, sharing memory where NumPy's layout allows it.

    Negative strides, foreign byte order and unsigned types that torch lacks are copied.
    """
    if isinstance(array, Tensor):
        return array
    array = np.asarray(array)
    if array.dtype.byteorder not in "=|":
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype in (np.uint16, np.uint32, np.uint64):
        array = array.astype(np.int64)
    if any(stride < 0 for stride in array.strides) or not array.flags.writeable:
        array = array.copy()
    return torch.from_numpy(array)


def require_spacing(spacing: Sequence[float], shape: Sequence[int], *, name: str = "image") -> None:
    """Raise unless ``spacing`` has one finite, positive value per axis of the spatial ``shape``."""
    if len(spacing) != len(shape):
        raise ShapeError(
            f"spacing has {len(spacing)} values, but {name} has {len(shape)} axes "
            f"{tuple(shape)}: give one value in mm per axis"
        )
    for value in spacing:
        if not (math.isfinite(value) and value > 0):
            raise ValueRangeError(f"spacing is {tuple(spacing)}: every value must be finite and above 0 mm")


def require_positive(name: str, value: float) -> None:
    """Raise unless ``value`` is finite and above 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueRangeError(f"{name} is {value}: it must be finite and above 0")


def require_between(name: str, value: float, low: float, high: float) -> None:
    """Raise unless ``low <= value <= high``."""
    if not low <= value <= high:
        raise ValueRangeError(f"{name} is {value}: it must lie in [{low}, {high}]")


def require_choice(kind: str, value: str, known: Iterable[str]) -> None:
    """Raise unless ``value`` is one of the ``known`` names; the nearest one is suggested."""
    names = tuple(known)
    if value not in names:
        raise UnknownNameError(kind, value, names)


def require_same_shape(
    first_name: str, first: Sequence[int], second_name: str, second: Sequence[int]
) -> None:
    """Raise unless both shapes are equal: torch would broadcast in silence."""
    if tuple(first) != tuple(second):
        raise ShapeError(
            f"{first_name} has shape {tuple(first)}, but {second_name} has shape {tuple(second)}: "
            "they must be equal"
        )


def require_labels(labels: Tensor, num_classes: int, *, name: str = "labels") -> None:
    """Raise unless ``labels`` holds integers in ``0 .. num_classes - 1``."""
    if num_classes < 1:
        raise ValueRangeError(f"num_classes is {num_classes}: it must be at least 1")
    if labels.is_floating_point() or labels.is_complex():
        raise DTypeError(f"{name} has dtype {labels.dtype}: class indices must be integers, not fractions")
    if labels.numel() == 0:
        return
    low, high = extremes(labels)
    if low < 0 or high >= num_classes:
        raise ValueRangeError(
            f"{name} holds values {low} .. {high}, but num_classes is {num_classes}: "
            f"values must lie in 0 .. {num_classes - 1}"
        )


def extremes(array: Tensor) -> tuple[int | float, int | float]:
    """Compute the smallest and the largest value, in one pass where torch can; NaN where there is one.

    Args:
        array: At least one value, of any real type.
    """
    if array.dtype in (torch.uint16, torch.uint32, torch.uint64):  # Torch computes little with them.
        numbers = array.cpu().numpy()
        return numbers.min().item(), numbers.max().item()
    low, high = array.aminmax()
    return low.item(), high.item()


def require_finite(name: str, array: Tensor) -> None:
    """Raise where ``array`` holds NaN or infinity, and say how many."""
    if not array.is_floating_point():
        return
    bad = array.numel() - int(torch.isfinite(array).sum())
    if bad:
        raise ValueRangeError(
            f"{name} holds {bad} NaN or infinite values of {array.numel()}: remove them first"
        )


def as_regions(regions: ArrayLike, *, axes: int) -> Regions:
    """Check region masks and return them as booleans ``(R, *S)``.

    Args:
        regions: ``(R, *S)``, booleans or numbers that are 0 or 1.
        axes: Number of spatial axes.

    Raises:
        ShapeError: there is not one axis more than ``axes``, or there is no region.
        ValueRangeError: a value is neither 0 nor 1; nothing is thresholded in silence.
    """
    regions = as_tensor(regions)
    if regions.ndim != axes + 1 or len(regions) == 0:
        raise ShapeError(
            f"regions have shape {tuple(regions.shape)}: with {axes} spatial axes give (R, *S), "
            f"that is {axes + 1} axes and at least one region"
        )
    if regions.dtype == torch.bool:
        return regions
    if not bool(((regions == 0) | (regions == 1)).all()):
        raise ValueRangeError("regions hold values other than 0 and 1: threshold them first")
    return regions == 1
