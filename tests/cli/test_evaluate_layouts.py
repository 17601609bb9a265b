"""Predictions scored against public data sets as they lie on disk."""

import csv

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from layout_files import WRITERS, write_brats2019, write_lgg
from sfumato.cli.evaluate import evaluate
from sfumato.data import load_case, open_dataset, write_volume
from sfumato.errors import FileFormatError

APP = typer.Typer()
APP.command()(evaluate)


def run(*arguments):
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def predict(dataset, folder):
    """Perfect predictions but for one voxel of the last case, which becomes background."""
    labels = {}
    for files in dataset.cases:
        case = load_case(files, dataset)
        labels[case.name] = case.labels.numpy().astype(np.uint8)
    last = labels[dataset.names[-1]]
    last[tuple(np.argwhere(last == last.max())[0])] = 0
    for name, array in labels.items():
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        write_volume(path, array, affine=case.affine, spacing=case.spacing)


def dice(path):
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "dice"]
    return {(row["case"], row["structure"]): float(row["value"]) for row in rows}


def test_stored_values_of_the_reference_become_classes(tmp_path):
    dataset = open_dataset(write_brats2019(tmp_path / "data"))
    predict(dataset, tmp_path / "pred")
    result = run(tmp_path / "pred", tmp_path / "data", "--out", tmp_path / "t.csv", "--metric", "dice")
    assert result.exit_code == 0, result.exception
    found = dice(tmp_path / "t.csv")
    # Each class has 20 voxels; one of the last case's enhancing tumour is missed.
    assert found["BraTS19_CBICA_AAB_1", "ET"] == 1
    assert found["BraTS19_TCIA09_141_1", "ET"] == pytest.approx(2 * 19 / (19 + 20))
    assert found["BraTS19_TCIA09_141_1", "TC"] == pytest.approx(2 * 39 / (39 + 40))
    assert found["BraTS19_TCIA09_141_1", "WT"] == pytest.approx(2 * 59 / (59 + 60))


def test_a_stack_of_slices_is_a_reference(tmp_path):
    inner = write_lgg(tmp_path / "data")
    dataset = open_dataset(inner)
    predict(dataset, tmp_path / "pred")
    options = ("--out", tmp_path / "t.csv", "--metric", "dice", "--dataset", "lgg")
    result = run(tmp_path / "pred", inner, *options)
    assert result.exit_code == 0, result.exception
    found = dice(tmp_path / "t.csv")
    assert found[dataset.names[0], "abnormality"] == 1
    assert found[dataset.names[1], "abnormality"] == pytest.approx(2 * 39 / (39 + 40))


def test_a_forced_layout_that_does_not_fit_the_reference_is_an_error(tmp_path):
    WRITERS["scgm"](tmp_path / "data")
    predict(open_dataset(tmp_path / "data"), tmp_path / "pred")
    options = ("--out", tmp_path / "t.csv", "--reference-kind", "lidc")
    result = run(tmp_path / "pred", tmp_path / "data", *options)
    assert isinstance(result.exception, FileFormatError)
    assert "does not hold LIDC-IDRI" in str(result.exception)


def test_the_name_of_the_data_set_in_the_table_may_be_given(tmp_path):
    WRITERS["scgm"](tmp_path / "data")
    predict(open_dataset(tmp_path / "data"), tmp_path / "pred")
    options = ("--out", tmp_path / "t.csv", "--metric", "dice", "--dataset", "scgm", "--dataset-name", "cord")
    assert run(tmp_path / "pred", tmp_path / "data", *options).exit_code == 0
    with (tmp_path / "t.csv").open(newline="") as file:
        assert {row["dataset"] for row in csv.DictReader(file)} == {"cord"}
