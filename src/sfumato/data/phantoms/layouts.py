"""Tiny made-up data sets in the layouts that users have on disk.

Names of folders and files, channels, stored values, raters and centres are those of the public releases;
the pictures are phantoms. Nothing in them comes from a person.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile

from sfumato.checks import require_choice
from sfumato.data.phantoms import anatomies
from sfumato.data.phantoms.anatomies import Anatomy, case_phantom, stored_image
from sfumato.data.readers.files import write_volume
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.labels import majority_vote
from sfumato.output import atomic_output

_LEAST_SIDE = 4


@dataclass(frozen=True, eq=False)
class _Case:
    """One case ready to be written.

    Attributes:
        index: Its place among the cases, from 0.
        last: Whether it is the last of them.
        image: ``(C, *S)``, int16.
        labels: The mask, or the raters' majority, ``(*S)``, class indices.
        raters: ``(D, *S)``; ``D`` is 0 with a single mask.
        soft: True share of every class, ``(K, *S)``.
        affine: Voxel index to mm.
    """

    index: int
    last: bool
    image: np.ndarray
    labels: np.ndarray
    raters: np.ndarray
    soft: np.ndarray
    affine: np.ndarray

    def save(self, path: Path, array: np.ndarray) -> None:
        """Write one NIfTI file on this case's grid."""
        write_volume(path, array, affine=self.affine)


class _MadeUpLayout(NamedTuple):
    """A data set's anatomy, how a case of it is written, and what describes the whole."""

    anatomy: Anatomy
    write: Callable[[Path, _Case], None]
    folder: str = ""
    describe: Callable[[Path, int], None] | None = None


def write_layout(
    name: str, folder: Path | str, *, cases: int = 4, seed: int = 0, size: tuple[int, int, int] | None = None
) -> Path:
    """Write a tiny made-up data set in the layout of a public release.

    Every class occurs in every case, except that the last of several cases lacks one where that happens in
    the real data too (no enhancing tumour, no pancreas, no lesion, …). Details of the releases are kept:
    BraTS stores the enhancing tumour as 4; its 2020 release is uncompressed, and the last of several cases
    is number 355, whose mask has another name; KiTS stores its slices along the first axis; LGG is one
    colour picture and one mask of 0 and 255 per slice.

    Args:
        name: One of :data:`LAYOUT_NAMES`.
        folder: Where; made if it is missing. What is there already is not overwritten.
        cases: How many cases, 1 or more.
        seed: The same seed writes the same voxels; more cases change none but the one that was last.
        size: Voxels per axis; ``None``: about 24, fewer along thick slices.

    Returns:
        The folder to open: what the release's archive unpacks to.

    Raises:
        OutputExistsError: a file is there already.
        ShapeError, ValueRangeError: ``size`` is not three numbers of at least 4, or ``cases`` is below 1.
        UnknownNameError: ``name`` is not known.
    """
    require_choice("layout", name, LAYOUT_NAMES)
    if cases < 1:
        raise ValueRangeError(f"cases is {cases}: give 1 or more")
    layout = _LAYOUTS[name]
    shape = layout.anatomy.size if size is None else tuple(size)
    if len(shape) != 3:
        raise ShapeError(f"size has {len(shape)} values {shape}: give three, voxels per axis")
    if min(shape) < _LEAST_SIDE:
        raise ValueRangeError(f"size is {shape}: every side must be at least {_LEAST_SIDE} voxels")
    root = Path(folder) / layout.folder
    for index in range(cases):
        layout.write(root, _made(layout.anatomy, shape, seed, index, last=index == cases - 1 > 0))
    if layout.describe is not None:
        layout.describe(root, cases)
    return root


def _made(anatomy: Anatomy, size: tuple[int, int, int], seed: int, index: int, *, last: bool) -> _Case:
    made = case_phantom(anatomy, size=size, seed=(seed, index), lacking=anatomy.missing if last else None)
    raters = made.labels_per_rater
    if raters is None:
        labels, per_rater = made.labels, np.zeros((0, *size), dtype=np.int64)
    else:
        labels, per_rater = majority_vote(raters, num_classes=anatomy.num_classes), raters.numpy()
    # Left-right and front-back run against the stored axes, as in most of these releases.
    affine = np.diag([-anatomy.spacing[0], -anatomy.spacing[1], anatomy.spacing[2], 1.0])
    affine[:3, 3] = (12.0, 8.5, -20.0)
    return _Case(
        index, last, stored_image(anatomy, made), labels.numpy(), per_rater, made.soft.numpy(), affine
    )


