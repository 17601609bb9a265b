"""Layouts with several raters' masks: SCGM and MSSEG 2016."""

import numpy as np
import pytest
import torch

from layout_files import write_msseg2016, write_scgm, zones
from sfumato.data import check_dataset, inspect_dataset, load_case, open_dataset
from sfumato.errors import DataError
from tiny_data import picture, write_nifti


def test_scgm_has_four_raters_and_their_majority(tmp_path):
    dataset = open_dataset(write_scgm(tmp_path))
    assert dict(dataset.label_names) == {0: "background", 1: "gray matter", 2: "white matter"}
    assert dataset.rater_names == ("rater1", "rater2", "rater3", "rater4")
    case = load_case(dataset.cases[0], dataset)
    by_hand = [zones(*[1] * count, 2) for count in (1, 2, 3, 4)]
    np.testing.assert_array_equal(case.labels_per_rater, np.stack(by_hand))
    # Slice by slice: 1 1 1 1, 2 1 1 1, 0 2 1 1, 0 0 2 1, 0 0 0 2. The tie of the third goes to class 1.
    np.testing.assert_array_equal(case.labels, zones(1, 1, 1, 0, 0))


def test_scgms_site_is_the_centre_and_every_case_its_own_patient(tmp_path):
    dataset = open_dataset(write_scgm(tmp_path))
    assert [files.centre for files in dataset.cases] == ["site1", "site3"]
    assert [files.group for files in dataset.cases] == [None, None]


def test_scgms_test_images_are_a_note_but_a_training_image_needs_its_masks(tmp_path):
    write_scgm(tmp_path)
    assert open_dataset(tmp_path).notes[-1] == "1 test images without masks are left out: site3-sc11"
    write_nifti(tmp_path / "site2-sc02-image.nii.gz", picture())
    problems = check_dataset(tmp_path)
    assert problems == [
        f"case site2-sc02: {tmp_path}/site2-sc02-mask-r{number}.nii.gz is missing" for number in range(1, 5)
    ]


def test_which_of_a_sites_cases_are_not_here_is_noted_site_by_site(tmp_path):
    write_scgm(tmp_path)
    assert open_dataset(tmp_path).notes[:-1] == (
        "19 cases of site1 are not here: site1-sc02 .. site1-sc20",
        "20 cases of site2 are not here: site2-sc01 .. site2-sc20",
        "18 cases of site3 are not here: site3-sc01 .. site3-sc09, site3-sc12 .. site3-sc20",
        "20 cases of site4 are not here: site4-sc01 .. site4-sc20",
    )
    for site in range(1, 5):
        for number in range(1, 21):
            for name in ("image", "mask-r1", "mask-r2", "mask-r3", "mask-r4")[: 5 if number < 11 else 1]:
                (tmp_path / f"site{site}-sc{number:02d}-{name}.nii.gz").touch()
    (note,) = open_dataset(tmp_path).notes
    assert note.startswith("40 test images without masks are left out: site1-sc11, ")
    (tmp_path / "site2-sc15-image.nii.gz").unlink()
    assert open_dataset(tmp_path).notes[0] == "1 case of site2 is not here: site2-sc15"


def test_centres_with_fewer_cases_than_msseg_has_are_noted(tmp_path):
    assert open_dataset(write_msseg2016(tmp_path)).notes == (
        "fewer cases are here than in the release: Center_01 2 of 5, Center_07 1 of 5, Center_08 0 of 5",
    )
    for centre in ("01", "07", "08"):
        for number in range(1, 6):
            (tmp_path / f"Center_{centre}" / f"Patient_{number:02d}").mkdir(parents=True, exist_ok=True)
    assert inspect_dataset(tmp_path).dataset.notes == ()


def test_a_scgm_test_case_with_some_masks_needs_them_all(tmp_path):
    write_scgm(tmp_path)
    write_nifti(tmp_path / "site3-sc11-mask-r2.nii.gz", zones(1))
    problems = check_dataset(tmp_path)
    assert [problem.split("-mask-")[1][:2] for problem in problems] == ["r1", "r3", "r4"]


def test_msseg_has_seven_raters_and_the_releases_own_consensus(tmp_path):
    dataset = open_dataset(write_msseg2016(tmp_path))
    assert dataset.channel_names == ("FLAIR", "T1", "T2", "DP", "GADO")
    assert dataset.rater_names == tuple(f"rater{number}" for number in range(1, 8))
    case = load_case(dataset.cases[0], dataset)
    np.testing.assert_array_equal(case.image, np.stack([picture(number) for number in range(5)]))
    # The raters' own majority would be the first slice alone.
    np.testing.assert_array_equal(case.labels, zones(1, 1))
    assert case.labels_per_rater.sum(dim=(1, 2, 3)).tolist() == [20, 40, 0, 20, 40, 0, 20]
    assert torch.equal(case.labels_per_rater[1], torch.from_numpy(zones(1, 1)).long())


def test_msseg_patients_are_named_with_their_centre(tmp_path):
    dataset = open_dataset(write_msseg2016(tmp_path))
    assert dataset.names == ("Center_01_Patient_01", "Center_01_Patient_02", "Center_07_Patient_01")
    assert [files.centre for files in dataset.cases] == ["Center_01", "Center_01", "Center_07"]


def test_mssegs_missing_files_are_named(tmp_path):
    write_msseg2016(tmp_path)
    folder = tmp_path / "Center_07" / "Patient_01"
    gone = [folder / "Masks" / "Consensus.nii.gz", folder / "Masks" / "ManualSegmentation_7.nii.gz"]
    gone.append(folder / "Preprocessed_Data" / "DP_preprocessed.nii.gz")
    for path in gone:
        path.unlink()
    with pytest.raises(DataError, match="3 problems") as caught:
        open_dataset(tmp_path)
    for path in gone:
        assert f"case Center_07_Patient_01: {path} is missing" in caught.value.problems
