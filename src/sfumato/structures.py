"""What is segmented, and what a target of it looks like: classes, regions, or signed maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from sfumato.checks import as_tensor
from sfumato.errors import ValueRangeError
from sfumato.types import ArrayLike, RegionMaps, Regions


def label_regions(labels: ArrayLike, *, values: Sequence[Sequence[int]]) -> Regions:
    """Return one mask per entry of ``values``: the voxels whose label is among the entry's.

    Args:
        labels: Class indices, ``(*S)``.
        values: The label values of each region, ``R`` entries; they may share values.

    Returns:
        ``(R, *S)`` boolean.
    """
    labels = as_tensor(labels)
    masks = torch.zeros((len(values), *labels.shape), dtype=torch.bool, device=labels.device)
    for index, wanted in enumerate(values):
        for value in wanted:
            masks[index] |= labels == value
    return masks


def region_weights(soft: ArrayLike, *, values: Sequence[Sequence[int]]) -> RegionMaps:
    """Return one map per entry of ``values``: the weight of the entry's classes together.

    Of one-hot labels these are the masks of :func:`label_regions`.

    Args:
        soft: Class weights, ``(K, *S)``.
        values: The classes of each region, ``R`` entries; they may share classes.

    Returns:
        ``(R, *S)``, float32, in ``[0, 1]``.
    """
    soft = as_tensor(soft).to(torch.float32)
    # Weights that sum to 1 + rounding must not push a full region past 1.
    return torch.stack([soft[list(dict.fromkeys(wanted))].sum(dim=0).clamp(0.0, 1.0) for wanted in values])


def with_background(regions: Tensor, *, axis: int) -> Tensor:
    """Turn region probabilities into class probabilities: the background gets what they leave of 1.

    Where the regions sum to more than 1 they are scaled down to 1 and the background gets 0.

    Args:
        regions: Probabilities; clamped to ``[0, 1]``.
        axis: The axis of the regions.

    Returns:
        The same with one channel more, the background, in front; the channels sum to 1.
    """
    inside = regions.clamp(0.0, 1.0)
    total = inside.sum(dim=axis, keepdim=True)
    return torch.cat([(1.0 - total).clamp_min(0.0), inside / total.clamp_min(1.0)], dim=axis)


@dataclass(frozen=True)
class Structures:
    """The classes of a data set, and the regions that they form.

    Attributes:
        label_names: Name of every class, ``0 .. K-1``, background first.
        regions: Region name to the labels that form it; declared regions may overlap. ``None``: one
            structure per foreground label.

    Raises:
        ValueRangeError: there is no structure, or a region is empty.
    """

    label_names: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        if self.regions is not None:
            object.__setattr__(
                self, "regions", {name: tuple(values) for name, values in self.regions.items()}
            )
        if not self.values or not all(self.values):
            raise ValueRangeError(
                "there is no region: give at least one foreground label or named region, none of them empty"
            )

    @classmethod
    def numbered(cls, num_classes: int, regions: Mapping[str, Sequence[int]] | None = None) -> Self:
        """Return the structures of ``num_classes`` classes that have no names of their own."""
        names = {index: f"label {index}" if index else "background" for index in range(num_classes)}
        return cls(
            names, None if regions is None else {name: tuple(values) for name, values in regions.items()}
        )

    @property
    def num_classes(self) -> int:
        """Number of classes ``K``, background included."""
        return len(self.label_names)

    @property
    def overlap(self) -> bool:
        """Whether the structures are declared regions, which may overlap."""
        return self.regions is not None

    @property
    def names(self) -> tuple[str, ...]:
        """Name of every structure: the regions, or the foreground labels."""
        if self.regions is not None:
            return tuple(self.regions)
        return tuple(name for index, name in self.label_names.items() if index != 0)

    @property
    def values(self) -> tuple[tuple[int, ...], ...]:
        """The labels that form each structure."""
        if self.regions is not None:
            return tuple(self.regions.values())
        return tuple((index,) for index in self.label_names if index != 0)

    def masks(self, labels: ArrayLike) -> Regions:
        """Return one mask per structure ``(R, *S)``, boolean, of class indices ``(*S)``."""
        return label_regions(labels, values=self.values)

    def weights(self, soft: ArrayLike) -> RegionMaps:
        """Return each structure's weight ``(R, *S)`` in ``[0, 1]`` of class weights ``(K, *S)``."""
        return region_weights(soft, values=self.values)

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for JSON files and checkpoints."""
        regions = self.regions
        return {
            "label_names": {str(index): name for index, name in self.label_names.items()},
            "regions": None if regions is None else {name: list(values) for name, values in regions.items()},
        }

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_plain` returns; other keys are ignored."""
        names = {int(index): str(name) for index, name in content["label_names"].items()}
        regions = content.get("regions")
        return cls(names, {name: tuple(values) for name, values in regions.items()} if regions else None)


