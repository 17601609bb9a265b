"""Broken folders in every public layout: each fault is named with its case and file, all in one message."""

import gzip
import re

import nibabel
import numpy as np
import pytest
import tifffile

from layout_files import WRITERS
from sfumato.data import check_dataset, inspect_dataset, open_dataset
from sfumato.data.case import SliceStack
from sfumato.data.phantoms import write_layout
from sfumato.data.readers.layouts import LAYOUTS
from sfumato.errors import DataError, FileFormatError

SIZE = (8, 8, 6)


def file_of(source):
    """A file of its own: of a stack, a slice that no message about the whole stack names."""
    return source.paths[1] if isinstance(source, SliceStack) else source


def image_of(files):
    return file_of(files.images[-1])


def mask_of(files):
    return file_of(files.mask or files.rater_masks[-1])


def rewritten(path, change):
    """Write a file again with other values; ``change`` gives the array, or the array and the affine."""
    if path.suffix == ".tif":
        array = change(tifffile.imread(path))
        tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 else "minisblack")
        return
    image = nibabel.load(path)
    found = change(np.asarray(image.dataobj))
    array, affine = found if isinstance(found, tuple) else (found, image.affine)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def one_value(value, dtype):
    def change(array):
        array = array.astype(dtype)
        array.flat[3] = value
        return array

    return change


def shorter(array):
    return array[:-1].copy()


def elsewhere(array):
    return array, np.diag([1.0, 1.0, 1.0, 1.0])


FAULTS = (
    ("mask", one_value(0.5, np.float32), "no whole numbers, such as 0.5"),
    ("mask", one_value(99, np.uint8), "values 99 outside the declared labels"),
    ("mask", one_value(-1, np.int16), "values -1 outside the declared labels"),
    ("mask", one_value(np.nan, np.float32), "1 NaN or infinite values"),
    ("mask", shorter, "shape"),
    ("image", one_value(np.inf, np.float32), "1 NaN or infinite values"),
    ("image", shorter, "shape"),
    ("mask", elsewhere, "affine"),
)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_missing_a_halved_and_a_wrong_file_are_named_with_their_cases_in_one_message(tmp_path, kind):
    root = write_layout(kind, tmp_path, cases=4, size=SIZE)
    first, second, third, *_ = open_dataset(root, layout=kind).cases
    missing, halved, wrong = image_of(first), image_of(second), mask_of(third)
    missing.unlink()
    halved.write_bytes(halved.read_bytes()[: halved.stat().st_size // 2])
    rewritten(wrong, one_value(9, np.uint8))
    problems = check_dataset(tmp_path, layout=kind)
    assert len(problems) == 3
    for files, path, text in (
        (first, missing, "is missing"),
        (second, halved, "is truncated"),
        (third, wrong, "holds values 9 outside the declared labels"),
    ):
        (said,) = (problem for problem in problems if str(path) in problem)
        assert f"case {files.name}: " in said
        assert text in said


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_kind_of_wrong_value_and_grid_is_named_with_its_case_and_file(tmp_path, kind):
    root = write_layout(kind, tmp_path, cases=len(FAULTS), size=SIZE)
    spoilt = []
    for files, (which, change, text) in zip(open_dataset(root, layout=kind).cases, FAULTS, strict=True):
        path = mask_of(files) if which == "mask" else image_of(files)
        if path.suffix == ".tif" and change is elsewhere:
            continue  # Pictures have no place.
        rewritten(path, change)
        spoilt.append((files.name, path, text))
    problems = check_dataset(root, layout=kind)
    for name, path, text in spoilt:
        assert any(f"case {name}: " in each and str(path) in each and text in each for each in problems)
    assert {re.match("case (.+?): ", each)[1] for each in problems} == {name for name, _, _ in spoilt}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_endings_in_upper_case_are_read_alike(tmp_path, kind):
    root = write_layout(kind, tmp_path, cases=2, size=SIZE)
    before = open_dataset(root, layout=kind)
    for path in [path for path in root.rglob("*") if path.name.endswith((".nii.gz", ".nii", ".tif"))]:
        stem, *endings = path.name.rsplit(".", 2 if path.name.endswith(".gz") else 1)
        path.rename(path.with_name(".".join([stem, *map(str.upper, endings)])))
    after = inspect_dataset(root, layout=kind)
    assert after.problems == []
    assert after.dataset.names == before.names
    assert sum(after.shapes.values()) == len(before.cases)


@pytest.mark.parametrize("kind", ["brats2020", "flare2021", "scgm", "lidc"])
def test_a_copy_whose_ending_is_in_upper_case_is_a_problem(tmp_path, kind):
    WRITERS[kind](tmp_path)
    path = sorted(tmp_path.rglob("*.nii*"))[0]
    plain = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    copy = path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".NII")
    copy.write_bytes(plain)
    (problem,) = check_dataset(tmp_path, layout=kind)
    assert f"{path.name} and {copy.name}" in problem or f"{copy.name} and {path.name}" in problem


@pytest.mark.parametrize("kind", LAYOUTS)
def test_what_a_macs_archive_adds_is_passed_over(tmp_path, kind):
    root = write_layout(kind, tmp_path / "data", cases=2, size=SIZE)
    before = open_dataset(root, layout=kind)
    for path in list(tmp_path.rglob("*")):
        (path.with_name(f"._{path.name}") if path.is_file() else path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "__MACOSX" / "data").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "data" / "._x.nii.gz").write_bytes(b"x")
    found = inspect_dataset(tmp_path)
    assert found.problems == []
    assert found.dataset.names == before.names
    assert found.dataset.label_names == before.label_names


