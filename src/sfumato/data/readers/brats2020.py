"""BraTS 2020: ``MICCAI_BraTS2020_TrainingData/BraTS20_Training_NNN/<id>_{flair,t1,t1ce,t2,seg}.nii.gz``."""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.data.case import Dataset
from sfumato.data.readers.brats import brats_case, brats_layout
from sfumato.data.readers.layout import absent_note, folders_named, one_of

_CASE = re.compile(r"BraTS20_Training_\d{3}")
# The release holds one mask under the name of the program that drew it.
_MISNAMED = {"BraTS20_Training_355": "W39_1998.09.19_Segm"}
_NAMES = tuple(f"BraTS20_Training_{number:03d}" for number in range(1, 370))


def _mask(folder: Path) -> Path:
    proper = one_of(folder, f"{folder.name}_seg")
    if proper.is_file() or folder.name not in _MISNAMED:
        return proper
    misnamed = one_of(folder, _MISNAMED[folder.name])
    return misnamed if misnamed.is_file() else proper


def _scan(folder: Path) -> tuple[Dataset, list[str]]:
    listed = [brats_case(path, mask=_mask(path)) for path in folders_named(folder, _CASE)]
    cases = [files for files, _ in listed]
    notes = absent_note((files.name for files in cases), _NAMES)
    return LAYOUT.dataset(folder, cases, notes=notes), [one for _, more in listed for one in more]


LAYOUT = brats_layout(
    title="BraTS 2020",
    expected_cases=len(_NAMES),
    expects="folders BraTS20_Training_NNN, each with <id>_flair, _t1, _t1ce, _t2 and _seg (.nii.gz or .nii)",
    recognises=lambda folder: bool(folders_named(folder, _CASE)),
    scan=_scan,
)
