"""LGG FLAIR: slices as pictures, ``kaggle_3m/<patient>/<patient>_<slice>.tif`` and ``…_<slice>_mask.tif``.

Every picture is 256 x 256 RGB: before contrast, FLAIR, after contrast. The slices of a patient, in the order
of their numbers, become one volume ``(rows, columns, slices)``. Masks hold 0 and 255. The files state no
spacing; a ``dataset.json`` with ``spacing`` beside the patients says it, otherwise it is 1 mm.

References:
    Buda et al. (2019), Association of genomic subtypes of lower-grade gliomas with shape features
    automatically extracted by a deep learning algorithm, Computers in Biology and Medicine 109:218-225,
    doi:10.1016/j.compbiomed.2019.05.002.
"""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset, SliceStack
from sfumato.data.readers.description import read_spacing
from sfumato.data.readers.files import stem, suffix
from sfumato.data.readers.layout import PublicLayout, fewer_note, visible

_TIFF = (".tif", ".tiff")
# TCGA_<site>_<patient>_<date>: the site is the institution that gave the tissue.
_SITE = re.compile(r"TCGA_([A-Z0-9]{2})_.+")
_SITES = {"TCGA_CS": 16, "TCGA_DU": 45, "TCGA_EZ": 1, "TCGA_FG": 14, "TCGA_HT": 34}


def _slices(patient: Path) -> tuple[dict[int, Path], dict[int, Path], list[str]]:
    """Return the pictures and masks of a patient by slice number, and one sentence per doubled number."""
    pattern = re.compile(re.escape(patient.name) + r"_(\d+)(_mask)?")
    images: dict[int, Path] = {}
    masks: dict[int, Path] = {}
    problems = []
    for path in visible(patient):
        matched = pattern.fullmatch(stem(path)) if suffix(path) in _TIFF else None
        if matched is None:
            continue
        number, stack = int(matched[1]), masks if matched[2] else images
        if number in stack:
            problems.append(
                f"case {patient.name}: slice {number} is there twice, {stack[number].name} and {path.name} "
                f"in {patient}"
            )
        stack[number] = path
    return images, masks, problems


def _is_case(folder: Path) -> bool:
    return folder.is_dir() and any(
        suffix(path) in _TIFF and re.fullmatch(re.escape(folder.name) + r"_\d+_mask", stem(path))
        for path in visible(folder)
    )


def _case(patient: Path) -> tuple[CaseFiles, list[str], list[str]]:
    """Return a patient's files, problems and notes."""
    name = patient.name
    images, masks, problems = _slices(patient)
    numbers = sorted(images.keys() | masks.keys())
    for number in range(numbers[0], numbers[-1] + 1) if numbers else ():
        if number not in images:
            problems.append(f"case {name}: {patient / f'{name}_{number}.tif'} is missing")
        if number not in masks:
            problems.append(f"case {name}: {patient / f'{name}_{number}_mask.tif'} is missing")
    if not numbers:
        problems.append(f"case {name}: {patient} has no slices: expected {name}_1.tif, {name}_1_mask.tif, …")
    notes = [f"case {name} begins with slice {numbers[0]}"] if numbers and numbers[0] > 1 else []
    site = _SITE.fullmatch(name)
    # Both stacks have a file for every number, so that image and mask of one slice meet.
    files = CaseFiles(
        name=name,
        images=(SliceStack(tuple(images.get(n, patient / f"{name}_{n}.tif") for n in numbers)),),
        mask=SliceStack(tuple(masks.get(n, patient / f"{name}_{n}_mask.tif") for n in numbers)),
        centre=site[1] if site else None,
    )
    return files, problems, notes


def _scan(folder: Path) -> tuple[Dataset, list[str]]:
    patients = [
        _case(path)
        for path in visible(folder)
        if (path.is_dir() and _SITE.fullmatch(path.name)) or _is_case(path)
    ]
    cases = tuple(files for files, _, _ in patients if files.mask != SliceStack(()))
    fewer = fewer_note((f"TCGA_{files.centre}" for files in cases), _SITES)
    return LAYOUT.dataset(
        folder,
        cases,
        notes=fewer + tuple(note for _, _, notes in patients for note in notes),
        spacing=read_spacing(folder),
    ), [one for _, more, _ in patients for one in more]


LAYOUT = PublicLayout(
    title="LGG FLAIR",
    expected_cases=sum(_SITES.values()),
    expects="folders <patient>, each with <patient>_<slice>.tif and <patient>_<slice>_mask.tif",
    recognises=lambda folder: any(_is_case(path) for path in visible(folder)),
    scan=_scan,
    channels=("pre", "FLAIR", "post"),
    labels={0: "background", 1: "abnormality"},
    stored_values={0: 0, 255: 1},
)
