"""MSSEG 2016: multiple-sclerosis lesions, seven raters and their consensus.

``Center_NN/Patient_NN/Preprocessed_Data/{FLAIR,T1,T2,DP,GADO}_preprocessed.nii.gz``,
``Center_NN/Patient_NN/Masks/{ManualSegmentation_1..7,Consensus}.nii.gz``.

References:
    Commowick et al. (2018), Objective evaluation of multiple sclerosis lesion segmentation using a data
    management and processing infrastructure, Scientific Reports 8:13650, doi:10.1038/s41598-018-31911-7.
"""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.readers.layout import PublicLayout, fewer_note, file_problems, folders_named, one_of

_CENTRE = re.compile(r"Center_\d+")
_PATIENT = re.compile(r"Patient_\d+")
_CHANNELS = ("FLAIR", "T1", "T2", "DP", "GADO")
_RATERS = 7
# The training cases; a fourth centre, 03, has test cases only.
_CENTRES = {"Center_01": 5, "Center_07": 5, "Center_08": 5}


def _patients(folder: Path) -> list[Path]:
    return [
        patient for centre in folders_named(folder, _CENTRE) for patient in folders_named(centre, _PATIENT)
    ]


def _case(patient: Path) -> tuple[CaseFiles, list[str]]:
    centre = patient.parent.name
    name = f"{centre}_{patient.name}"
    images = tuple(one_of(patient / "Preprocessed_Data", f"{channel}_preprocessed") for channel in _CHANNELS)
    masks = patient / "Masks"
    consensus = one_of(masks, "Consensus")
    raters = tuple(one_of(masks, f"ManualSegmentation_{number}") for number in range(1, _RATERS + 1))
    files = CaseFiles(name=name, images=images, mask=consensus, rater_masks=raters, centre=centre)
    every = (*images, consensus, *raters)
    return files, file_problems(name, every)


def _scan(folder: Path) -> tuple[Dataset, list[str]]:
    patients = _patients(folder)
    listed = [_case(patient) for patient in patients]
    return LAYOUT.dataset(
        folder,
        tuple(files for files, _ in listed),
        notes=fewer_note((patient.parent.name for patient in patients), _CENTRES),
    ), [one for _, more in listed for one in more]


LAYOUT = PublicLayout(
    title="MSSEG 2016",
    expected_cases=sum(_CENTRES.values()),
    expects="folders Center_NN/Patient_NN, each with Preprocessed_Data/<channel>_preprocessed and "
    "Masks/ManualSegmentation_1 .. 7 and Masks/Consensus (.nii.gz or .nii)",
    recognises=lambda folder: bool(_patients(folder)),
    scan=_scan,
    channels=_CHANNELS,
    labels={0: "background", 1: "lesion"},
    raters=tuple(f"rater{number}" for number in range(1, _RATERS + 1)),
)
