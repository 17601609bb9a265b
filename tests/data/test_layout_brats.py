import numpy as np
import pytest

from layout_files import write_brats, write_brats2019, write_brats2020, zones
from sfumato.data import check_dataset, load_case, open_dataset
from sfumato.errors import DataError, ValueRangeError
from tiny_data import picture, write_nifti


def test_channels_classes_and_regions_are_the_challenges(tmp_path):
    dataset = open_dataset(write_brats2019(tmp_path))
    assert dataset.name == "BraTS 2019"
    assert dataset.channel_names == ("flair", "t1", "t1ce", "t2")
    assert dict(dataset.label_names) == {0: "background", 1: "core", 2: "oedema", 3: "enhancing"}
    assert dataset.regions == {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}
    case = load_case(dataset.cases[0], dataset)
    np.testing.assert_array_equal(case.image, np.stack([picture(number) for number in range(4)]))


def test_stored_label_4_is_class_3(tmp_path):
    dataset = open_dataset(write_brats2019(tmp_path))
    case = load_case(dataset.cases[0], dataset)
    np.testing.assert_array_equal(case.labels, zones(1, 2, 3))


def test_a_stored_3_is_no_label_of_brats(tmp_path):
    inner = write_brats2019(tmp_path)
    path = inner / "LGG" / "BraTS19_TCIA09_141_1" / "BraTS19_TCIA09_141_1_seg.nii.gz"
    write_nifti(path, zones(1, 3, 7))
    dataset = open_dataset(inner)
    expected = r"BraTS19_TCIA09_141_1_seg.nii.gz holds values 3, 7 outside .*2 oedema, 4 enhancing"
    with pytest.raises(ValueRangeError, match=expected):
        load_case(dataset.cases[-1], dataset)
    assert len(check_dataset(inner)) == 1


def test_the_centre_is_the_institution_of_the_id(tmp_path):
    dataset = open_dataset(write_brats2019(tmp_path))
    assert {files.name: files.centre for files in dataset.cases} == {
        "BraTS19_2013_10_1": None,
        "BraTS19_CBICA_AAB_1": "CBICA",
        "BraTS19_TCIA09_141_1": "TCIA09",
    }


def test_the_grades_need_not_both_be_there(tmp_path):
    write_brats(tmp_path / "HGG" / "BraTS19_CBICA_AAB_1")
    assert open_dataset(tmp_path).names == ("BraTS19_CBICA_AAB_1",)
    write_brats(tmp_path / "LGG" / "BraTS19_CBICA_AAB_1")
    with pytest.raises(DataError, match="lies in HGG and in LGG"):
        open_dataset(tmp_path)


def test_the_misnamed_mask_of_brats_2020_is_read(tmp_path):
    inner = write_brats2020(tmp_path)
    dataset = open_dataset(inner)
    assert dataset.cases[1].mask == inner / "BraTS20_Training_355" / "W39_1998.09.19_Segm.nii"
    np.testing.assert_array_equal(load_case(dataset.cases[1], dataset).labels, zones(1, 2, 3))


def test_a_mask_of_the_proper_name_comes_before_the_misnamed_one(tmp_path):
    inner = write_brats2020(tmp_path)
    folder = inner / "BraTS20_Training_355"
    write_nifti(folder / "BraTS20_Training_355_seg.nii", zones(2))
    dataset = open_dataset(inner)
    np.testing.assert_array_equal(load_case(dataset.cases[1], dataset).labels, zones(2))
    for path in folder.glob("*[Ss]eg*"):
        path.unlink()
    with pytest.raises(DataError, match=r"BraTS20_Training_355_seg\.nii\.gz is missing"):
        open_dataset(inner)


def test_no_other_case_may_have_the_misnamed_mask(tmp_path):
    inner = tmp_path / "MICCAI_BraTS2020_TrainingData"
    write_brats(inner / "BraTS20_Training_001", mask_name="W39_1998.09.19_Segm")
    with pytest.raises(DataError, match=r"BraTS20_Training_001_seg\.nii\.gz is missing"):
        open_dataset(inner)


def test_cases_of_the_release_that_are_not_here_are_noted(tmp_path):
    assert open_dataset(write_brats2020(tmp_path / "a")).notes == (
        "367 cases of the release are not here: BraTS20_Training_002 .. BraTS20_Training_354, "
        "BraTS20_Training_356 .. BraTS20_Training_369",
    )
    # The names of 2019 do not tell which are absent.
    assert open_dataset(write_brats2019(tmp_path / "b")).notes == (
        "fewer cases are here than in the release: HGG 2 of 259, LGG 1 of 76",
    )