def _write_brats2019(root: Path, case: _Case) -> None:
    # The last case, which may lack the enhancing tumour, is a low-grade one.
    grade = "LGG" if case.last or case.index % 2 else "HGG"
    name = f"BraTS19_2013_{case.index + 1}_1"
    _write_brats(root / grade / name, case, ending=".nii.gz", mask=f"{name}_seg")


def _write_brats2020(root: Path, case: _Case) -> None:
    number = 355 if case.last else case.index + 1
    name = f"BraTS20_Training_{number:03d}"
    mask = "W39_1998.09.19_Segm" if number == 355 else f"{name}_seg"
    _write_brats(root / name, case, ending=".nii", mask=mask)


def _write_brats(folder: Path, case: _Case, *, ending: str, mask: str) -> None:
    for channel, image in zip(("flair", "t1", "t1ce", "t2"), case.image, strict=True):
        case.save(folder / f"{folder.name}_{channel}{ending}", image)
    case.save(folder / f"{mask}{ending}", np.where(case.labels == 3, 4, case.labels))


def _write_flare(root: Path, case: _Case) -> None:
    number = f"{case.index:03d}"
    case.save(root / "TrainingImg" / f"train_{number}_0000.nii.gz", case.image[0])
    case.save(root / "TrainingMask" / f"train_{number}.nii.gz", case.labels)


def _write_kits(root: Path, case: _Case) -> None:
    folder = root / "data" / f"case_{case.index:05d}"
    # The release stores its slices first: the first axis is head-foot, the third left-right.
    case = replace(case, affine=case.affine[[2, 1, 0, 3]])
    case.save(folder / "imaging.nii.gz", case.image[0])
    case.save(folder / "segmentation.nii.gz", case.labels)


def _write_lidc(root: Path, case: _Case) -> None:
    folder = root / f"LIDC-IDRI-{case.index + 1:04d}"
    case.save(folder / "image.nii.gz", case.image[0])
    for number, labels in enumerate(case.raters, start=1):
        case.save(folder / f"mask_rater{number}.nii.gz", labels)


def _write_scgm(root: Path, case: _Case) -> None:
    name = f"site{case.index % 4 + 1}-sc{case.index // 4 + 1:02d}"
    case.save(root / f"{name}-image.nii.gz", case.image[0])
    for number, labels in enumerate(case.raters, start=1):
        case.save(root / f"{name}-mask-r{number}.nii.gz", labels)


def _write_msseg(root: Path, case: _Case) -> None:
    centre = ("01", "07", "08")[case.index % 3]
    folder = root / f"Center_{centre}" / f"Patient_{case.index // 3 + 1:02d}"
    for channel, image in zip(("FLAIR", "T1", "T2", "DP", "GADO"), case.image, strict=True):
        case.save(folder / "Preprocessed_Data" / f"{channel}_preprocessed.nii.gz", image)
    for number, labels in enumerate(case.raters, start=1):
        case.save(folder / "Masks" / f"ManualSegmentation_{number}.nii.gz", labels)
    case.save(folder / "Masks" / "Consensus.nii.gz", case.labels)


def _write_lgg(root: Path, case: _Case) -> None:
    name = f"TCGA_XX_{4941 + case.index}_20000101"
    colours = np.moveaxis(case.image.clip(0, 255).astype(np.uint8), 0, -1)
    for index in range(case.labels.shape[2]):
        stem = root / name / f"{name}_{index + 1}"
        _save_picture(stem.with_name(f"{stem.name}.tif"), colours[:, :, index], "rgb")
        mask = (255 * case.labels[:, :, index]).astype(np.uint8)
        _save_picture(stem.with_name(f"{stem.name}_mask.tif"), mask, "minisblack")


def _save_picture(path: Path, array: np.ndarray, photometric: str) -> None:
    with atomic_output(path) as temporary:
        tifffile.imwrite(temporary, np.ascontiguousarray(array), photometric=photometric)


def _write_bids(root: Path, case: _Case) -> None:
    name = f"sub-{case.index + 1:02d}"
    anatomy, manual = root / name / "anat", root / "derivatives" / "manual" / name / "anat"
    for channel, image in zip(("T1w", "FLAIR"), case.image, strict=True):
        case.save(anatomy / f"{name}_{channel}.nii.gz", image)
    for number, labels in enumerate(case.raters, start=1):
        case.save(manual / f"{name}_desc-rater{number}_dseg.nii.gz", labels)
    case.save(manual / f"{name}_label-lesion_probseg.nii.gz", case.soft[1])


