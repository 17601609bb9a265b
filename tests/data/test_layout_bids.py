import numpy as np
import pytest

from layout_files import write_bids, zones
from sfumato.data import check_dataset, load_case, open_dataset
from sfumato.errors import DataError, FileFormatError
from tiny_data import mask, picture, write_nifti

DERIVED = "derivatives/manual/{0}/anat/{0}_{1}.nii.gz"


def derived(root, name, kind):
    return root / DERIVED.format(name, kind)


def test_annotators_are_raters_and_probseg_is_the_soft_reference(tmp_path):
    dataset = open_dataset(write_bids(tmp_path))
    assert dataset.names == ("sub-01", "sub-02")
    assert dataset.channel_names == ("FLAIR", "T1w")
    assert dataset.rater_names == ("anna", "bo")
    assert dict(dataset.label_names) == {0: "background", 1: "lesion"}
    case = load_case(dataset.cases[0], dataset)
    np.testing.assert_array_equal(case.image, np.stack([picture(0), picture(1)]))
    np.testing.assert_array_equal(case.labels_per_rater, np.stack([zones(1), zones(1, 1)]))
    weight = mask().astype(np.float32) * 0.25
    np.testing.assert_array_equal(case.soft, np.stack([1 - weight, weight]))


def test_class_weights_may_hold_every_class_last(tmp_path):
    write_bids(tmp_path, subjects=("01",))
    weight = mask().astype(np.float32) * 0.25
    write_nifti(derived(tmp_path, "sub-01", "probseg"), np.stack([1 - weight, weight], -1))
    dataset = open_dataset(tmp_path)
    np.testing.assert_array_equal(load_case(dataset.cases[0], dataset).soft, np.stack([1 - weight, weight]))


def test_class_weights_outside_0_and_1_are_a_problem(tmp_path):
    write_bids(tmp_path, subjects=("01",))
    write_nifti(derived(tmp_path, "sub-01", "probseg"), mask().astype(np.float32) * 30)
    (problem,) = check_dataset(tmp_path)
    assert "sub-01_probseg.nii.gz holds values 0 .. 30: expected class weights in 0 .. 1" in problem


def test_one_annotator_is_the_reference(tmp_path):
    dataset = open_dataset(write_bids(tmp_path, annotators=("anna",)))
    assert dataset.rater_names == ()
    case = load_case(dataset.cases[0], dataset)
    assert case.labels_per_rater is None
    np.testing.assert_array_equal(case.labels, zones(1))


def test_a_consensus_is_the_reference_beside_the_raters(tmp_path):
    write_bids(tmp_path, annotators=("anna", "consensus", "bo"))
    dataset = open_dataset(tmp_path)
    assert dataset.rater_names == ("anna", "bo")
    np.testing.assert_array_equal(load_case(dataset.cases[0], dataset).labels, zones(1, 1))


def test_sessions_are_cases_of_one_patient(tmp_path):
    for session in ("ses-1", "ses-2"):
        name = f"sub-07_{session}"
        write_nifti(tmp_path / "sub-07" / session / "anat" / f"{name}_T1w.nii.gz", picture())
        folder = tmp_path / "derivatives" / "x" / "sub-07" / session / "anat"
        write_nifti(folder / f"{name}_label-lesion_mask.nii.gz", mask())
    dataset = open_dataset(tmp_path)
    assert dataset.names == ("sub-07_ses-1", "sub-07_ses-2")
    assert [files.group for files in dataset.cases] == ["sub-07", "sub-07"]
    assert dict(dataset.label_names) == {0: "background", 1: "lesion"}
    np.testing.assert_array_equal(load_case(dataset.cases[1], dataset).labels, mask())


def test_other_entities_of_an_image_name_its_channel(tmp_path):
    write_bids(tmp_path)
    for name in ("sub-01", "sub-02"):
        write_nifti(tmp_path / name / "anat" / f"{name}_acq-fine_T2w.nii.gz", picture())
    assert open_dataset(tmp_path).channel_names == ("FLAIR", "T1w", "acq-fine_T2w")
    gone = tmp_path / "sub-02" / "anat" / "sub-02_acq-fine_T2w.nii.gz"
    gone.unlink()
    assert check_dataset(tmp_path) == [f"case sub-02: {gone} is missing"]


