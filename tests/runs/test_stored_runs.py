"""Runs of older versions are gone on with, by the recipe that they kept or by its own file."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from sfumato.data import open_dataset
from sfumato.errors import CheckpointError
from sfumato.recipe.recipe import parse_recipe, read_recipe
from sfumato.study.run import complete_run
from tiny_cases import write_rated_cases

STORED = Path(__file__).parents[1] / "stored" / "version-1"


@pytest.fixture
def data(tmp_path):
    return open_dataset(write_rated_cases(tmp_path / "data"))


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(STORED / "geols", tmp_path / "run"))


def test_a_finished_run_is_left_as_it_is(run, data):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    complete_run(read_recipe(run / "recipe.yaml"), data, run, resume=True)
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_that_was_interrupted_is_finished_with_the_same_model(run, data):
    finished = json.loads((run / "finished.json").read_text())
    for name in ("finished.json", "metrics.csv", "temperature.json"):
        (run / name).unlink()
    complete_run(read_recipe(run / "recipe.yaml"), data, run, resume=True)
    again = json.loads((run / "finished.json").read_text())
    assert again["best_epoch"] == finished["best_epoch"]
    assert again["val_dice"] == pytest.approx(finished["val_dice"])
    assert (run / "metrics.csv").exists()


def test_the_recipe_of_a_run_is_compared_by_what_it_means(run, data):
    content = yaml.safe_load((run / "recipe.yaml").read_text())
    content["recipe_version"] = 2
    for key in ("regions", "slice_axis", "name"):
        del content[key]
    complete_run(parse_recipe(content, source="short"), data, run, resume=True)
    content["patience"] = 4
    with pytest.raises(CheckpointError, match="patience: 3 and 4"):
        complete_run(parse_recipe(content, source="changed"), data, run, resume=True)