def _describe_bids(root: Path, cases: int) -> None:
    _save_json(
        root / "dataset_description.json",
        {"Name": "made-up lesions", "BIDSVersion": "1.9.0", "DatasetType": "raw"},
    )
    _save_json(
        root / "derivatives" / "manual" / "dataset_description.json",
        {
            "Name": "made-up outlines",
            "BIDSVersion": "1.9.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "sfumato"}],
        },
    )
    names = "".join(f"sub-{number:02d}\n" for number in range(1, cases + 1))
    _save_text(root / "participants.tsv", "participant_id\n" + names)
    _save_text(root / "derivatives" / "manual" / "dseg.tsv", "index\tname\n0\tbackground\n1\tlesion\n")


def _write_nnunet(root: Path, case: _Case) -> None:
    name = f"case_{case.index + 1:03d}"
    for channel, image in enumerate(case.image):
        case.save(root / "imagesTr" / f"{name}_{channel:04d}.nii.gz", image)
    case.save(root / "labelsTr" / f"{name}.nii.gz", case.labels)


def _describe_nnunet(root: Path, cases: int, *, channels: tuple[str, ...], labels: tuple[str, ...]) -> None:
    content = {
        "channel_names": {str(index): name for index, name in enumerate(channels)},
        "labels": {name: index for index, name in enumerate(labels)},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    _save_json(root / "dataset.json", content)


_CSV_COLUMNS = ("case", "image", "mask", "mask_rater1", "mask_rater2", "mask_rater3", "soft", "group")


def _csv_row(index: int) -> dict[str, str]:
    name = f"case{index + 1}"
    files = {column: f"files/{name}_{column}.nii.gz" for column in _CSV_COLUMNS[1:-1]}
    # Two cases a patient: what a split must keep together.
    return {"case": name, **files, "group": f"patient{index // 2 + 1}"}


def _write_csv(root: Path, case: _Case) -> None:
    row = _csv_row(case.index)
    case.save(root / row["image"], case.image[0])
    case.save(root / row["mask"], case.labels)
    case.save(root / row["soft"], np.moveaxis(case.soft, 0, -1))
    for number, labels in enumerate(case.raters, start=1):
        case.save(root / row[f"mask_rater{number}"], labels)


def _describe_csv(root: Path, cases: int) -> None:
    _save_json(root / "dataset.json", {"labels": {"background": 0, "organ": 1}, "channel_names": ["T1"]})
    with atomic_output(root / "manifest.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, _CSV_COLUMNS)
        writer.writeheader()
        writer.writerows(_csv_row(index) for index in range(cases))


def _save_json(path: Path, content: Mapping[str, Any]) -> None:
    _save_text(path, json.dumps(content, indent=2) + "\n")


def _save_text(path: Path, text: str) -> None:
    with atomic_output(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


_ORGAN = partial(_describe_nnunet, channels=("T1", "T2"), labels=("background", "organ", "tumour"))
_ZONES = partial(_describe_nnunet, channels=("T2w",), labels=("background", "PZ", "TZ", "DPU", "AFS"))
_LAYOUTS: dict[str, _MadeUpLayout] = {
    "brats2019": _MadeUpLayout(anatomies.BRATS, _write_brats2019, "MICCAI_BraTS_2019_Data_Training"),
    "brats2020": _MadeUpLayout(anatomies.BRATS, _write_brats2020, "MICCAI_BraTS2020_TrainingData"),
    "flare2021": _MadeUpLayout(anatomies.FLARE, _write_flare),
    "kits2019": _MadeUpLayout(anatomies.KITS, _write_kits),
    "prostatex": _MadeUpLayout(anatomies.PROSTATEX, _write_nnunet, describe=_ZONES),
    "lidc": _MadeUpLayout(anatomies.LIDC, _write_lidc),
    "scgm": _MadeUpLayout(anatomies.SCGM, _write_scgm),
    "msseg2016": _MadeUpLayout(anatomies.MSSEG, _write_msseg),
    "lgg": _MadeUpLayout(anatomies.LGG, _write_lgg, "kaggle_3m"),
    "bids": _MadeUpLayout(anatomies.BIDS, _write_bids, describe=_describe_bids),
    "nnunet": _MadeUpLayout(anatomies.TWO_CLASSES, _write_nnunet, describe=_ORGAN),
    "csv": _MadeUpLayout(anatomies.RATED, _write_csv, describe=_describe_csv),
}

LAYOUT_NAMES = tuple(_LAYOUTS)
"""Every layout that :func:`write_layout` writes."""
