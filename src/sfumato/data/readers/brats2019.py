"""BraTS 2019: ``MICCAI_BraTS_2019_Data_Training/{HGG,LGG}/<id>/<id>_{flair,t1,t1ce,t2,seg}.nii.gz``."""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.readers.brats import brats_case, brats_layout
from sfumato.data.readers.layout import fewer_note, folders_named

_CASE = re.compile(r"BraTS19_.+")
# BraTS19_2013_… came from the challenge of that year, which had several institutions.
_CENTRE = re.compile(r"BraTS19_([A-Za-z]+\d*)_.+")
_GRADES = {"HGG": 259, "LGG": 76}


def _folders(folder: Path) -> list[Path]:
    return [case for grade in _GRADES for case in folders_named(folder / grade, _CASE)]


def _scan(folder: Path) -> tuple[Dataset, list[str]]:
    cases: dict[str, CaseFiles] = {}
    problems: list[str] = []
    folders = _folders(folder)
    for path in folders:
        matched = _CENTRE.fullmatch(path.name)
        files, more = brats_case(path, centre=matched[1] if matched else None)
        problems += more
        if path.name in cases:
            problems.append(f"case {path.name} lies in HGG and in LGG of {folder}")
        cases[path.name] = files
    notes = fewer_note((path.parent.name for path in folders), _GRADES)
    return LAYOUT.dataset(folder, cases.values(), notes=notes), problems


LAYOUT = brats_layout(
    title="BraTS 2019",
    expected_cases=sum(_GRADES.values()),
    expects="folders HGG and LGG of BraTS19_<institution>_…, each with "
    "<id>_flair, _t1, _t1ce, _t2 and _seg (.nii.gz or .nii)",
    recognises=lambda folder: bool(_folders(folder)),
    scan=_scan,
)
