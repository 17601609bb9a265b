"""A complete run: its tables come from its own predictions."""

import csv

import nibabel
import numpy as np
import pytest

from sfumato.data import open_dataset
from sfumato.methods import METHODS
from sfumato.metrics.table import read_rows
from sfumato.study.run import complete_run
from sfumato.training.recipe import parse_recipe
from tiny_cases import tiny_recipe, write_cases


def run(folder, method, axes=3, **changes):
    data = open_dataset(write_cases(folder / "data", axes=axes))
    content = tiny_recipe(axes) | {"method": method, "epochs": 1} | changes
    return complete_run(parse_recipe(content, source="test"), data, folder / "run")


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axes", [2, 3])
def test_dice_in_the_table_is_that_of_the_files(tmp_path, method, axes):
    folder = run(tmp_path, method, axes)
    rows = read_rows(folder.path / "metrics.csv")
    case = rows[0].case
    hard = nibabel.load(folder.path / "predictions" / f"{case}.nii.gz").get_fdata()
    reference = nibabel.load(tmp_path / "data" / "labelsTr" / f"{case}.nii.gz").get_fdata()
    for label in (1, 2):
        (row,) = [
            row for row in rows if (row.method, row.metric, row.structure) == (method, "dice", f"part{label}")
        ]
        first, second = hard.reshape(reference.shape) == label, reference == label
        size = first.sum() + second.sum()
        assert row.value == pytest.approx(1.0 if size == 0 else 2 * (first & second).sum() / size)
        assert row.run == f"{method}-seed0-fold0"
    assert {"dice", "hd95", "surface_dice", "avd", "mse", "ece", "tace"} <= {row.metric for row in rows}


@pytest.mark.parametrize("method", ["ce", "singr", "softseg"])
def test_every_voxel_is_counted_once_in_calibration_and_histogram(tmp_path, method):
    folder = run(tmp_path, method)
    cases = len({row.case for row in read_rows(folder.path / "metrics.csv")})
    voxels = cases * 13 * 16 * 11
    bins = [row for row in table(folder.path / "calibration.csv") if row["set"] == "all"]
    assert len(bins) == 10
    assert sum(int(row["count"]) for row in bins) == voxels
    values = table(folder.path / "values.csv")
    channels = 3 if method == "ce" else 2
    assert sum(int(row["count"]) for row in values) == voxels * channels
    assert float(values[0]["low"]) == (-1 if method == "singr" else 0)


def test_finished_run_is_left_as_it_is(tmp_path):
    folder = run(tmp_path, "ce")
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*") if path.is_file()}
    data = open_dataset(tmp_path / "data")
    content = tiny_recipe() | {"method": "ce", "epochs": 1}
    complete_run(parse_recipe(content, source="test"), data, folder.path, resume=True)
    after = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*") if path.is_file()}
    assert before == after


def test_run_killed_before_its_evaluation_is_evaluated_on_resume(tmp_path):
    folder = run(tmp_path, "softseg")
    rows = (folder.path / "metrics.csv").read_bytes()
    (folder.path / "metrics.csv").unlink()
    data = open_dataset(tmp_path / "data")
    content = tiny_recipe() | {"method": "softseg", "epochs": 1}
    complete_run(parse_recipe(content, source="test"), data, folder.path, resume=True)
    assert (folder.path / "metrics.csv").read_bytes() == rows


def test_regions_that_overlap_are_predicted_and_scored_as_such(tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    from dataclasses import replace

    data = replace(data, regions={"whole": (1, 2), "core": (2,)})
    for method in ("singr", "ce"):
        content = tiny_recipe() | {"method": method, "epochs": 1}
        folder = complete_run(parse_recipe(content, source="test"), data, tmp_path / method)
        rows = read_rows(folder.path / "metrics.csv")
        assert {row.structure for row in rows if row.metric == "dice"} == {"whole", "core"}
        case = rows[0].case
        hard = np.asarray(nibabel.load(folder.path / "predictions" / f"{case}.nii.gz").dataobj)
        assert hard.shape == (13, 16, 11, 2)
        reference = np.asarray(nibabel.load(tmp_path / "data" / "labelsTr" / f"{case}.nii.gz").dataobj)
        (row,) = [row for row in rows if (row.method, row.metric, row.structure) == (method, "dice", "whole")]
        first, second = hard[..., 0] == 1, reference > 0
        assert row.value == pytest.approx(2 * (first & second).sum() / (first.sum() + second.sum()))
