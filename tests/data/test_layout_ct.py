"""CT: FLARE 2021, KiTS 2019 and LIDC-IDRI; and the prostate's zones in nnU-Net layout."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from layout_files import write_flare2021, write_kits2019, write_lidc, write_prostatex, zones
from sfumato.data import check_dataset, inspect_dataset, load_case, open_dataset
from sfumato.errors import DataError
from tiny_data import picture, write_nifti


def test_flares_organs_have_their_order(tmp_path):
    dataset = open_dataset(write_flare2021(tmp_path))
    organs = {1: "liver", 2: "kidney", 3: "spleen", 4: "pancreas"}
    assert dict(dataset.label_names) == {0: "background"} | organs
    assert dataset.channel_names == ("CT",)
    case = load_case(dataset.cases[0], dataset)
    np.testing.assert_array_equal(case.labels, zones(1, 2, 3, 4))
    np.testing.assert_array_equal(case.image[0], picture())


def test_a_flare_image_without_a_mask_and_a_mask_without_an_image_are_both_named(tmp_path):
    write_flare2021(tmp_path)
    (tmp_path / "TrainingMask" / "train_000.nii.gz").unlink()
    (tmp_path / "TrainingImg" / "train_007_0000.nii.gz").unlink()
    first, second = check_dataset(tmp_path)
    assert first == f"case train_000: {tmp_path / 'TrainingMask' / 'train_000.nii.gz'} is missing"
    assert second == f"case train_007: {tmp_path / 'TrainingImg' / 'train_007_0000.nii.gz'} is missing"


def test_kits_test_cases_without_a_mask_are_a_note(tmp_path):
    dataset = open_dataset(write_kits2019(tmp_path))
    assert dict(dataset.label_names) == {0: "background", 1: "kidney", 2: "tumour"}
    assert dataset.names == ("case_00000", "case_00209")
    assert dataset.notes[-1] == "1 test cases without a mask are left out: case_00210"
    write_nifti(tmp_path / "data" / "case_00210" / "segmentation.nii.gz", zones(1))
    assert open_dataset(tmp_path).names == ("case_00000", "case_00209", "case_00210")


def test_a_kits_training_case_without_a_mask_is_a_problem(tmp_path):
    write_kits2019(tmp_path)
    (tmp_path / "data" / "case_00209" / "segmentation.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case case_00209: .*segmentation\.nii\.gz is missing"):
        open_dataset(tmp_path)


def test_kits_with_test_cases_only_holds_nothing_to_train_on(tmp_path):
    write_nifti(tmp_path / "case_00211" / "imaging.nii.gz", picture())
    with pytest.raises(DataError, match="holds no case with a mask"):
        open_dataset(tmp_path)


def test_lidc_crops_of_one_patient_stay_together(tmp_path):
    dataset = open_dataset(write_lidc(tmp_path))
    assert [files.group for files in dataset.cases] == ["LIDC-IDRI-0001", "LIDC-IDRI-0002", "LIDC-IDRI-0002"]
    assert dataset.rater_names == ("rater1", "rater2", "rater3", "rater4")
    case = load_case(dataset.cases[0], dataset)
    expected = torch.stack([torch.from_numpy(zones(*[1] * count)).long() for count in (1, 2, 3, 4)])
    assert torch.equal(case.labels_per_rater, expected)


def test_lidc_patients_and_crops_may_have_names_of_their_own(tmp_path):
    dataset = open_dataset(write_lidc(tmp_path, names=("nodule7", "LIDC-IDRI-0003")))
    assert {files.name: files.group for files in dataset.cases} == {
        "nodule7": None,
        "LIDC-IDRI-0003": "LIDC-IDRI-0003",
    }


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_missing_reader_of_one_crop_is_a_problem(tmp_path, number):
    write_lidc(tmp_path)
    path = tmp_path / "LIDC-IDRI-0002_02" / f"mask_rater{number}.nii.gz"
    path.unlink()
    assert check_dataset(tmp_path) == [f"case LIDC-IDRI-0002_02: {path} is missing"]


def test_a_reader_who_read_no_crop_of_a_patient_leaves_the_others_their_names(tmp_path):
    names = ("LIDC-IDRI-0001_01", "LIDC-IDRI-0001_02")
    write_lidc(tmp_path, names=names)
    for name in names:
        (tmp_path / name / "mask_rater2.nii.gz").unlink()
    dataset = open_dataset(tmp_path)
    assert dataset.notes == (
        "LIDC-IDRI-0001 was read by 3 of 4 raters, in all 2 crops",
        "the 2 cases are crops of 1 patient; the 887 expected are scans",
    )
    assert dataset.raters_of(names[0]) == ("rater1", "rater3", "rater4")
    case = load_case(dataset.cases[0], dataset)
    assert torch.equal(case.labels_per_rater[1], torch.from_numpy(zones(1, 1, 1)).long())


def test_a_patient_whose_every_crop_has_fewer_readers_is_a_note(tmp_path):
    write_lidc(tmp_path, names=("LIDC-IDRI-0001_01", "LIDC-IDRI-0001_02"), raters=2)
    write_lidc(tmp_path, names=("LIDC-IDRI-0002_01",))
    found = inspect_dataset(tmp_path)
    assert found.problems == []
    assert "LIDC-IDRI-0001 was read by 2 of 4 raters, in all 2 crops" in found.warnings
    assert found.raters == {2: 2, 4: 1}
    (tmp_path / "LIDC-IDRI-0002_01" / "mask_rater4.nii.gz").unlink()
    (problem,) = check_dataset(tmp_path)
    assert "LIDC-IDRI-0002_01" in problem


def test_lidc_slices_stored_as_pictures_are_read_with_the_declared_spacing(tmp_path):
    folder = tmp_path / "LIDC-IDRI-0009_01"
    folder.mkdir()
    array = np.arange(20, dtype=np.uint16).reshape(5, 4) + 1000
    Image.fromarray(array).save(folder / "image.png")
    for number in range(1, 5):
        outline = np.zeros((5, 4), np.uint8)
        outline[number] = 255
        Image.fromarray(outline).save(folder / f"mask_rater{number}.png")
    (tmp_path / "dataset.json").write_text(json.dumps({"modality": "CT", "spacing": [0.5, 0.7]}))
    dataset = open_dataset(tmp_path)
    case = load_case(dataset.cases[0], dataset)
    np.testing.assert_array_equal(case.image[0], array)
    assert case.spacing == (0.5, 0.7)
    assert case.labels_per_rater.sum(dim=(1, 2)).tolist() == [4, 4, 4, 4]


def test_pictures_with_raters_under_other_names_are_not_taken_for_lidc(tmp_path):
    (tmp_path / "P01").mkdir()
    for name in ("image", "mask_rater1"):
        Image.fromarray(np.zeros((5, 4), np.uint8)).save(tmp_path / "P01" / f"{name}.png")
    assert check_dataset(tmp_path)[0].startswith(f"folder {tmp_path} holds no known layout")


def test_the_zones_have_their_names_whatever_the_description_calls_them(tmp_path):
    write_prostatex(tmp_path)
    dataset = open_dataset(tmp_path)
    assert dict(dataset.label_names) == {0: "background", 1: "PZ", 2: "TZ", 3: "DPU", 4: "AFS"}
    assert dataset.channel_names == ("T2w",)
    np.testing.assert_array_equal(load_case(dataset.cases[0], dataset).labels, zones(1, 2, 3, 4))
    labels = {"background": 0, "peripheral zone": 1, "b": 2, "c": 3, "d": 4}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "channel_names": {"0": "MRI"}}))
    assert open_dataset(tmp_path).label_names == dataset.label_names


def test_zones_are_recognised_by_the_description_or_the_folders_name(tmp_path):
    labels = {"background": 0, "PZ": 1, "TZ": 2, "DPU": 3, "AFS": 4}
    write_prostatex(tmp_path / "raw", names=("case_001",))
    assert open_dataset(tmp_path / "raw").expected_cases is None
    (tmp_path / "raw" / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert open_dataset(tmp_path / "raw").expected_cases == 98
    (tmp_path / "raw").rename(tmp_path / "Dataset042_ProstateX")
    (tmp_path / "Dataset042_ProstateX" / "dataset.json").unlink()
    assert open_dataset(tmp_path / "Dataset042_ProstateX").expected_cases == 98


def test_zones_in_another_order_are_a_problem(tmp_path):
    write_prostatex(tmp_path)
    labels = {"background": 0, "TZ": 1, "pz": 2, "DPU": 3, "AFS": 4}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    first, second = check_dataset(tmp_path)
    assert "says that label 1 is TZ: expected 2 for it" in first
    assert "says that label 2 is pz: expected 1 for it" in second


def test_zones_without_masks_are_a_problem(tmp_path):
    write_prostatex(tmp_path)
    for path in (tmp_path / "labelsTr").iterdir():
        path.unlink()
    (tmp_path / "labelsTr").rmdir()
    with pytest.raises(DataError, match="has no folder labelsTr"):
        open_dataset(tmp_path)
