"""Predictions of a training, evaluated by the command: its own table's numbers."""

import json

import pytest

from one_command import runner
from sfumato.cli.evaluate import evaluate
from sfumato.data import open_dataset
from sfumato.errors import FileFormatError, InputError
from sfumato.evaluation.rows import read_rows
from sfumato.recipe.recipe import parse_recipe
from sfumato.study.run import complete_run
from tiny_cases import tiny_recipe, write_cases, write_rated_cases

run = runner(evaluate)
OVERLAPPING = {"whole": [1, 2], "core": [2]}


def trained(folder, axes=3, *, data=None, **changes):
    dataset = open_dataset(data or write_cases(folder / "data", axes=axes))
    recipe = parse_recipe(tiny_recipe(axes) | {"epochs": 1} | changes, source="test")
    return complete_run(recipe, dataset, folder / "run").path


def values(path, *, metrics=None):
    """The rows of cases, of the trained method itself, by what they are about."""
    return {
        (row.case, row.rater, row.structure, row.metric): (row.value, row.status)
        for row in read_rows(path)
        if row.case and not row.method.endswith("+T") and (metrics is None or row.metric in metrics)
    }


def require_same_rows(place, reference, out):
    run(place / "predictions", reference, "--out", out)
    found = values(out)
    wanted = values(place / "metrics.csv", metrics={metric for *_, metric in found})
    assert found.keys() == wanted.keys()
    for key, (value, status) in wanted.items():
        assert found[key][1] == status
        assert found[key][0] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), key


@pytest.mark.parametrize("method", ["ce", "softseg", "singr"])
@pytest.mark.parametrize(("axes", "regions"), [(2, {"core": [2]}), (3, OVERLAPPING)])
def test_regions_of_the_recipe_are_scored_as_the_run_scored_them(tmp_path, method, axes, regions):
    place = trained(tmp_path, axes, method=method, regions=regions)
    require_same_rows(place, tmp_path / "data", tmp_path / "m.csv")
    assert {row.structure for row in read_rows(tmp_path / "m.csv")} - {"all"} == set(regions)


@pytest.mark.parametrize(
    ("regions", "error", "message"),
    [
        ({"core": [2, 7]}, InputError, r"region core is formed of labels \[2, 7\], but \[7\] are not among"),
        ([1, 2], FileFormatError, r"has regions \[1, 2\]: expected the labels of each, by its name"),
        ({"core": "2"}, FileFormatError, "expected the labels of each, by its name"),
    ],
)
def test_wrong_regions_of_the_predictions_are_named(tmp_path, regions, error, message):
    write_cases(tmp_path / "data")
    predictions = tmp_path / "data" / "labelsTr"
    (predictions / "prediction.json").write_text(json.dumps({"regions": regions}))
    with pytest.raises(error, match=message):
        run(predictions, tmp_path / "data", "--out", tmp_path / "m.csv")


def test_raters_are_named_as_the_run_names_them_also_where_a_case_lacks_one(tmp_path):
    data = write_rated_cases(tmp_path / "data")
    manifest = data / "manifest.csv"
    lines = [line.split(",") for line in manifest.read_text().splitlines()]
    for line in lines[1:]:
        line[4] = "" if line[0] == "case3" else line[4]  # rater 2 of the test case
    manifest.write_text("\n".join(",".join(line) for line in lines))
    place = trained(tmp_path, data=data)
    require_same_rows(place, data, tmp_path / "m.csv")
    scored = {(rater, name) for _, rater, name, metric in values(tmp_path / "m.csv") if metric == "dice"}
    assert scored == {(rater, f"part{n}") for n in (1, 2) for rater in ("", "mask_rater1", "mask_rater3")}


def test_an_option_goes_before_the_tolerance_of_the_training(tmp_path):
    write_cases(tmp_path / "data")
    predictions, out = tmp_path / "data" / "labelsTr", tmp_path / "m.csv"
    for content, options, expected in (
        ({}, (), 2.0),
        ({"tolerance_mm": 0.75}, (), 0.75),
        ({"tolerance_mm": 0.75}, ("--tolerance", 3), 3.0),
    ):
        (predictions / "prediction.json").write_text(json.dumps(content))
        run(predictions, tmp_path / "data", "--out", out, "--overwrite", "--metric", "dice", *options)
        assert json.loads((tmp_path / "m.json").read_text())["tolerance_mm"] == expected
    (predictions / "prediction.json").write_text('{"tolerance_mm": 0}')
    with pytest.raises(FileFormatError, match="has tolerance_mm 0: expected millimetres above 0"):
        run(predictions, tmp_path / "data", "--out", out, "--overwrite")
