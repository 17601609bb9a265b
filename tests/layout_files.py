"""Writes tiny data sets in the public layouts, as their archives unpack them."""

import numpy as np
from PIL import Image

from tiny_data import SHAPE, mask, picture, write_nifti


def zones(*values, shape=SHAPE):
    """A mask whose first slices along the first axis hold the values in turn; the rest is 0."""
    labels = np.zeros(shape, np.uint8)
    for number, value in enumerate(values):
        labels[number] = value
    return labels


def write_brats(folder, *, labels=(1, 2, 4), ending=".nii.gz", mask_name=None):
    name = folder.name
    for number, channel in enumerate(("flair", "t1", "t1ce", "t2")):
        write_nifti(folder / f"{name}_{channel}{ending}", picture(number))
    write_nifti(folder / f"{mask_name or name + '_seg'}{ending}", zones(*labels))
    return folder


def write_brats2019(root, *, inner="MICCAI_BraTS_2019_Data_Training"):
    inside = root / inner
    write_brats(inside / "HGG" / "BraTS19_CBICA_AAB_1")
    write_brats(inside / "HGG" / "BraTS19_2013_10_1")
    write_brats(inside / "LGG" / "BraTS19_TCIA09_141_1")
    return inside


def write_brats2020(root, *, ending=".nii"):
    inside = root / "MICCAI_BraTS2020_TrainingData"
    write_brats(inside / "BraTS20_Training_001", ending=ending)
    write_brats(inside / "BraTS20_Training_355", ending=ending, mask_name="W39_1998.09.19_Segm")
    return inside


def write_flare2021(root):
    for name in ("train_000", "train_007"):
        write_nifti(root / "TrainingImg" / f"{name}_0000.nii.gz", picture())
        write_nifti(root / "TrainingMask" / f"{name}.nii.gz", zones(1, 2, 3, 4))
    return root


def write_kits2019(root):
    for name in ("case_00000", "case_00209", "case_00210"):
        write_nifti(root / "data" / name / "imaging.nii.gz", picture())
        if name != "case_00210":
            write_nifti(root / "data" / name / "segmentation.nii.gz", zones(1, 2))
    return root / "data"


def write_prostatex(root, *, names=("ProstateX-0004", "ProstateX-0007")):
    for name in names:
        write_nifti(root / "imagesTr" / f"{name}_0000.nii.gz", picture())
        write_nifti(root / "labelsTr" / f"{name}.nii.gz", zones(1, 2, 3, 4))
    return root


def write_lidc(root, *, names=("LIDC-IDRI-0001_01", "LIDC-IDRI-0002_01", "LIDC-IDRI-0002_02"), raters=4):
    for name in names:
        write_nifti(root / name / "image.nii.gz", picture())
        for number in range(1, raters + 1):
            write_nifti(root / name / f"mask_rater{number}.nii.gz", zones(*[1] * number))
    return root


def write_scgm(root):
    for name in ("site1-sc01", "site3-sc10", "site3-sc11"):
        write_nifti(root / f"{name}-image.nii.gz", picture())
        for number in range(1, 5) if name != "site3-sc11" else ():
            write_nifti(root / f"{name}-mask-r{number}.nii.gz", zones(*[1] * number, 2))
    return root


def write_msseg2016(root):
    for centre, patient in (
        ("Center_01", "Patient_01"),
        ("Center_01", "Patient_02"),
        ("Center_07", "Patient_01"),
    ):
        folder = root / centre / patient
        for number, channel in enumerate(("FLAIR", "T1", "T2", "DP", "GADO")):
            write_nifti(folder / "Preprocessed_Data" / f"{channel}_preprocessed.nii.gz", picture(number))
        for number in range(1, 8):
            write_nifti(folder / "Masks" / f"ManualSegmentation_{number}.nii.gz", zones(*[1] * (number % 3)))
        write_nifti(folder / "Masks" / "Consensus.nii.gz", zones(1, 1))
    return root


LGG_SHAPE = (5, 4)


def lgg_slice(number):
    """The picture of a slice: every pixel says its slice, channel and place."""
    rows, columns, channels = np.ogrid[: LGG_SHAPE[0], : LGG_SHAPE[1], :3]
    return (number + 16 * rows + 64 * (columns % 2) + channels).astype(np.uint8)


def write_lgg(root, *, patients=("TCGA_CS_4941_19960909", "TCGA_HT_7602_19951103"), slices=11):
    inside = root / "kaggle_3m"
    for patient in patients:
        (inside / patient).mkdir(parents=True)
        for number in range(1, slices + 1):
            labels = np.zeros(LGG_SHAPE, np.uint8)
            labels[:, number % 4] = 255 if number > 3 else 0
            stem = f"{patient}_{number}"
            Image.fromarray(lgg_slice(number)).save(inside / patient / f"{stem}.tif")
            Image.fromarray(labels).save(inside / patient / f"{stem}_mask.tif")
    (inside / "data.csv").write_text("Patient\n")
    return inside


def write_bids(root, *, subjects=("01", "02"), annotators=("anna", "bo")):
    for subject in subjects:
        name = f"sub-{subject}"
        for number, channel in enumerate(("FLAIR", "T1w")):
            write_nifti(root / name / "anat" / f"{name}_{channel}.nii.gz", picture(number))
        derived = root / "derivatives" / "manual" / name / "anat"
        for number, annotator in enumerate(annotators, start=1):
            write_nifti(derived / f"{name}_desc-{annotator}_dseg.nii.gz", zones(*[1] * number))
        write_nifti(derived / f"{name}_probseg.nii.gz", mask().astype(np.float32) * 0.25)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    (root / "derivatives" / "manual" / "dseg.tsv").write_text("index\tname\n0\tbackground\n1\tlesion\n")
    return root


WRITERS = {
    "brats2019": write_brats2019,
    "brats2020": write_brats2020,
    "flare2021": write_flare2021,
    "kits2019": write_kits2019,
    "prostatex": write_prostatex,
    "lidc": write_lidc,
    "scgm": write_scgm,
    "msseg2016": write_msseg2016,
    "lgg": write_lgg,
    "bids": write_bids,
}
