import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from layout_files import WRITERS, write_brats2020, write_kits2019, write_lgg, zones
from sfumato.cli.app import load
from sfumato.cli.check import check
from sfumato.data.dataset import LAYOUT_NAMES
from sfumato.errors import DataError
from tiny_data import mask, picture, write_nifti, write_nnunet

APP = typer.Typer()
APP.command()(check)


def _run(*arguments):
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def test_a_clean_folder_is_summed_up(tmp_path):
    write_nnunet(tmp_path, channels=2)
    result = _run(tmp_path)
    assert result.exit_code == 0
    for text in (
        "3 readable of 3",
        "T1, T2",
        "0.5 x 2 x 3 (3 cases)",
        "6 x 5 x 4",
        "tumour",
        "no problems found",
    ):
        assert text in result.output


def test_every_problem_is_in_the_error_with_exit_status_2(tmp_path):
    write_nnunet(tmp_path)
    write_nifti(tmp_path / "labelsTr" / "a.nii.gz", mask(value=9))
    write_nifti(tmp_path / "labelsTr" / "b.nii.gz", np.zeros((6, 5, 3), np.uint8))
    (tmp_path / "labelsTr" / "c.nii.gz").unlink()
    result = _run(tmp_path)
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_status == 2
    assert len(result.exception.problems) == 3
    assert "0 readable of 3" in result.output
    assert "no problems found" not in result.output


def test_notes_are_printed_and_are_no_problem(tmp_path):
    write_nnunet(tmp_path)
    write_nifti(tmp_path / "labelsTr" / "a.nii.gz", mask(value=0))
    result = _run(tmp_path)
    assert result.exit_code == 0
    assert "note: case a has background only" in result.output


def test_names_with_brackets_are_printed_as_they_are(tmp_path):
    write_nnunet(
        tmp_path, description={"labels": {"background": 0, "[red]x": 1}, "channel_names": ["[bold]T1"]}
    )
    result = _run(tmp_path)
    assert "[red]x" in result.output
    assert "[bold]T1" in result.output


@pytest.mark.parametrize("name", ["cells", "spinal-cord"])
def test_the_samples_are_clean(name):
    result = _run(f"sample:{name}")
    assert result.exit_code == 0
    assert "no problems found" in result.output


def test_data_without_masks_are_checked_too(tmp_path):
    write_nifti(tmp_path / "q_0000.nii.gz", picture())
    result = _run(tmp_path)
    assert result.exit_code == 0
    assert "Labels" not in result.output


def test_what_is_no_data_set_is_one_problem(tmp_path):
    result = _run(tmp_path)
    assert isinstance(result.exception, DataError)
    assert "is empty" in str(result.exception)


@pytest.mark.parametrize(
    ("kind", "found"), [("brats2020", "2 of 369"), ("lgg", "2 of 110"), ("scgm", "2 of 80")]
)
def test_a_public_data_set_says_how_many_of_its_cases_are_here(tmp_path, kind, found):
    WRITERS[kind](tmp_path)
    for options in ([], ["--dataset", kind]):
        result = _run(tmp_path, *options)
        assert result.exit_code == 0
        assert f"found {found} expected" in result.output
        assert "2 readable of 2" in result.output
        assert "no problems found" in result.output


def test_a_folder_that_no_release_is_known_of_expects_no_number(tmp_path):
    write_nnunet(tmp_path)
    assert "expected" not in _run(tmp_path).output


def test_a_missing_a_truncated_and_a_wrong_file_end_in_one_error_with_status_2(tmp_path):
    inner = write_brats2020(tmp_path, ending=".nii.gz")
    first, second = (inner / f"BraTS20_Training_{number}" for number in ("001", "355"))
    gone, wrong = first / "BraTS20_Training_001_t1ce.nii.gz", first / "BraTS20_Training_001_seg.nii.gz"
    gone.unlink()
    write_nifti(wrong, zones(3))
    truncated = second / "BraTS20_Training_355_flair.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:-30])
    result = _run(tmp_path)
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_status == 2
    assert len(result.exception.problems) == 3
    message = str(result.exception)
    assert f"{gone} is missing" in message
    assert f"{truncated} is truncated" in message
    assert f"{wrong} holds values 3 outside" in message
    assert "found 2 of 369 expected" in result.output
    assert "0 readable of 2" in result.output


def test_cases_that_are_left_out_are_a_note(tmp_path):
    write_kits2019(tmp_path)
    result = _run(tmp_path)
    assert "note: 1 test cases without a mask are left out: case_00210" in result.output
    assert "note: 208 cases of the release are not here: case_00001" in result.output


def test_a_forced_layout_that_does_not_fit_says_what_it_expected(tmp_path):
    write_lgg(tmp_path)
    result = _run(tmp_path / "kaggle_3m", "--dataset", "kits2019")
    assert isinstance(result.exception, DataError)
    message = str(result.exception)
    assert "does not hold KiTS 2019: expected folders case_NNNNN" in message
    assert "it looks like LGG FLAIR (--dataset lgg)" in message


@pytest.mark.parametrize("command", ["check", "train", "predict", "evaluate", "threshold", "study", "report"])
def test_every_command_that_opens_a_data_set_can_force_its_layout(command):
    option = next(each for each in load(command).params if "--dataset" in each.opts)
    assert option.default == "auto"
    for kind in LAYOUT_NAMES:
        assert kind in option.help


@pytest.mark.parametrize("command", ["check", "train", "predict", "evaluate"])
def test_help_says_which_data_can_be_given(command):
    texts = [each.help for each in load(command).params if getattr(each, "help", None)]
    assert any("older of a public data set or in nnU-Net or BIDS layout" in text for text in texts)
