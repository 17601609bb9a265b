"""Open a data set: find its layout, its cases and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from sfumato.checks import require_choice
from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.readers.description import Description, read_description
from sfumato.data.readers.files import PICTURES, read_volume, stem, suffix
from sfumato.data.readers.manifest import read_manifest
from sfumato.data.readers.nnunet import scan_folder
from sfumato.errors import DataError, FileFormatError, SfumatoError, UnknownNameError

Kind = Literal["auto", "nnunet", "nnunet-test", "csv", "images", "sample"]
KINDS = ("auto", "nnunet", "nnunet-test", "csv", "images", "sample")
SAMPLES = Path(__file__).parent.parent / "samples"
SAMPLE_NAMES = ("hippocampus", "cells", "spinal-cord")

_MOST_LABELS = 256


def open_dataset(path: Path | str, *, kind: Kind = "auto") -> Dataset:
    """Open a data set; its images are not read yet.

    Args:
        path: An nnU-Net folder (``imagesTr``, ``labelsTr``), a CSV manifest or a folder with a
            ``manifest.csv``, a folder of images without masks, one image, or ``sample:NAME``.
        kind: ``auto`` finds out; ``nnunet-test`` reads ``imagesTs`` of a folder that has both.

    Returns:
        The data set. Labels that no ``dataset.json`` declares are found by reading every mask.

    Raises:
        FileFormatError: no such folder, or none of the layouts.
        DataError: every problem of the layout: a missing channel or mask, a name given twice, …
    """
    dataset, problems = scan_dataset(path, kind=kind)
    if problems:
        raise DataError(problems)
    return dataset


def scan_dataset(path: Path | str, *, kind: Kind = "auto") -> tuple[Dataset, list[str]]:
    """Open a data set as :func:`open_dataset` does, but list the layout's problems beside it.

    Raises:
        FileFormatError, InputError: there is nothing to list: no such folder, no known layout.
    """
    require_choice("kind of data", kind, KINDS)
    name = str(path)
    if kind == "sample" or (kind == "auto" and name.startswith("sample:")):
        sample = name.removeprefix("sample:")
        if sample not in SAMPLE_NAMES:
            raise UnknownNameError("sample", sample, SAMPLE_NAMES)
        path, kind = SAMPLES / sample, "auto"
    root = Path(path)
    if not root.exists():
        raise FileFormatError(f"data {root} does not exist: expected a folder, a CSV manifest or sample:NAME")
    folder = root if root.is_dir() else root.parent
    found = _layout(root) if kind == "auto" else kind
    description = read_description(folder)
    raters: tuple[str, ...] = ()
    if found == "csv":
        cases, raters, problems = read_manifest(root / "manifest.csv" if root.is_dir() else root)
    elif found == "images" and root.is_file():
        cases, problems = [CaseFiles(name=stem(root).removesuffix("_0000"), images=(root,), mask=None)], []
    elif found == "images":
        cases, problems = scan_folder(root, None, description)
    else:
        images = root / ("imagesTs" if found == "nnunet-test" else "imagesTr")
        if not images.is_dir():
            raise FileFormatError(f"{root} has no folder {images.name}")
        masks = root / images.name.replace("images", "labels")
        without = found == "nnunet-test" or not masks.is_dir()
        cases, problems = scan_folder(images, None if without else masks, description)
        if without and found == "nnunet":
            problems.append(f"{root} has no folder {masks.name}: for images without masks give {images}")
    return assembled(folder, cases, raters, description), problems


def _layout(root: Path) -> Kind:
    if root.is_file():
        if root.suffix.lower() != ".csv" and not suffix(root):
            raise FileFormatError(f"data {root} is neither an image nor a CSV manifest")
        return "images" if suffix(root) else "csv"
    if (root / "manifest.csv").exists():
        return "csv"
    if (root / "imagesTr").is_dir():
        return "nnunet"
    if (root / "imagesTs").is_dir():
        return "nnunet-test"
    if any(suffix(path) for path in root.iterdir()):
        return "images"
    state = "is empty" if not any(root.iterdir()) else "holds no known layout"
    raise FileFormatError(
        f"folder {root} {state}: expected imagesTr and labelsTr (nnU-Net), a manifest.csv, or image files"
    )


def assembled(
    folder: Path, cases: Sequence[CaseFiles], raters: tuple[str, ...], description: Description
) -> Dataset:
    """Make a data set of cases: what the description does not say is read from the files."""
    labels = description.label_names or _labels_in(cases)
    most_files = max((len(files.images) for files in cases), default=1)
    names = description.channel_names or _channel_names(cases, most_files)
    rater_names = description.rater_names if len(description.rater_names) == len(raters) else raters
    return Dataset(
        name=description.name or folder.resolve().name,
        cases=tuple(cases),
        label_names=labels,
        channel_names=names,
        regions=description.regions,
        rater_names=rater_names,
        root=folder,
        spacing=description.spacing,
    )


def _channel_names(cases: Sequence[CaseFiles], most_files: int) -> tuple[str, ...]:
    first = next((path for files in cases for path in files.images[:1]), None)
    if most_files == 1 and first is not None and suffix(first) in PICTURES:
        try:
            volume = read_volume(first)
        except SfumatoError:
            return ("image",)
        if volume.array.ndim > len(volume.spacing):
            return tuple(f"channel {number}" for number in range(volume.array.shape[-1]))
    return ("image",) if most_files == 1 else tuple(f"channel {number}" for number in range(most_files))


def _labels_in(cases: Sequence[CaseFiles]) -> dict[int, str]:
    """Find the labels by reading every mask; a mask that cannot be read is reported when its case is."""
    values: set[int] = set()
    paths = dict.fromkeys(path for files in cases for path in (files.mask, *files.rater_masks) if path)
    for path in paths:
        try:
            array = read_volume(path).array
        except SfumatoError:
            continue
        whole = array[np.isfinite(array)] if array.dtype.kind == "f" else array
        values |= {int(value) for value in np.unique(whole) if value == int(value)}
    if values and values <= {0, 255}:
        values = {0, 1}
    sensible = [value for value in values if 0 <= value < _MOST_LABELS]
    return {0: "background"} | {value: f"label {value}" for value in range(1, max(sensible, default=0) + 1)}