def test_a_missing_rater_is_named(tmp_path):
    write_bids(tmp_path)
    derived(tmp_path, "sub-02", "desc-bo_dseg").unlink()
    with pytest.raises(DataError, match=r"case sub-02: mask sub-02_desc-bo_dseg\.nii\.gz is missing"):
        open_dataset(tmp_path)


def test_masks_that_only_some_cases_have_are_named(tmp_path):
    write_bids(tmp_path, annotators=("anna",))
    derived(tmp_path, "sub-02", "desc-anna_dseg").unlink()
    derived(tmp_path, "sub-01", "probseg").unlink()
    with pytest.raises(DataError, match="2 problems") as caught:
        open_dataset(tmp_path)
    assert "weights sub-01_probseg.nii.gz are missing" in caught.value.problems[0]
    assert "mask sub-02_dseg.nii.gz is missing" in caught.value.problems[1]


def test_several_files_for_one_mask_are_a_problem(tmp_path):
    write_bids(tmp_path, annotators=("anna",))
    write_nifti(derived(tmp_path, "sub-01", "label-a_dseg"), mask())
    (problem,) = check_dataset(tmp_path)
    assert "several files are the reference mask" in problem
    assert "label-a_dseg" in problem


def test_a_folder_without_derivatives_is_data_for_prediction(tmp_path):
    for name in ("sub-01", "sub-02"):
        write_nifti(tmp_path / name / "anat" / f"{name}_T1w.nii.gz", picture())
    dataset = open_dataset(tmp_path)
    assert load_case(dataset.cases[0], dataset).labels is None


def test_the_skull_stripping_mask_is_no_annotation(tmp_path):
    write_bids(tmp_path, annotators=("anna",))
    for name in ("sub-01", "sub-02"):
        write_nifti(derived(tmp_path, name, "desc-brain_mask"), mask())
        write_nifti(derived(tmp_path, name, "desc-preproc_T1w"), picture())
    dataset = open_dataset(tmp_path)
    assert dataset.rater_names == ()
    np.testing.assert_array_equal(load_case(dataset.cases[0], dataset).labels, zones(1))


def test_labels_without_a_table_are_found_in_the_masks(tmp_path):
    write_bids(tmp_path, annotators=("anna",))
    (tmp_path / "derivatives" / "manual" / "dseg.tsv").unlink()
    write_nifti(derived(tmp_path, "sub-02", "desc-anna_dseg"), zones(2))
    derived(tmp_path, "sub-01", "probseg").unlink()
    derived(tmp_path, "sub-02", "probseg").unlink()
    assert list(open_dataset(tmp_path).label_names) == [0, 1, 2]


def test_a_table_that_is_none_is_named(tmp_path):
    write_bids(tmp_path)
    table = tmp_path / "derivatives" / "manual" / "dseg.tsv"
    table.write_text("value\tname\n1\tlesion\n")
    with pytest.raises(FileFormatError, match="is no table of labels: expected columns index and name"):
        open_dataset(tmp_path)
    table.write_text("index\tname\n1\tlesion\n4\tcore\n")
    with pytest.raises(FileFormatError, match=r"lists labels \[0, 1, 4\]"):
        open_dataset(tmp_path)


def test_names_that_are_not_bids_are_passed_over(tmp_path):
    write_bids(tmp_path)
    write_nifti(tmp_path / "sub-01" / "anat" / "notes.nii.gz", picture())
    assert check_dataset(tmp_path) == []


def test_an_image_that_lies_there_both_ways_is_a_problem(tmp_path):
    write_bids(tmp_path)
    write_nifti(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii", picture(1))
    (problem,) = check_dataset(tmp_path)
    assert "case sub-01: " in problem
    assert "lies there twice, as .nii and as .nii.gz" in problem
