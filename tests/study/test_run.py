"""A complete run: its tables come from its own predictions."""

import csv

import nibabel
import numpy as np
import pytest
import torch

from sfumato.data import load_case, open_dataset
from sfumato.errors import DataError
from sfumato.evaluation.diagrams import read_points
from sfumato.evaluation.rows import read_rows
from sfumato.methods import METHODS
from sfumato.metrics import dice
from sfumato.model.model import Model, recipe_device
from sfumato.recipe.recipe import parse_recipe
from sfumato.report.assemble import assemble
from sfumato.study import run as study_run
from sfumato.study.run import complete_run
from sfumato.training import fit as training_fit
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
def test_every_voxel_is_counted_once_in_reliability_and_histogram(tmp_path, method):
    folder = run(tmp_path, method)
    rows = read_rows(folder.path / "metrics.csv")
    voxels = len({row.case for row in rows if row.case}) * 13 * 16 * 11
    points = read_points(folder.path / "metrics.csv")
    for variant in ("", "+T"):
        place = f"{method}-seed0-fold0{variant}", "reliability", "all"
        mine = [p for p in points if (p.run, p.diagram, p.series) == place]
        assert len(mine) == 10
        for n, point in enumerate(mine):
            assert point.count == 0 or n / 10 <= round(point.x, 6) <= (n + 1) / 10
        assert sum(p.count for p in mine) == voxels
    values = [p for p in points if p.diagram == "values"]
    assert len(values) == 100
    assert sum(p.count for p in values) == voxels * (3 if method == "ce" else 2)
    assert (values[0].x, values[-1].y) == ((-1.0 if method == "singr" else 0.0), 1.0)


def test_learning_curves_and_the_tuning_of_the_threshold_are_diagrams(tmp_path):
    folder = run(tmp_path, "softseg", axes=2, epochs=3)
    points = read_points(folder.path / "metrics.csv")
    curve = {(p.series, p.x): p.y for p in points if p.diagram == "history"}
    lines = table(folder.path / "history.csv")
    assert len(lines) == 3
    for line in lines:
        for name in ("train_loss", "val_loss", "val_dice"):
            assert curve[name, float(line["epoch"])] == float(line[name])
    sweep = [(p.x, p.y) for p in points if p.diagram == "threshold"]
    assert sweep == [
        (float(line["threshold"]), float(line["dice"])) for line in table(folder.path / "threshold.csv")
    ]
    assert len(sweep) == 19


