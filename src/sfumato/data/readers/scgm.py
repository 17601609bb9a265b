"""Spinal cord grey matter challenge: ``siteN-scNN-image.nii.gz`` and ``siteN-scNN-mask-r{1..4}.nii.gz``.

References:
    Prados et al. (2017), Spinal cord grey matter segmentation challenge, NeuroImage 152:312-329,
    doi:10.1016/j.neuroimage.2017.03.010.
"""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.readers.files import NIFTI, stem, suffix
from sfumato.data.readers.layout import PublicLayout, absent_note, file_problems, listed, one_of, visible

_FILE = re.compile(r"((site\d)-sc(\d+))-(image|mask-r\d)")
_RATERS = ("r1", "r2", "r3", "r4")
_LAST_TRAINING = 10  # site1-sc11 and on are the challenge's test images.
_SITES = {f"site{site}": [f"site{site}-sc{number:02d}" for number in range(1, 21)] for site in range(1, 5)}


def _names(folder: Path) -> list[str]:
    matches = [_FILE.fullmatch(stem(path)) for path in visible(folder) if suffix(path) in NIFTI]
    return sorted({match[1] for match in matches if match})


def _scan(folder: Path) -> tuple[Dataset, list[str]]:
    cases, problems, unlabelled = [], [], []
    names = _names(folder)
    for name in names:
        image = one_of(folder, f"{name}-image")
        masks = tuple(one_of(folder, f"{name}-mask-{rater}") for rater in _RATERS)
        site, _, number = name.partition("-sc")
        if int(number) > _LAST_TRAINING and not any(mask.is_file() for mask in masks):
            unlabelled.append(name)
            continue
        cases.append(CaseFiles(name=name, images=(image,), mask=None, rater_masks=masks, centre=site))
        problems += file_problems(name, (image, *masks))
    notes = [note for site, every in _SITES.items() for note in absent_note(names, every, of=site)]
    if unlabelled:
        notes.append(f"{len(unlabelled)} test images without masks are left out: {listed(unlabelled)}")
    return LAYOUT.dataset(folder, cases, notes=notes), problems


LAYOUT = PublicLayout(
    title="SCGM",
    expected_cases=sum(map(len, _SITES.values())),
    expects="files siteN-scNN-image and siteN-scNN-mask-r1 .. -mask-r4 (.nii.gz or .nii)",
    recognises=lambda folder: bool(_names(folder)),
    scan=_scan,
    channels=("T2*w",),
    labels={0: "background", 1: "gray matter", 2: "white matter"},
    raters=tuple(f"rater{number}" for number in range(1, len(_RATERS) + 1)),
)
