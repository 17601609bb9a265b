import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from sfumato.cli.check import check
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