INSIDE = {
    "brats2019": "HGG",
    "brats2020": "BraTS20_Training_001",
    "flare2021": "TrainingImg",
    "kits2019": "case_00000",
    "prostatex": "imagesTr",
    "lidc": "LIDC-IDRI-0001_01",
    "msseg2016": "Center_01/Patient_01/Masks",
    "lgg": "TCGA_CS_4941_19960909",
    "bids": "sub-01",
}


@pytest.mark.parametrize("kind", INSIDE)
def test_a_folder_too_deep_is_met_with_the_one_to_give(tmp_path, kind):
    root = WRITERS[kind](tmp_path)
    with pytest.raises(FileFormatError) as caught:
        open_dataset(root / INSIDE[kind], layout=kind)
    assert f"it is a part of {root}, which looks like {LAYOUTS[kind].title}: give that folder" in str(
        caught.value
    )


@pytest.mark.parametrize("kind", ["brats2019", "bids"])
def test_a_folder_too_deep_that_is_no_layout_is_met_with_the_one_to_give(tmp_path, kind):
    root = WRITERS[kind](tmp_path)
    (problem,) = check_dataset(root / INSIDE[kind])
    assert problem.endswith(
        f"it is a part of {root}, which looks like {LAYOUTS[kind].title}: give that folder"
    )


@pytest.mark.parametrize("kind", ["flare2021", "kits2019", "prostatex", "lidc"])
def test_images_whose_masks_lie_beside_their_folder_are_noted(tmp_path, kind):
    root = WRITERS[kind](tmp_path)
    found = inspect_dataset(root / INSIDE[kind])
    assert found.problems == []
    assert (
        f"the images have no masks here, but lie in {root}, which looks like {LAYOUTS[kind].title}: "
        "give that folder" in found.warnings
    )


def test_the_folder_of_another_data_set_is_told_from_its_wrapping_too(tmp_path):
    inner = WRITERS["kits2019"](tmp_path)
    with pytest.raises(FileFormatError, match=rf"{inner} looks like KiTS 2019 \(--dataset kits2019\)"):
        open_dataset(tmp_path, layout="scgm")
    with pytest.raises(FileFormatError, match=r"has no folder imagesTr; .* looks like KiTS 2019"):
        open_dataset(tmp_path, layout="nnunet")
    (tmp_path / "b" / "Dataset001" / "imagesTr").mkdir(parents=True)
    with pytest.raises(FileFormatError, match=r"Dataset001 looks like an nnU-Net folder \(--dataset nnunet"):
        open_dataset(tmp_path / "b", layout="scgm")


def test_an_odd_slice_is_named_be_it_the_first(tmp_path):
    root = WRITERS["lgg"](tmp_path)
    first = open_dataset(root).cases[0].images[0].paths[0]
    rewritten(first, shorter)
    (problem,) = check_dataset(root)
    assert f"{first} has shape (4, 4, 3), but most slices of its stack have (5, 4, 3)" in problem


def test_labels_without_voxels_are_noted_among_the_readable_cases(tmp_path):
    root = WRITERS["kits2019"](tmp_path)
    first, second = open_dataset(root).cases
    image_of(first).write_bytes(b"")
    rewritten(mask_of(second), lambda array: (array == 1).astype(np.uint8))
    assert "label 2 (tumour) has no voxel in any of the 1 readable cases" in inspect_dataset(root).warnings


def test_broken_folders_are_refused_when_they_are_opened(tmp_path):
    root = WRITERS["bids"](tmp_path)
    (image,) = (root / "sub-02" / "anat").glob("*T1w*")
    image.unlink()
    with pytest.raises(DataError, match=f"case sub-02: {image} is missing"):
        open_dataset(root)
    next((root / "sub-02" / "anat").glob("*")).unlink()
    with pytest.raises(DataError, match=r"case sub-02: there are masks of it .* no image sub-02_FLAIR\.nii"):
        open_dataset(root)
