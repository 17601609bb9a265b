"""ProstateX zones, in nnU-Net layout: ``imagesTr/<case>_0000.nii.gz``, ``labelsTr/<case>.nii.gz``.

The source is DICOM and DICOM-SEG; it is read converted.

References:
    Meyer et al. (2019), Towards patient-individual PI-RADS v2 sector map: CNN for automatic segmentation of
    prostatic zones from T2-weighted MRI, IEEE ISBI, doi:10.1109/ISBI.2019.8759572.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sfumato.data.case import Dataset
from sfumato.data.readers.description import Description, read_description
from sfumato.data.readers.layout import PublicLayout, visible
from sfumato.data.readers.nnunet import scan_folder
from sfumato.errors import SfumatoError

_CHANNELS = ("T2w",)
_LABELS = {0: "background", 1: "PZ", 2: "TZ", 3: "DPU", 4: "AFS"}


def _recognises(folder: Path) -> bool:
    images = folder / "imagesTr"
    if not images.is_dir():
        return False
    named = [folder.resolve().name, *(path.name for path in visible(images))]
    return any("prostatex" in name.lower() for name in named) or _declares_zones(folder)


def _declares_zones(folder: Path) -> bool:
    try:
        declared = read_description(folder).label_names or {}
    except SfumatoError:
        return False  # What is wrong with it is said when it is read in earnest.
    return set(_LABELS.values()) - {"background"} <= set(declared.values())


def _contradictions(folder: Path, description: Description) -> list[str]:
    """Return one sentence per zone that ``dataset.json`` stores under another value."""
    expected = {name.lower(): value for value, name in _LABELS.items()}
    return [
        f"{folder / 'dataset.json'} says that label {value} is {name}: expected {expected[name.lower()]} "
        "for it; convert the masks"
        for value, name in (description.label_names or {}).items()
        if expected.get(name.lower(), value) != value
    ]


def _scan(folder: Path) -> tuple[Dataset, list[str]]:
    description = read_description(folder)
    problems = _contradictions(folder, description)
    masks = folder / "labelsTr"
    if not masks.is_dir():
        problems.append(f"{folder} has no folder labelsTr: expected the zones' masks there")
    one_channel = replace(description, channel_names=_CHANNELS)
    cases, more = scan_folder(folder / "imagesTr", masks if masks.is_dir() else None, one_channel)
    return LAYOUT.dataset(folder, cases), problems + more


LAYOUT = PublicLayout(
    title="ProstateX zones",
    expected_cases=98,
    expects="imagesTr with ProstateX-…_0000 and labelsTr with ProstateX-… (nnU-Net layout), "
    "or a dataset.json with labels PZ, TZ, DPU and AFS",
    recognises=_recognises,
    scan=_scan,
    channels=_CHANNELS,
    labels=_LABELS,
)
