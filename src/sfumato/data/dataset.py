"""Open a data set: find its layout, its cases and its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.checks import require_choice
from sfumato.data.case import Case, CaseFiles, Dataset
from sfumato.data.readers.cases import load_case
from sfumato.data.readers.description import Description, read_description
from sfumato.data.readers.files import PICTURES, read_volume, stem, suffix
from sfumato.data.readers.layouts import LAYOUTS, layout_of, looks_like, scan_layout, wrapped_layout
from sfumato.data.readers.manifest import read_manifest
from sfumato.data.readers.masks import labels_in
from sfumato.data.readers.nnunet import scan_folder
from sfumato.errors import DataError, FileFormatError, SfumatoError, UnknownNameError

LAYOUT_NAMES = ("auto", "nnunet", "nnunet-test", "csv", "images", "sample", *LAYOUTS)
SAMPLES = Path(__file__).parent.parent / "samples"
SAMPLE_NAMES = ("hippocampus", "cells", "spinal-cord")


def open_dataset(path: Path | str, *, layout: str = "auto") -> Dataset:
    """Open a data set; its images are not read yet.

    Args:
        path: A public data set's own folder, or the one that its archive wraps around it (see
            :data:`sfumato.data.readers.layouts.LAYOUTS`); an nnU-Net folder (``imagesTr``, ``labelsTr``),
            a CSV manifest or a folder with a ``manifest.csv``, a folder of images without masks, one
            image, or ``sample:NAME``.
        layout: ``auto`` finds out; ``nnunet-test`` reads ``imagesTs`` of a folder that has both.

    Returns:
        The data set. Labels that neither the layout nor a ``dataset.json`` declares are found by reading
        every mask.

    Raises:
        FileFormatError: no such folder, or none of the layouts.
        UnknownNameError: no such layout or sample; the known ones are listed.
        DataError: every problem of the layout: a missing channel or mask, a name given twice, …
    """
    dataset, problems = scan_dataset(path, layout=layout)
    if problems:
        raise DataError(problems)
    return dataset


def scan_dataset(path: Path | str, *, layout: str = "auto") -> tuple[Dataset, list[str]]:
    """Open a data set as :func:`open_dataset` does, but list the layout's problems beside it.

    Raises:
        FileFormatError, InputError: there is nothing to list: no such folder, no known layout.
    """
    require_choice("layout", layout, LAYOUT_NAMES)
    name = str(path)
    if layout == "sample" or (layout == "auto" and name.startswith("sample:")):
        sample = name.removeprefix("sample:")
        if sample not in SAMPLE_NAMES:
            raise UnknownNameError("sample", sample, SAMPLE_NAMES)
        root, layout, source = SAMPLES / sample, "auto", f"sample:{sample}"
    else:
        root = Path(path)
        source = str(root.absolute())
    if not root.exists():
        raise FileFormatError(f"data {root} does not exist: expected a folder, a CSV manifest or sample:NAME")
    actual, root = _recognised(root) if layout == "auto" else (layout, root)
    dataset, problems = scan_layout(root, actual) if actual in LAYOUTS else _scan_own(root, actual)
    return replace(dataset, source=source, layout=layout), problems


def _scan_own(root: Path, layout: str) -> tuple[Dataset, list[str]]:
    """List a data set in one of the layouts that describe themselves."""
    folder = root if root.is_dir() else root.parent
    description = read_description(folder)
    raters: tuple[str, ...] = ()
    if layout == "csv":
        cases, raters, problems = read_manifest(root / "manifest.csv" if root.is_dir() else root)
    elif layout == "images" and root.is_file():
        cases, problems = [CaseFiles(name=stem(root).removesuffix("_0000"), images=(root,), mask=None)], []
    elif layout == "images":
        cases, problems = scan_folder(root, None, description)
    else:
        images = root / ("imagesTs" if layout == "nnunet-test" else "imagesTr")
        if not images.is_dir():
            raise FileFormatError(f"{root} has no folder {images.name}{looks_like(root)}")
        masks = root / images.name.replace("images", "labels")
        without = layout == "nnunet-test" or not masks.is_dir()
        cases, problems = scan_folder(images, None if without else masks, description)
        if without and layout == "nnunet":
            problems.append(f"{root} has no folder {masks.name}: for images without masks give {images}")
    return assembled(folder, cases, raters, description), problems


def _recognised(root: Path) -> tuple[str, Path]:
    """Find out the layout, and the folder that holds it where an archive wraps it."""
    if root.is_file():
        if root.suffix.lower() != ".csv" and not suffix(root):
            raise FileFormatError(f"data {root} is neither an image nor a CSV manifest")
        return "images" if suffix(root) else "csv", root
    if (root / "manifest.csv").exists():
        return "csv", root
    known = layout_of(root)
    if known is not None:
        return known, root
    if (root / "imagesTr").is_dir():
        return "nnunet", root
    if (root / "imagesTs").is_dir():
        return "nnunet-test", root
    wrapped = wrapped_layout(root)
    if wrapped is not None:
        return wrapped
    if any(suffix(path) for path in root.iterdir()):
        return "images", root
    state = "is empty" if not any(root.iterdir()) else "holds no known layout"
    titles = ", ".join(row.title for row in LAYOUTS.values())
    raise FileFormatError(
        f"folder {root} {state}: expected imagesTr and labelsTr (nnU-Net), a manifest.csv, image files, "
        f"or the folder of {titles} (--dataset says what each must hold){looks_like(root)}"
    )


def assembled(
    folder: Path, cases: Sequence[CaseFiles], raters: tuple[str, ...], description: Description
) -> Dataset:
    """Make a data set of cases: what the description does not say is read from the files."""
    labels = description.label_names or labels_in(cases)
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
    channels = sum(read_volume(path).channels for path in images)
    dataset = replace(dataset, channel_names=tuple(f"channel {number}" for number in range(channels)))
    return load_case(files, dataset), dataset


def _channel_names(cases: Sequence[CaseFiles], most_files: int) -> tuple[str, ...]:
    first = next((path for files in cases for path in files.images[:1]), None)
    if most_files == 1 and isinstance(first, Path) and suffix(first) in PICTURES:
        try:
            volume = read_volume(first)
        except SfumatoError:
            return ("image",)
        if volume.array.ndim > len(volume.spacing):
            return tuple(f"channel {number}" for number in range(volume.channels))
    return ("image",) if most_files == 1 else tuple(f"channel {number}" for number in range(most_files))