def test_case_of_several_raters_is_scored_against_each_and_all_of_them(tmp_path):
    data = open_dataset("sample:cells")
    content = tiny_recipe(2) | {"method": "moh", "epochs": 1}
    content["preprocess"]["spacing"] = None
    folder = complete_run(parse_recipe(content, source="test"), data, tmp_path / "run")
    rows = read_rows(folder.path / "metrics.csv")
    case = load_case(next(files for files in data.cases if files.name == rows[0].case), data)
    hard = nibabel.load(folder.path / "predictions" / f"{case.name}.nii.gz").get_fdata()
    hard = torch.from_numpy(hard.reshape(case.shape) == 1)[None]
    found = {(r.method, r.rater, r.structure, r.metric): r.value for r in rows if r.case == case.name}
    drawn = [(labels == 1)[None] for labels in case.labels_per_rater]
    scores = [float(dice(hard, one)) for one in drawn]
    for rater, score in zip(data.raters_of(case.name), scores, strict=True):
        assert found["moh", rater, "cell", "dice"] == score
        assert ("moh", rater, "cell", "rater_dice") in found
    assert found["moh", "", "cell", "dice_raters_mean"] == pytest.approx(np.mean(scores))
    assert found["moh", "", "cell", "dice_raters_max"] == max(scores)
    for variant in ("moh", "moh+T"):
        assert found[variant, "", "cell", "ged"] == found["moh", "", "cell", "ged"]
        assert {"qubiq", "consensus_dice", "consensus_iou", "rater_dice"} <= {
            metric for *place, metric in found if place == [variant, "", "cell"]
        }
    assert found["moh", "", "cell", "qubiq"] != found["moh+T", "", "cell", "qubiq"]


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
        scored = {row.structure for row in rows if (row.method, row.metric) == (f"{method}+T", "ece")}
        assert scored == ({"whole", "core"} if method == "singr" else {"all"})
        case = rows[0].case
        hard = np.asarray(nibabel.load(folder.path / "predictions" / f"{case}.nii.gz").dataobj)
        assert hard.shape == (13, 16, 11, 2)
        reference = np.asarray(nibabel.load(tmp_path / "data" / "labelsTr" / f"{case}.nii.gz").dataobj)
        (row,) = [row for row in rows if (row.method, row.metric, row.structure) == (method, "dice", "whole")]
        first, second = hard[..., 0] == 1, reference > 0
        assert row.value == pytest.approx(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_broken_data_leave_the_run_that_was_to_be_overwritten(tmp_path):
    folder = run(tmp_path, "ce")
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    broken = sorted((tmp_path / "data" / "labelsTr").iterdir())[-1]
    broken.write_bytes(broken.read_bytes()[:40])
    data = open_dataset(tmp_path / "data")
    recipe = parse_recipe(tiny_recipe() | {"method": "ce", "epochs": 1}, source="test")
    with pytest.raises(DataError, match=broken.name):
        complete_run(recipe, data, folder.path, overwrite=True)
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


def test_split_without_validation_leaves_the_run_that_was_to_be_overwritten(tmp_path):
    folder = run(tmp_path, "ce")
    data = open_dataset(tmp_path / "data")
    content = tiny_recipe() | {"method": "ce", "epochs": 1}
    content["split"]["fractions"] = [1.0, 0.0, 0.0]
    with pytest.raises(DataError, match="the split leaves no validation case of 6"):
        complete_run(parse_recipe(content, source="test"), data, folder.path, overwrite=True)
    assert (folder.path / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("accelerator", "there", "expected"),
    [("cpu", True, "cpu"), ("gpu", True, "cuda"), ("auto", True, "cuda"), ("auto", False, "cpu")],
)
def test_trained_networks_predict_where_the_recipe_trains(monkeypatch, accelerator, there, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    recipe = parse_recipe(tiny_recipe() | {"accelerator": accelerator}, source="test")
    assert recipe_device(recipe) == torch.device(expected)


@pytest.mark.parametrize("accelerator", ["cpu", "auto"])
def test_tuning_temperature_and_test_cases_run_on_the_recipes_device(tmp_path, monkeypatch, accelerator):
    asked, devices = [], []
    for module in (study_run, training_fit):
        name = module.__name__
        monkeypatch.setattr(
            module, "recipe_device", lambda recipe, name=name: asked.append(name) or recipe_device(recipe)
        )
    logits = Model.logits
    monkeypatch.setattr(
        Model,
        "logits",
        lambda module, image: devices.append(image.device.type) or logits(module, image),
    )
    folder = run(tmp_path, "softseg", axes=2, accelerator=accelerator)
    assert asked == ["sfumato.training.fit", "sfumato.study.run"]
    expected = "cuda" if accelerator == "auto" and torch.cuda.is_available() else "cpu"
    # Validation, the snapshot, tuning on training and validation cases, the temperature, the test cases.
    assert devices == [expected] * (2 + 1 + 5 + 2 + 1)
    assert (folder.path / "metrics.csv").exists()


@pytest.mark.parametrize(("given", "kind"), [("data/all.csv", "auto"), ("data", "nnunet")])
def test_data_of_a_run_are_found_again(tmp_path, monkeypatch, given, kind):
    # By itself the folder would be read as its manifest.
    data = write_cases(tmp_path / "data", axes=2)
    lines = [f"case{n},imagesTr/case{n}_0000.nii.gz,labelsTr/case{n}.nii.gz" for n in range(6)]
    (data / "all.csv").write_text("\n".join(["case,image,mask", *lines]) + "\n")
    (data / "manifest.csv").write_text("case,image\nother,imagesTr/case0_0000.nii.gz\n")
    monkeypatch.chdir(tmp_path)
    data = open_dataset(given, layout=kind)
    recipe = parse_recipe(tiny_recipe(2) | {"method": "ce", "epochs": 1}, source="test")
    folder = complete_run(recipe, data, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "data")
    shown = assemble(folder.path)
    assert shown.notes == ()
    assert {case.name for case in shown.cases} == {row.case for row in shown.rows if row.case}
