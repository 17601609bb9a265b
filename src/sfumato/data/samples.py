"""The small real data sets that come with the package; sources and licences lie beside them."""

from __future__ import annotations

from sfumato.data.case import Case, Dataset
from sfumato.data.dataset import SAMPLE_NAMES, open_dataset
from sfumato.data.readers.cases import load_case

NAMES = SAMPLE_NAMES


def dataset(name: str) -> Dataset:
    """Open a sample data set by name: ``hippocampus``, ``cells`` or ``spinal-cord``.

    Raises:
        UnknownNameError: no such sample; the known ones are listed.
    """
    return open_dataset(f"sample:{name}")


def load(name: str) -> list[Case]:
    """Read every case of a sample data set.

    ``hippocampus``: 70 volumes of 1 mm MRI, labels anterior and posterior. ``cells``: 26 pictures, one
    cell outlined by ten raters. ``spinal-cord``: one volume of 0.5 x 0.5 x 7.5 mm, cord and grey matter.

    Raises:
        UnknownNameError: no such sample; the known ones are listed.
    """
    opened = dataset(name)
    return [load_case(files, opened) for files in opened.cases]
