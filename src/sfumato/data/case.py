"""A case, the files it comes from, and the data set they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfumato.errors import DataError
from sfumato.structures import Structures
from sfumato.types import Image, Labels, LabelsPerRater, Soft, Spacing


@dataclass(frozen=True, eq=False)
class Case:
    """One subject, read: what training, prediction and evaluation work on.

    Attributes:
        name: The case's name, unique in its data set.
        image: Channels, ``(C, *S)``, float32, in the stored axis order.
        labels: Class per voxel, ``(*S)``, int64; ``None`` where there is neither mask nor class weights.
        labels_per_rater: One label map per rater, ``(D, *S)``, int64; ``None`` with a single mask.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        affine: Voxel index to millimetres, 4 x 4; ``None`` for pictures, which have none.
        soft: Class weights of the reference (partial volumes, averaged raters), ``(K, *S)``, if the data set
            has any.
        labels_from_soft: There is no mask: ``labels`` is the class with the largest weight.
    """

    name: str
    image: Image
    labels: Labels | None
    labels_per_rater: LabelsPerRater | None
    spacing: Spacing
    affine: np.ndarray | None
    soft: Soft | None = None
    labels_from_soft: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels per spatial axis."""
        return tuple(self.image.shape[1:])


@dataclass(frozen=True)
class SliceStack:
    """Pictures of one size that form a volume: read in this order, they lie along its last axis.

    Attributes:
        paths: One picture per slice.
    """

    paths: tuple[Path, ...]

    def __str__(self) -> str:
        """Name the stack by its first and last slice."""
        if not self.paths:
            return "a stack without slices"
        return f"{self.paths[0]} … {self.paths[-1].name} ({len(self.paths)} slices)"


VolumePath = Path | SliceStack
"""Where a volume comes from: one file, or a stack of pictures."""


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case, not yet read.

    Attributes:
        name: The case's name.
        images: One file per channel, or one that holds them all (a colour picture, a stack of them).
        mask: The reference mask, if there is one.
        rater_masks: One mask per rater; empty where there is a single mask.
        raters: Who drew each of ``rater_masks``, as indices into :attr:`Dataset.rater_names`; empty: the
            first raters, in order.
        group: What must stay together in a split (the patient); ``None``: the case itself.
        soft: Files of class weights; empty where there are none. One file holds all classes, class last, or
            with two classes the second one's weight alone; several hold one foreground class each, in order,
            and the background is what they leave of 1.
        centre: Where the case was acquired, if the names tell.
    """

    name: str
    images: tuple[VolumePath, ...]
    mask: VolumePath | None
    rater_masks: tuple[Path, ...] = ()
    raters: tuple[int, ...] = ()
    group: str | None = None
    soft: tuple[Path, ...] = ()
    centre: str | None = None

    def mask_of(self, rater: int) -> int | None:
        """Return which of ``rater_masks`` that rater drew; ``None``: none of this case."""
        return self.drawn_by.index(rater) if rater in self.drawn_by else None

    @property
    def drawn_by(self) -> tuple[int, ...]:
        """The rater of each of ``rater_masks``."""
        return self.raters or tuple(range(len(self.rater_masks)))


@dataclass(frozen=True)
class Dataset:
    """Cases that share their labels and channels.

    Attributes:
        name: The data set's name.
        cases: The files of every case, sorted by name.
        label_names: Name of every class, ``0 .. K-1``, background first.
        channel_names: Name of every image channel.
        root: The folder that the files lie in.
        regions: Region name to the labels that form it; ``None``: one region per foreground label.
        rater_names: Name of every rater; empty with a single mask.
        spacing: Millimetres per axis for files that state none (PNG, TIFF); ``None`` stands for 1.
        expected_cases: Number of cases in the public release; ``None`` where nothing says it.
        label_values: Stored mask value to class index, where the two differ (BraTS stores 4 for 3).
        notes: What the layout's reader left out or found remarkable, one sentence each.
        source: What :func:`sfumato.data.open_dataset` opens again: an absolute path, or ``sample:NAME``;
            ``None`` for a data set that was put together otherwise.
        layout: The layout that it was opened as; ``auto`` finds out.
    """

    name: str
    cases: tuple[CaseFiles, ...]
    label_names: Mapping[int, str]
    channel_names: tuple[str, ...]
    root: Path
    regions: Mapping[str, tuple[int, ...]] | None = None
    rater_names: tuple[str, ...] = ()
    spacing: Spacing | None = None
    expected_cases: int | None = None
    label_values: Mapping[int, int] | None = None
    notes: tuple[str, ...] = ()
    source: str | None = None
    layout: str = "auto"

    @property
    def num_classes(self) -> int:
        """Number of classes ``K``, background included."""
        return len(self.label_names)

    @property
    def structures(self) -> Structures:
        """Classes and regions."""
        return Structures(self.label_names, self.regions)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all cases, in order."""
        return tuple(files.name for files in self.cases)

    def raters_of(self, case: str) -> tuple[str, ...]:
        """Return the names of a case's raters, one per mask of it.

        Args:
            case: A case's name.

        Returns:
            Names of ``rater_names``; none where the case has a single mask.

        Raises:
            DataError: the data set has no such case.
        """
        for files in self.cases:
            if files.name == case:
                return tuple(self.rater_names[index] for index in files.drawn_by)
        raise DataError([f"{self.name} has no case {case!r}"])