@dataclass(frozen=True)
class TargetKind:
    """What the channels of a target are: their range, their number, and how a prediction of them is read.

    Attributes:
        name: What files call it.
        title: What messages call it.
        low: Smallest value.
        high: Largest value.
        padding: Values outside the image: of channel 0, and of every other channel.
        joint: The channels are classes that sum to 1; otherwise each is a structure of its own.
    """

    name: str
    title: str
    low: float
    high: float
    padding: tuple[float, float]
    joint: bool

    def channels(self, structures: Structures) -> int:
        """Return the number of channels of target and network."""
        return structures.num_classes if self.joint else len(structures.values)

    def outside(self, channels: int) -> list[float]:
        """Return the value outside the image of each channel."""
        first, others = self.padding
        return [first] + [others] * (channels - 1)

    def clamp(self, target: Tensor) -> Tensor:
        """Cut rounding off: no value beyond the range."""
        return target.clamp(self.low, self.high)

    def to_unit(self, prediction: Tensor) -> Tensor:
        """Bring the range to ``[0, 1]``: signed maps ``z`` become ``(z + 1) / 2``, others stay."""
        if (self.low, self.high) == (0.0, 1.0):
            return prediction
        return (prediction - self.low) / (self.high - self.low)

    def maps(self, prediction: Tensor, structures: Structures) -> Tensor:
        """Return one map in ``[0, 1]`` per structure, ``(R, *S)``, of a prediction ``(channels, *S)``.

        Class probabilities are summed over the structure's labels.
        """
        if self.joint:
            sums = [prediction[list(values)].sum(0) for values in structures.values]
            return torch.stack(sums).clamp(0, 1)
        return self.to_unit(prediction).clamp(0, 1)

    def probabilities(self, prediction: Tensor, *, axis: int = 0) -> Tensor:
        """Turn a prediction into class probabilities, background first, that sum to 1 along ``axis``.

        Class predictions stay as they are. For regions the background gets what they leave of 1, and where
        they sum to more than 1 they are scaled down.
        """
        return prediction if self.joint else with_background(self.to_unit(prediction), axis=axis)

    def hardened(self, target: Tensor) -> Tensor:
        """Make a target ``(channels, *S)`` hard: one-hot at the largest class; maps rounded at the middle."""
        if self.joint:
            largest = target.argmax(dim=0)
            return torch.stack([largest == index for index in range(len(target))]).to(torch.float32)
        middle = (self.low + self.high) / 2
        return torch.where(target >= middle, self.high, self.low).to(target.dtype)


CLASSES = TargetKind("classes", "class probabilities", 0.0, 1.0, (1.0, 0.0), joint=True)
REGIONS = TargetKind("regions", "regions in [0, 1]", 0.0, 1.0, (0.0, 0.0), joint=False)
SIGNED = TargetKind("signed", "signed maps in [-1, 1]", -1.0, 1.0, (-1.0, -1.0), joint=False)
TARGET_KINDS: dict[str, TargetKind] = {kind.name: kind for kind in (CLASSES, REGIONS, SIGNED)}
