"""Recipes of older versions mean what they meant."""

from pathlib import Path

import pytest
import torch
import yaml

from sfumato.errors import RecipeError
from sfumato.recipe.migrations import VERSION, migrated
from sfumato.recipe.recipe import differences, parse_recipe, read_recipe

ROOT = Path(__file__).parents[2]
STORED = ROOT / "tests" / "stored" / "version-1"
RECIPES = sorted(
    path.relative_to(STORED / "recipes").as_posix()
    for path in (STORED / "recipes").rglob("*.yaml")
    if path.name != "experiment.yaml"
)
RUNS = ("geols", "softseg")


def same(recipe, content):
    """Whether every key of a version-1 file has its value in the recipe."""
    ours = recipe.model_dump(mode="json")
    flat = {key: {**ours[key], **value} if key in PARTS else value for key, value in content.items()}
    return {key: ours[key] for key in content} == flat


PARTS = ("split", "preprocess", "augment", "patch", "network", "optimizer")


def test_all_recipes_of_version_1_are_stored():
    assert len(RECIPES) == 26


@pytest.mark.parametrize("name", RECIPES)
def test_a_stored_recipe_keeps_every_value_and_is_the_shipped_one(name):
    content = yaml.safe_load((STORED / "recipes" / name).read_text())
    recipe = read_recipe(STORED / "recipes" / name)
    assert recipe.recipe_version == VERSION
    assert same(recipe, content)
    shipped = ROOT / "recipes" / name
    assert yaml.safe_load(shipped.read_text())["recipe_version"] == VERSION
    assert differences(recipe, read_recipe(shipped)) == []


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("checkpoint", ["best.ckpt", "last.ckpt"])
def test_the_recipe_of_a_stored_checkpoint_is_that_of_its_run(run, checkpoint):
    path = STORED / run / "checkpoints" / checkpoint
    content = torch.load(path, weights_only=True)["sfumato"]["recipe"]
    recipe = parse_recipe(content, source="checkpoint")
    assert recipe == read_recipe(STORED / run / "recipe.yaml")
    assert same(recipe, content)


def test_a_stored_recipe_means_what_is_written_here():
    recipe = read_recipe(STORED / "geols" / "recipe.yaml")
    assert (recipe.method, recipe.when, recipe.raters) == ("geols", "method", "consensus")
    assert (recipe.epochs, recipe.patience, recipe.min_delta) == (1, 3, 0.001)
    assert recipe.split.fractions == (0.5, 0.34, 0.16)
    assert recipe.network.options == {"channels": [2, 2], "res_units": 1, "dropout": 0.1}
    assert (recipe.preprocess.intensity, recipe.preprocess.spacing) == ("zscore", None)
    assert (recipe.augment.flip_axes, recipe.augment.rotation_deg) == ((0, 1, 2), 10.0)


@pytest.mark.parametrize("key", ["min_delta", "patience", "regions", "slice_axis", "name", "raters"])
def test_a_version_1_recipe_from_before_a_key_came_is_read(key):
    content = yaml.safe_load((STORED / "recipes" / "demo.yaml").read_text())
    complete = parse_recipe(content, source="x")
    del content[key], content["split"]["counts"], content["preprocess"]["clip_percentiles"]
    assert parse_recipe(content, source="x") == complete


@pytest.mark.parametrize("version", [VERSION + 1, 17])
def test_a_recipe_of_a_newer_version_is_refused_with_one_line(version):
    with pytest.raises(RecipeError) as caught:
        migrated({"recipe_version": version, "epoch_count": 3}, source="new.yaml")
    expected = f"new.yaml: recipe_version is {version}, but this Sfumato reads 1 to {VERSION}: update Sfumato"
    assert str(caught.value) == expected


@pytest.mark.parametrize("version", ["two", 0, None, 1.5, True])
def test_a_version_that_is_none_is_refused(version):
    with pytest.raises(RecipeError, match=r"expected a whole number from 1 to 2"):
        parse_recipe({"recipe_version": version}, source="x")


def test_migrating_changes_no_argument_in_place():
    content = {"method": "ce"}
    assert migrated(content, source="x")["recipe_version"] == VERSION
    assert content == {"method": "ce"}
