"""LIDC-IDRI crops around nodules: ``<id>/image.nii.gz`` and ``<id>/mask_rater{1..4}.nii.gz``.

The documented crops have 90^3 voxels of 1 mm and four readers. The readers have no identity across scans:
reader 1 of one scan need not be reader 1 of the next. Crops exported as pictures are read too.

References:
    Armato et al. (2011), The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative
    (IDRI), Medical Physics 38:915-931, doi:10.1118/1.3528204.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.readers.description import read_spacing
from sfumato.data.readers.files import NIFTI, SUFFIXES
from sfumato.data.readers.layout import PublicLayout, file_problems, one_of, visible

RATERS = ("rater1", "rater2", "rater3", "rater4")
_PATIENT = re.compile(r"(LIDC-IDRI-\d{4})(?:_.+)?")


def _patient(name: str) -> str | None:
    matched = _PATIENT.fullmatch(name)
    return matched[1] if matched else None


def _is_case(folder: Path) -> bool:
    # Pictures with raters' masks beside them are a common layout: only LIDC's own names tell them apart.
    endings = SUFFIXES if _patient(folder.name) else NIFTI
    names = ("image", *(f"mask_{rater}" for rater in RATERS))
    return sum(one_of(folder, name, endings).is_file() for name in names) > 1


def _folders(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if path.is_dir() and (_patient(path.name) or _is_case(path))]


def _case(folder: Path, readers: tuple[int, ...]) -> tuple[CaseFiles, list[str]]:
    image = one_of(folder, "image", SUFFIXES)
    masks = tuple(one_of(folder, f"mask_{RATERS[reader]}", SUFFIXES) for reader in readers)
    files = CaseFiles(
        name=folder.name,
        images=(image,),
        mask=None,
        rater_masks=masks,
        raters=readers,
        group=_patient(folder.name),
    )
    return files, file_problems(folder.name, (image, *masks), SUFFIXES)


def _readers(folders: list[Path]) -> tuple[int, ...]:
    """Return which of the four read one patient: all, unless several crops all lack somebody's mask."""
    everybody = tuple(range(len(RATERS)))
    there = tuple(
        reader
        for reader in everybody
        if any(one_of(folder, f"mask_{RATERS[reader]}", SUFFIXES).is_file() for folder in folders)
    )
    return there if there and len(folders) > 1 else everybody


def _scan(folder: Path) -> tuple[Dataset, list[str]]:
    patients: dict[str, list[Path]] = defaultdict(list)
    for path in _folders(folder):
        patients[_patient(path.name) or path.name].append(path)
    cases, problems, notes = [], [], []
    for patient, crops in patients.items():
        readers = _readers(crops)
        if len(readers) < len(RATERS):
            notes.append(
                f"{patient} was read by {len(readers)} of {len(RATERS)} raters, in all {len(crops)} crops"
            )
        for crop in crops:
            files, more = _case(crop, readers)
            cases.append(files)
            problems += more
    if len(patients) < len(cases):
        notes.append(
            f"the {len(cases)} cases are crops of {len(patients)} patient{'s' * (len(patients) > 1)}; "
            f"the {LAYOUT.expected_cases} expected are scans"
        )
    return LAYOUT.dataset(folder, cases, notes=notes, spacing=read_spacing(folder)), problems


LAYOUT = PublicLayout(
    title="LIDC-IDRI",
    expected_cases=887,
    expects="folders such as LIDC-IDRI-0001_01, each with image and mask_rater1 .. mask_rater4 (.nii.gz)",
    recognises=lambda folder: any(path.is_dir() and _is_case(path) for path in visible(folder)),
    scan=_scan,
    channels=("CT",),
    labels={0: "background", 1: "nodule"},
    raters=RATERS,
)
