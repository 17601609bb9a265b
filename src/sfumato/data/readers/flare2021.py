"""FLARE 2021: abdominal CT, ``TrainingImg/train_NNN_0000.nii.gz`` and ``TrainingMask/train_NNN.nii.gz``.

References:
    Ma et al. (2022), Fast and low-GPU-memory abdomen CT organ segmentation: the FLARE challenge, Medical
    Image Analysis 82:102616, doi:10.1016/j.media.2022.102616.
"""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.readers.files import NIFTI, stem, suffix
from sfumato.data.readers.layout import PublicLayout, absent_note, file_problems, one_of, visible

_IMAGE = re.compile(r"(train_\d+)_0000")
_MASK = re.compile(r"train_\d+")
_NAMES = tuple(f"train_{number:03d}" for number in range(361))


def _names(folder: Path, pattern: re.Pattern[str]) -> set[str]:
    matches = [pattern.fullmatch(stem(path)) for path in visible(folder) if suffix(path) in NIFTI]
    return {match[match.lastindex or 0] for match in matches if match}


def _scan(folder: Path) -> tuple[Dataset, list[str]]:
    images, masks = folder / "TrainingImg", folder / "TrainingMask"
    names = sorted(_names(images, _IMAGE) | _names(masks, _MASK))
    cases, problems = [], []
    for name in names:
        files = (one_of(images, f"{name}_0000"), one_of(masks, name))
        cases.append(CaseFiles(name=name, images=files[:1], mask=files[1]))
        problems += file_problems(name, files)
    return LAYOUT.dataset(folder, cases, notes=absent_note(names, _NAMES)), problems


LAYOUT = PublicLayout(
    title="FLARE 2021",
    expected_cases=len(_NAMES),
    expects="folders TrainingImg with train_NNN_0000 and TrainingMask with train_NNN (.nii.gz or .nii)",
    recognises=lambda folder: bool(_names(folder / "TrainingImg", _IMAGE)),
    scan=_scan,
    channels=("CT",),
    labels={0: "background", 1: "liver", 2: "kidney", 3: "spleen", 4: "pancreas"},
)
