"""A label: how a target is made of a case, and of a whole batch on the device where it lies."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from sfumato.checks import require_labels
from sfumato.errors import InputError
from sfumato.structures import REGIONS, Structures, TargetKind
from sfumato.types import ArrayLike, Spacing

Options = Mapping[str, Any]
When = Literal["before", "after"]


@dataclass(frozen=True)
class TargetCase:
    """What a target is made from.

    Attributes:
        labels: Class indices, ``(*S)``.
        image: ``(C, *S)``, or ``None`` for labels that do not look at it.
        structures: The classes, and the regions that they form.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        labels_per_rater: ``(D, *S)``, or ``None`` where there is one rater.
        generator: Source of random seeds.
        soft: Class weights ``(K, *S)`` that the target is made of in place of ``labels``, for the labels that
            take weights; ``None`` otherwise.
    """

    labels: Tensor
    image: ArrayLike | None
    structures: Structures
    spacing: Spacing
    labels_per_rater: Tensor | None = None
    generator: torch.Generator | None = None
    soft: Tensor | None = None

    @property
    def num_classes(self) -> int:
        """Number of classes ``K``, background included."""
        return self.structures.num_classes

    def raters(self) -> Tensor:
        """Return the labels per rater; the labels alone are one rater's."""
        return self.labels[None] if self.labels_per_rater is None else self.labels_per_rater

    def masks(self) -> Tensor:
        """Return the region masks, ``(R, *S)`` boolean."""
        # A label beyond num_classes must not vanish into the background.
        require_labels(self.labels, self.num_classes)
        return self.structures.masks(self.labels)

    def maps(self) -> Tensor:
        """Return the region masks, or the regions' weights ``(R, *S)`` where there are class weights."""
        return self.masks() if self.soft is None else self.structures.weights(self.soft)

    def intensities(self) -> ArrayLike:
        """Return the image.

        Raises:
            InputError: there is none.
        """
        if self.image is None:
            raise InputError("this method needs the image to build its target: give one")
        return self.image


@dataclass(frozen=True)
class TargetBatch:
    """What the targets of a batch are made from, all of it on one device.

    Attributes:
        labels: Class indices, ``(B, *S)``.
        image: ``(B, C, *S)``.
        structures: The classes, and the regions that they form.
        spacing: Millimetres per spatial axis, for each item.
        prepared: What :meth:`Label.prepare` returned for each item, ``(B, M, *S)``, or ``None``.
    """

    labels: Tensor
    image: Tensor
    structures: Structures
    spacing: Sequence[Spacing]
    prepared: Tensor | None = None

    def cases(self) -> list[TargetCase]:
        """Return the items one by one; none of them draws random seeds any more."""
        items = zip(self.labels, self.image, self.spacing, strict=True)
        return [TargetCase(labels, image, self.structures, spacing) for labels, image, spacing in items]


@dataclass(frozen=True)
class OnDevice:
    """How a label is made on the device where a batch lies.

    Attributes:
        prepare: Finds of one item what only the CPU can find (skeletons, random seeds, Canny's edges),
            boolean ``(M, *S)``, or nothing; it travels with the batch.
        make: Makes the targets of a whole batch at once; ``None``: item by item.
    """

    prepare: Callable[[TargetCase, Options], Tensor | None] | None = None
    make: Callable[[TargetBatch, Options], Tensor] | None = None


@dataclass(frozen=True)
class Label:
    """One way to make a target, as recipes and methods know it.

    Attributes:
        name: What a recipe calls it.
        title: What a table calls it.
        kind: What the target's channels are.
        make: Makes the target of one case, ``(channels, *S)`` float32, with every option given.
        options: Every option with its default.
        needs_image: The target depends on the image.
        takes_raters: The target is made from every rater's mask; the others look at the consensus alone.
        takes_weights: The target is the mask itself, so that class weights can take the mask's place.
        when: Whether the target is made before or after augmentation, unless a recipe says otherwise.
        binarise: The moved target is made hard again after augmentation.
        moves_mask: The target is the mask itself, resampled and augmented linearly, so it is made before
            preprocessing, on the mask's own grid.
        on_device: How it is made on a GPU, after augmentation; ``None``: it needs a library on the CPU, or
            the raters, whose number may differ from case to case.
    """

    name: str
    title: str
    kind: TargetKind
    make: Callable[[TargetCase, Options], Tensor]
    options: Options = field(default_factory=dict)
    needs_image: bool = False
    takes_raters: bool = False
    takes_weights: bool = False
    when: When = "before"
    binarise: bool = False
    moves_mask: bool = False
    on_device: OnDevice | None = None

    def prepare(self, case: TargetCase, options: Options) -> Tensor | None:
        """Return what :meth:`make_batch` needs from the CPU for one item; ``None`` where that is nothing."""
        prepare = None if self.on_device is None else self.on_device.prepare
        return None if prepare is None else prepare(case, options)

    def make_batch(self, batch: TargetBatch, options: Options) -> Tensor:
        """Make the targets of a batch where it lies, ``(B, channels, *S)`` float32."""
        if self.on_device is not None and self.on_device.make is not None:
            return self.on_device.make(batch, options)
        return torch.stack([self.make(case, options) for case in batch.cases()])


# A label function's parameters of these names are taken from the case.
_OF_CASE: dict[str, Callable[[TargetCase], Any]] = {
    "labels": lambda case: case.labels,
    "labels_per_rater": TargetCase.raters,
    "regions": TargetCase.masks,
    "image": TargetCase.intensities,
    "num_classes": lambda case: case.num_classes,
    "spacing": lambda case: case.spacing,
    "generator": lambda case: case.generator,
}


def label_of(
    function: Callable[..., Tensor],
    name: str,
    title: str,
    kind: TargetKind,
    *,
    when: When = "before",
    on_device: OnDevice | None = None,
) -> Label:
    """Make a label of a function whose signature says what it takes.

    Parameters called ``labels``, ``labels_per_rater``, ``regions``, ``image``, ``num_classes``, ``spacing``
    and ``generator`` get what the case holds; all others are the label's options and need a default.
    """
    taken = [parameter for parameter in inspect.signature(function).parameters if parameter in _OF_CASE]

    def make(case: TargetCase, options: Options) -> Tensor:
        return function(**{parameter: _OF_CASE[parameter](case) for parameter in taken}, **options)

    return Label(
        name,
        title,
        kind,
        make,
        default_options(function),
        needs_image="image" in taken,
        takes_raters="labels_per_rater" in taken,
        when=when,
        on_device=on_device,
    )


def default_options(function: Callable[..., Tensor]) -> dict[str, Any]:
    """Return the options in a label function's signature, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    options = {
        parameter.name: parameter.default for parameter in parameters if parameter.name not in _OF_CASE
    }
    for name, default in options.items():
        if default is inspect.Parameter.empty:
            raise InputError(f"option {name!r} of {function.__name__} has no default: give it one")
    return options


def per_region(label: Label) -> Label:
    """Return a label of classes as one of regions: each region against what is outside it."""

    def make(case: TargetCase, options: Options) -> Tensor:
        two = Structures.numbered(2)
        cases = [replace(case, labels=mask.long(), structures=two) for mask in case.masks()]
        return torch.stack([label.make(one, options)[1] for one in cases])

    return replace(
        label,
        name=f"{label.name}-per-region",
        title=f"{label.title} per region",
        kind=REGIONS,
        make=make,
        on_device=None,
    )
