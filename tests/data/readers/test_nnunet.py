import numpy as np
import pytest
import tifffile
from PIL import Image

from sfumato.data import load_case, open_dataset
from sfumato.data.dataset import scan_dataset
from sfumato.errors import DataError
from tiny_data import AFFINE, SPACING, mask, picture, write_nifti, write_nnunet


def test_a_folder_of_two_channels_is_read_as_it_lies(tmp_path):
    write_nnunet(tmp_path, cases=("b", "a"), channels=2)
    dataset = open_dataset(tmp_path)
    assert dataset.names == ("a", "b")
    assert dataset.channel_names == ("T1", "T2")
    assert dataset.label_names == {0: "background", 1: "tumour"}
    case = load_case(dataset.cases[1], dataset)
    np.testing.assert_array_equal(case.image.numpy(), np.stack([picture(0), picture(1)]))
    np.testing.assert_array_equal(case.labels.numpy(), mask())
    np.testing.assert_allclose(case.spacing, SPACING, rtol=1e-6)
    np.testing.assert_array_equal(case.affine, AFFINE)
    assert case.labels_per_rater is None


def test_without_dataset_json_labels_and_channels_are_found(tmp_path):
    write_nnunet(tmp_path, channels=2, description=False)
    write_nifti(tmp_path / "labelsTr" / "b.nii.gz", mask(value=3))
    dataset = open_dataset(tmp_path)
    assert dict(dataset.label_names) == {0: "background", 1: "label 1", 2: "label 2", 3: "label 3"}
    assert dataset.channel_names == ("channel 0", "channel 1")


def test_the_decathlons_names_without_a_channel_number_are_one_channel(tmp_path):
    write_nifti(tmp_path / "imagesTr" / "case_1.nii.gz", picture())
    write_nifti(tmp_path / "imagesTr" / "._case_1.nii.gz", picture())
    write_nifti(tmp_path / "labelsTr" / "case_1.nii.gz", mask())
    dataset = open_dataset(tmp_path)
    assert dataset.names == ("case_1",)
    assert load_case(dataset.cases[0], dataset).image.shape == (1, 6, 5, 4)


def test_test_images_need_no_masks(tmp_path):
    write_nnunet(tmp_path)
    write_nifti(tmp_path / "imagesTs" / "z_0000.nii.gz", picture())
    dataset = open_dataset(tmp_path, layout="nnunet-test")
    assert dataset.names == ("z",)
    assert load_case(dataset.cases[0], dataset).labels is None


def test_a_folder_of_images_is_data_for_prediction(tmp_path):
    for name in ("q_0000.nii.gz", "q_0001.nii.gz"):
        write_nifti(tmp_path / name, picture())
    dataset = open_dataset(tmp_path)
    assert dataset.names == ("q",)
    assert load_case(dataset.cases[0], dataset).image.shape[0] == 2


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_colour_pictures_hold_their_channels_in_one_file(tmp_path, ending):
    colours = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    if ending == ".png":
        Image.fromarray(colours).save(tmp_path / "imagesTr" / "a_0000.png")
    else:
        tifffile.imwrite(tmp_path / "imagesTr" / "a_0000.tif", colours, photometric="rgb")
    Image.fromarray(mask((8, 9), 255)).save(tmp_path / "labelsTr" / "a.png")
    (tmp_path / "dataset.json").write_text(
        '{"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "vessel": 1}}'
    )
    dataset = open_dataset(tmp_path)
    case = load_case(dataset.cases[0], dataset)
    np.testing.assert_array_equal(case.image.numpy(), colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(case.labels.numpy(), mask((8, 9)))
    (tmp_path / "dataset.json").unlink()
    assert open_dataset(tmp_path).channel_names == ("channel 0", "channel 1", "channel 2")


def test_every_gap_in_the_folder_is_listed_at_once(tmp_path):
    write_nnunet(tmp_path, cases=("a", "b", "c", "d"), channels=2)
    (tmp_path / "imagesTr" / "b_0001.nii.gz").unlink()
    (tmp_path / "labelsTr" / "c.nii.gz").unlink()
    (tmp_path / "imagesTr" / "d_0000.nii.gz").unlink()
    (tmp_path / "imagesTr" / "d_0001.nii.gz").unlink()
    write_nifti(tmp_path / "imagesTr" / "a_0002.nii.gz", picture())
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    problems = caught.value.problems
    assert len(problems) == 4
    for expected in (
        "case a: a_0002.nii.gz is channel 2, but dataset.json names 2",
        "case b: channel file",
        "case c: mask",
        "case d: mask",
    ):
        assert any(expected in problem for problem in problems), expected


def test_two_files_of_one_case_are_refused(tmp_path):
    write_nnunet(tmp_path, description=False)
    write_nifti(tmp_path / "imagesTr" / "a_0000.nii", picture())
    write_nifti(tmp_path / "labelsTr" / "a.nii", mask())
    _, problems = scan_dataset(tmp_path)
    assert len(problems) == 2
    assert "two files of one name" in problems[0]
    assert "two masks of one name" in problems[1]


def test_a_declared_ending_hides_other_files(tmp_path):
    write_nnunet(tmp_path)
    write_nifti(tmp_path / "imagesTr" / "a_0000.nii", picture())
    assert open_dataset(tmp_path).names == ("a", "b", "c")


def test_empty_folders_are_said(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    with pytest.raises(DataError, match="holds no images: expected files <case>_0000"):
        open_dataset(tmp_path)
