"""A recipe is complete, validated, and says what is wrong with it."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from sfumato.errors import FileFormatError, RecipeError
from sfumato.methods import METHODS
from sfumato.recipe.files import recipe_file
from sfumato.recipe.parts import Choice
from sfumato.recipe.recipe import differences, parse_recipe, read_recipe, write_recipe

DEMO = Path(__file__).parents[2] / "recipes" / "demo.yaml"


@pytest.fixture
def content():
    return yaml.safe_load(DEMO.read_text())


def test_demo_recipe_is_read_and_written_back_equal(tmp_path):
    recipe = read_recipe(DEMO)
    write_recipe(recipe, tmp_path / "copy.yaml")
    assert read_recipe(tmp_path / "copy.yaml") == recipe


@pytest.mark.parametrize("method", METHODS)
def test_demo_recipe_takes_every_method(content, method):
    assert parse_recipe({**content, "method": method}, source="x").method == method


def test_unknown_key_is_refused_with_the_nearest_one(content):
    content["epoch"] = 3
    with pytest.raises(
        RecipeError,
        match=r"unknown key 'epoch' \(did you mean 'epochs'\?\); known here: recipe_version, name, method",
    ):
        parse_recipe(content, source="x")


def test_unknown_nested_key_lists_the_keys_of_its_part(content):
    content["optimizer"]["learning_rat"] = 0.1
    with pytest.raises(
        RecipeError, match=r"'optimizer.learning_rat' \(did you mean 'learning_rate'\?\); known here: name"
    ):
        parse_recipe(content, source="x")


@pytest.mark.parametrize("key", ["method", "patch"])
def test_missing_key_is_named(content, key):
    del content[key]
    with pytest.raises(RecipeError, match=f"missing key '{key}'"):
        parse_recipe(content, source="x")


def test_five_lines_make_a_recipe_and_the_written_one_is_complete(tmp_path):
    short = "recipe_version: 2\nmethod: ce\npatch:\n  size: [32, 32, 32]\nepochs: 3\n"
    (tmp_path / "short.yaml").write_text(short)
    recipe = read_recipe(tmp_path / "short.yaml")
    write_recipe(recipe, tmp_path / "complete.yaml")
    complete = yaml.safe_load((tmp_path / "complete.yaml").read_text())
    assert set(complete) == set(type(recipe).model_fields)
    assert complete["optimizer"]["learning_rate"] == recipe.optimizer.learning_rate
    assert read_recipe(tmp_path / "complete.yaml") == recipe


def test_every_problem_is_listed_at_once(content):
    content["epochs"] = 0
    content["batchsize"] = 2
    del content["patch"]["size"]
    with pytest.raises(RecipeError) as caught:
        parse_recipe(content, source="x")
    assert "epochs" in str(caught.value)
    assert "batchsize" in str(caught.value)
    assert "missing key 'patch.size'" in str(caught.value)


def test_unknown_method_is_suggested(content):
    content["method"] = "geosl"
    with pytest.raises(RecipeError, match=r"unknown method 'geosl'. Did you mean 'geols'\?"):
        parse_recipe(content, source="x")


@pytest.mark.parametrize("part", ["label", "loss"])
def test_unknown_option_of_a_method_is_refused(content, part):
    content["method"] = "ls"
    content[part] = {"alhpa": 0.2}
    with pytest.raises(RecipeError, match="alhpa"):
        parse_recipe(content, source="x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": {"size": [40, 56, 41], "foreground": 0.0}}, "multiples of 4"),
        ({"patch": {"size": [40], "foreground": 0.0}}, "2 or 3"),
        ({"validate_every": 99}, "validate_every is 99"),
        ({"precision": "8-bit"}, "precision"),
        ({"accelerator": "tpu"}, "accelerator"),
        ({"batch_size": 1.5}, "batch_size"),
    ],
)
def test_impossible_value_is_refused(content, change, message):
    with pytest.raises(RecipeError, match=message):
        parse_recipe({**content, **change}, source="x")


def test_split_fractions_must_sum_to_one(content):
    content["split"]["fractions"] = [0.5, 0.2, 0.2]
    with pytest.raises(RecipeError, match=r"sum to 0.9, not 1"):
        parse_recipe(content, source="x")


def test_a_list_is_not_a_recipe():
    with pytest.raises(RecipeError, match="found list"):
        parse_recipe([1, 2], source="x")


def test_file_that_is_not_yaml_or_not_there_is_named(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("method: [ce\nepochs: 3")
    with pytest.raises(FileFormatError, match=r"broken.yaml is not YAML.*line"):
        read_recipe(broken)
    with pytest.raises(FileFormatError, match="does not exist"):
        read_recipe(tmp_path / "absent.yaml")


def test_differences_name_both_values(content):
    first = parse_recipe(content, source="x")
    assert differences(first, first.replace(seed=7)) == ["seed: 0 and 7"]


def test_the_demo_recipe_is_found_and_a_missing_one_is_named():
    assert read_recipe(recipe_file("demo.yaml")) == read_recipe(DEMO)
    with pytest.raises(FileFormatError, match=r"recipe nothing\.yaml is in none of"):
        recipe_file("nothing.yaml")


@pytest.mark.parametrize("name", ["LS (0.1)", "GeoLS alpha=10%", "a", "SiNG - no denominator"])
def test_a_name_titles_the_run_and_its_folder_gets_a_safe_one(content, name):
    recipe = parse_recipe({**content, "name": name, "seed": 3}, source="x")
    assert recipe.title == name
    assert re.fullmatch(r"[a-z0-9.-]+-seed3-fold0", recipe.run_name)
    assert recipe.replace(name=None).title == "geols"
    assert recipe.replace(name=None).run_name == "geols-seed3-fold0"


def test_the_folder_name_keeps_letters_digits_and_points(content):
    recipe = parse_recipe({**content, "name": "LS (0.1) "}, source="x")
    assert recipe.run_name == "ls-0.1-seed0-fold0"


@pytest.mark.parametrize("name", ["", "a/b", "LS+T", "()", "ä", "a,b"])
def test_a_name_that_no_table_or_folder_can_hold_is_refused(content, name):
    with pytest.raises(RecipeError, match="name"):
        parse_recipe({**content, "name": name}, source="x")


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        (None, {"regions": {}}, "regions"),
        (None, {"regions": {"whole": []}}, r"regions\.whole"),
        (None, {"regions": {"whole": [0, 1]}}, r"regions\.whole"),
        (None, {"slice_axis": 3}, "slice_axis"),
        (None, {"slice_axis": 1}, "slice_axis cuts volumes into slices, but patch.size has 3 values"),
        ("split", {"counts": [1, 2]}, r"split\.counts"),
        ("split", {"counts": [0, 0, 0]}, r"split\.counts is \(0, 0, 0\): give .+ not all 0"),
        ("split", {"by": "center"}, r"split\.by"),
        ("split", {"by": "patient", "fold": 1}, "there are 1 folds"),
        ("split", {"by": "centre", "folds": 4, "fold": 4}, "there are 4 folds"),
        (
            "preprocess",
            {"clip_percentiles": [99, 1]},
            r"preprocess\.clip_percentiles is \(99, 1\).+ low < high",
        ),
        ("preprocess", {"clip_percentiles": [0, 101]}, r"clip_percentiles"),
        ("augment", {"rotation_deg": [0.0, 10.0]}, r"augment\.rotation_deg"),
        ("augment", {"rotation_deg": [0.0, -10.0, 0.0]}, r"augment\.rotation_deg"),
        ("augment", {"rotation_deg": -10.0}, r"augment\.rotation_deg"),
        ("augment", {"flip_axes": [3]}, r"augment\.flip_axes \(3,\) must lie in 0 \.\. 2"),
        ("augment", {"scale": float("nan")}, r"augment\.scale"),
        (
            "augment",
            {"rotation": 10.0},
            r"'augment\.rotation' \(did you mean 'rotation_deg'\?\); known here: flip_axes",
        ),
        ("preprocess", {"intensity": "ct"}, r"preprocess\.ct_window goes with intensity"),
        ("preprocess", {"intensity": "z-score"}, r"preprocess\.intensity: .*found 'z-score'"),
        (
            "preprocess",
            {"crop_size": [10, None]},
            "preprocess.crop_size has 2 values, but the data have 3 axes",
        ),
    ],
)
def test_impossible_choice_of_the_data_is_refused(content, part, change, message):
    changes = change if part is None else {part: content[part] | change}
    with pytest.raises(RecipeError, match=message):
        parse_recipe({**content, **changes}, source="x")


@pytest.mark.parametrize("raters", ["all", "random", "rater2"])
def test_a_label_of_all_raters_is_not_made_of_one(content, raters):
    with pytest.raises(RecipeError, match=rf"'moh' makes one label of all raters, but raters is '{raters}'"):
        parse_recipe({**content, "method": "moh", "raters": raters}, source="x")
    assert parse_recipe({**content, "method": "ce", "raters": raters}, source="x").raters == raters


def test_slices_have_one_axis_less_than_their_volumes(content):
    changes = {
        "slice_axis": 1,
        "patch": {"size": [40, 56], "foreground": 0.0},
        "preprocess": content["preprocess"] | {"spacing": [1, 1, 2], "crop_size": [40, None, 56]},
    }
    recipe = parse_recipe({**content, **changes}, source="x")
    assert recipe.data_axes == 3
    assert recipe.network_axes == (0, 2)
    assert parse_recipe(content, source="x").network_axes == (0, 1, 2)


def test_rotation_has_one_angle_or_in_3d_one_per_axis(content, tmp_path):
    content["augment"]["rotation_deg"] = [0.0, 0.0, 10.0]
    recipe = parse_recipe(content, source="x")
    assert recipe.augment.rotation_deg == (0.0, 0.0, 10.0)
    path = tmp_path / "recipe.yaml"
    write_recipe(recipe, path)
    assert read_recipe(path) == recipe
    flat = {"slice_axis": 2, "patch": {"size": [40, 56], "foreground": 0.0}}
    flat["augment"] = content["augment"] | {"flip_axes": []}
    with pytest.raises(
        RecipeError, match=r"augment\.rotation_deg is \(0\.0, 0\.0, 10\.0\) for 2 axes: give one angle"
    ):
        parse_recipe(content | flat, source="x")


@pytest.mark.parametrize(
    ("part", "written"),
    [
        ({}, {}),
        ({"alpha": 0.2}, {"alpha": 0.2}),
        ("uniform", "uniform"),
        ({"name": "uniform"}, "uniform"),
        ({"name": "uniform", "alpha": 0.2}, {"name": "uniform", "alpha": 0.2}),
    ],
)
def test_a_part_is_options_or_a_name_or_both(part, written):
    choice = TypeAdapter(Choice).validate_python(part)
    name = part if isinstance(part, str) else part.get("name")
    assert (choice.name, choice.options.get("alpha")) == (name, 0.2 if "alpha" in part else None)
    assert TypeAdapter(Choice).dump_python(choice, mode="json") == written
    assert TypeAdapter(Choice).validate_python(written) == choice


@pytest.mark.parametrize("part", ["label", "activation", "loss", "decoder"])
@pytest.mark.parametrize("value", [3, ["uniform"], {"name": 3}])
def test_a_part_that_is_neither_is_refused_with_the_forms(content, part, value):
    with pytest.raises(RecipeError, match=rf"x: {part}: expected options, a name, or both"):
        parse_recipe(content | {part: value}, source="x")


def test_the_composed_method_has_the_recipes_options(content):
    recipe = parse_recipe(content | {"method": "ls", "label": {"alpha": 0.3}}, source="x")
    assert recipe.composed.label_options == {"alpha": 0.3, "scheme": "all"}
    recipe = parse_recipe(content | {"method": "focal", "loss": {"gamma": 3.0}}, source="x")
    assert recipe.composed.loss_options["gamma"] == 3.0
    assert recipe.composed.make_loss().gamma == 3.0
