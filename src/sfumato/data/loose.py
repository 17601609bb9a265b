"""One case of files that belong to no data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.data.case import Case, CaseFiles, Dataset
from sfumato.data.dataset import assembled
from sfumato.data.readers.cases import load_case
from sfumato.data.readers.description import Description
from sfumato.data.readers.files import read_volume, stem


def read_loose_case(
    images: Sequence[Path], masks: Sequence[Path], *, num_classes: int | None = None
) -> tuple[Case, Dataset]:
    """Read the image and the masks of one case, and make a data set of it alone.

    Args:
        images: One file per channel, or one that holds them all.
        masks: The mask; several are several raters, and their majority vote is the case's ``labels``.
        num_classes: Number of classes with background; by default the largest label + 1.

    Raises:
        ValueRangeError: a mask holds a label beyond ``num_classes``.
        DataError: every file that cannot be read.
        GeometryError: the files are not on one grid.
    """
    several = len(masks) > 1
    files = CaseFiles(
        name=stem(images[0]),
        images=tuple(images),
        mask=None if several else masks[0],
        rater_masks=tuple(masks) if several else (),
    )
    names = None if num_classes is None else {label: f"label {label}" for label in range(num_classes)}
    dataset = assembled(images[0].parent, [files], (), Description(label_names=names))
    channels = sum(_channels_of(path) for path in images)
    dataset = replace(dataset, channel_names=tuple(f"channel {number}" for number in range(channels)))
    return load_case(files, dataset), dataset


def _channels_of(path: Path) -> int:
    volume = read_volume(path)
    return volume.array.shape[-1] if volume.array.ndim > len(volume.spacing) else 1
