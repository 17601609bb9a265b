import numpy as np
import pytest
from PIL import Image

from layout_files import LGG_SHAPE, lgg_slice, write_lgg
from sfumato.data import check_dataset, load_case, open_dataset, read_volume
from sfumato.data.case import SliceStack
from sfumato.errors import DataError
from tiny_data import picture, write_nifti

PATIENT = "TCGA_CS_4941_19960909"


def test_slices_become_a_volume_in_the_order_of_their_numbers(tmp_path):
    dataset = open_dataset(write_lgg(tmp_path))
    case = load_case(dataset.cases[0], dataset)
    # Slice 10 lies after slice 9, not after slice 1.
    expected = np.stack([lgg_slice(number) for number in range(1, 12)], axis=2)
    np.testing.assert_array_equal(case.image, np.moveaxis(expected, -1, 0))
    assert case.shape == (*LGG_SHAPE, 11)
    assert dataset.channel_names == ("pre", "FLAIR", "post")


def test_masks_of_0_and_255_are_the_abnormality(tmp_path):
    dataset = open_dataset(write_lgg(tmp_path))
    assert dict(dataset.label_names) == {0: "background", 1: "abnormality"}
    labels = load_case(dataset.cases[0], dataset).labels
    for index in range(11):
        expected = np.zeros(LGG_SHAPE, np.int64)
        expected[:, (index + 1) % 4] = index + 1 > 3
        np.testing.assert_array_equal(labels[:, :, index], expected)


def test_the_site_is_the_centre_and_spacing_is_declared_or_1_mm(tmp_path):
    inner = write_lgg(tmp_path)
    dataset = open_dataset(inner)
    assert [files.centre for files in dataset.cases] == ["CS", "HT"]
    case = load_case(dataset.cases[0], dataset)
    assert case.spacing == (1.0, 1.0, 1.0)
    assert case.affine is None
    (inner / "dataset.json").write_text('{"spacing": [0.9, 0.9, 5]}')
    dataset = open_dataset(inner)
    assert load_case(dataset.cases[0], dataset).spacing == (0.9, 0.9, 5.0)


@pytest.mark.parametrize("ending", ["_5.tif", "_5_mask.tif", "_1.tif", "_11_mask.tif"])
def test_a_missing_slice_is_named_once(tmp_path, ending):
    inner = write_lgg(tmp_path)
    path = inner / PATIENT / f"{PATIENT}{ending}"
    path.unlink()
    assert check_dataset(tmp_path) == [f"case {PATIENT}: {path} is missing"]


def test_a_number_that_both_stacks_lack_is_a_gap(tmp_path):
    inner = write_lgg(tmp_path)
    for ending in ("_5.tif", "_5_mask.tif"):
        (inner / PATIENT / f"{PATIENT}{ending}").unlink()
    first, second = check_dataset(tmp_path)
    assert f"{PATIENT}_5.tif is missing" in first
    assert f"{PATIENT}_5_mask.tif is missing" in second


def test_a_stack_that_begins_later_is_noted(tmp_path):
    inner = write_lgg(tmp_path)
    for ending in ("_1.tif", "_1_mask.tif"):
        (inner / PATIENT / f"{PATIENT}{ending}").unlink()
    dataset = open_dataset(inner)
    assert dataset.notes == (
        "fewer cases are here than in the release: TCGA_CS 1 of 16, TCGA_DU 0 of 45, TCGA_EZ 0 of 1, "
        "TCGA_FG 0 of 14, TCGA_HT 1 of 34",
        f"case {PATIENT} begins with slice 2",
    )
    assert load_case(dataset.cases[0], dataset).shape == (*LGG_SHAPE, 10)


def test_a_slice_that_is_there_twice_is_named(tmp_path):
    inner = write_lgg(tmp_path)
    for name in (f"{PATIENT}_05.tif", f"{PATIENT}_7_mask.tiff"):
        Image.fromarray(np.zeros(LGG_SHAPE, np.uint8)).save(inner / PATIENT / name)
    with pytest.raises(DataError, match="2 problems") as caught:
        open_dataset(inner)
    assert f"slice 5 is there twice, {PATIENT}_05.tif and {PATIENT}_5.tif" in caught.value.problems[0]
    assert "slice 7 is there twice" in caught.value.problems[1]


def test_every_damaged_slice_of_a_stack_is_listed_in_one_pass(tmp_path):
    inner = write_lgg(tmp_path) / PATIENT
    truncated, small, wrong = (inner / f"{PATIENT}_{end}.tif" for end in ("3", "6", "8_mask"))
    truncated.write_bytes(truncated.read_bytes()[:20])
    Image.fromarray(lgg_slice(6)[:4]).save(small)
    Image.fromarray(np.full(LGG_SHAPE, 9, np.uint8)).save(wrong)
    gone = inner / f"{PATIENT}_9_mask.tif"
    gone.unlink()
    problems = check_dataset(tmp_path)
    assert f"case {PATIENT}: {gone} is missing" == problems[0]
    assert f"{truncated} is truncated" in problems[1]
    assert f"{small} has shape (4, 4, 3), but most slices of its stack have (5, 4, 3)" in problems[2]
    assert len(problems) == 3  # The mask cannot be judged as long as one of its slices is missing.
    Image.fromarray(np.zeros(LGG_SHAPE, np.uint8)).save(gone)
    expected = f"{wrong} holds values 9 outside the declared labels (0 background, 255 abnormality)"
    assert expected in check_dataset(tmp_path)[-1]


def test_a_patient_without_slices_is_a_problem(tmp_path):
    inner = write_lgg(tmp_path)
    (inner / "TCGA_DU_0001_20000101").mkdir()
    with pytest.raises(DataError, match=r"has no slices: expected TCGA_DU_0001_20000101_1\.tif"):
        open_dataset(inner)
    assert len(check_dataset(inner)) == 1


def test_an_image_and_a_mask_of_other_sizes_are_both_named(tmp_path):
    inner = write_lgg(tmp_path, slices=4) / PATIENT
    for number in range(1, 5):
        Image.fromarray(np.zeros((5, 3), np.uint8)).save(inner / f"{PATIENT}_{number}_mask.tif")
    (problem,) = check_dataset(tmp_path)
    assert "shape (5, 4, 4) and (5, 3, 4)" in problem
    assert f"{PATIENT}_1.tif … {PATIENT}_4.tif (4 slices)" in problem


def test_a_stack_says_what_is_wrong_with_it(tmp_path):
    with pytest.raises(DataError, match="has no slices"):
        read_volume(SliceStack(()))
    volume = write_nifti(tmp_path / "v.nii.gz", picture())
    with pytest.raises(DataError, match="expected a 2-D picture as a slice"):
        read_volume(SliceStack((volume,)))


def test_a_stack_of_one_slice_is_a_volume(tmp_path):
    Image.fromarray(lgg_slice(1)[..., 0]).save(tmp_path / "a.png")
    volume = read_volume(SliceStack((tmp_path / "a.png",)))
    assert volume.array.shape == (5, 4, 1)
    assert volume.spacing == (1.0, 1.0, 1.0)
