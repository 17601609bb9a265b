"""KiTS 2019: kidney tumours in CT, ``data/case_NNNNN/{imaging,segmentation}.nii.gz``.

References:
    Heller et al. (2021), The state of the art in kidney and kidney tumor segmentation in contrast-enhanced
    CT imaging: results of the KiTS19 challenge, Medical Image Analysis 67:101821,
    doi:10.1016/j.media.2020.101821.
"""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.readers.layout import (
    PublicLayout,
    absent_note,
    file_problems,
    folders_named,
    listed,
    one_of,
)

_CASE = re.compile(r"case_(\d{5})")
# Cases from 210 on are the challenge's test set, whose masks are not public.
_NAMES = tuple(f"case_{number:05d}" for number in range(210))


def _scan(folder: Path) -> tuple[Dataset, list[str]]:
    cases, problems, unlabelled = [], [], []
    for path in folders_named(folder, _CASE):
        image, mask = one_of(path, "imaging"), one_of(path, "segmentation")
        if path.name > _NAMES[-1] and not mask.is_file():
            unlabelled.append(path.name)
            continue
        cases.append(CaseFiles(name=path.name, images=(image,), mask=mask))
        problems += file_problems(path.name, (image, mask))
    notes = absent_note((files.name for files in cases), _NAMES)
    if unlabelled:
        notes += (f"{len(unlabelled)} test cases without a mask are left out: {listed(unlabelled)}",)
    return LAYOUT.dataset(folder, cases, notes=notes), problems


LAYOUT = PublicLayout(
    title="KiTS 2019",
    expected_cases=len(_NAMES),
    expects="folders case_NNNNN, each with imaging and segmentation (.nii.gz or .nii)",
    recognises=lambda folder: bool(folders_named(folder, _CASE)),
    scan=_scan,
    channels=("CT",),
    labels={0: "background", 1: "kidney", 2: "tumour"},
)
