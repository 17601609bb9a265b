"""A plan names every run with its complete recipe, and says what is wrong with it."""

import sys
import textwrap
import types

import pytest
import yaml

from sfumato.errors import FileFormatError, InputError, RecipeError
from sfumato.methods import method
from sfumato.recipe.recipe import parse_recipe
from sfumato.study.plan import Study, StudyPlan, parse_plan, planned_runs, read_study
from tiny_cases import tiny_recipe

CONTENT = {"recipe": "recipe.yaml", "data": "sample:hippocampus", "methods": ["ce", "svls"], "seeds": [0, 3]}


def runs_of(recipe=None, **changes):
    base = parse_recipe(tiny_recipe() | (recipe or {}), source="test")
    return planned_runs(parse_plan(CONTENT | changes, source="plan.yaml"), base)


def test_methods_times_seeds_times_folds():
    runs = runs_of(folds=2)
    names = [f"{m}-seed{s}-fold{f}" for s in (0, 3) for f in (0, 1) for m in ("ce", "svls")]
    assert [run.name for run in runs] == names
    for run in runs:
        recipe = run.recipe
        assert f"{recipe.method}-seed{recipe.seed}-fold{recipe.split.fold}" == run.name
        assert recipe.split.folds == 2
        assert recipe.epochs == tiny_recipe()["epochs"]
        assert recipe.split.seed == tiny_recipe()["split"]["seed"]


def test_a_users_own_method_and_parts_may_be_planned(monkeypatch):
    module = types.ModuleType("own")
    module.MINE = method("ls")
    monkeypatch.setitem(sys.modules, "own", module)
    overrides = {"own:MINE": {"loss": "dice-ce"}}
    plain, mine = runs_of(methods=["ce", "own:MINE"], seeds=[0], overrides=overrides)
    assert (plain.name, mine.name) == ("ce-seed0-fold0", "own-mine-seed0-fold0")
    assert mine.recipe.composed.loss_row.name == "dice-ce"
    with pytest.raises(RecipeError, match=r"unknown method 'lss'.*Did you mean 'ls'"):
        runs_of(methods=["lss"])


def test_without_folds_the_recipes_own_split_is_kept():
    split = tiny_recipe()["split"] | {"folds": 5, "fold": 2}
    runs = runs_of({"split": split}, folds=None)
    assert {(run.recipe.split.folds, run.recipe.split.fold) for run in runs} == {(5, 2)}
    assert runs[0].name == "ce-seed0-fold2"


def test_options_go_to_the_method_that_they_are_for():
    recipe = {"method": "ls", "label": {"alpha": 0.3}}
    found = {
        run.recipe.method: run.recipe.label.options
        for run in runs_of(
            recipe, methods=["ls", "geols", "svls"], seeds=[0], overrides={"geols": {"label": {"alpha": 0.2}}}
        )
    }
    assert found == {"ls": {"alpha": 0.3}, "geols": {"alpha": 0.2}, "svls": {}}
    (run,) = runs_of(recipe, methods=["ls"], seeds=[0], overrides={"ls": {"loss": {}}})
    assert run.recipe.label.options == {}


def test_a_name_stays_with_the_recipes_own_method():
    recipe = {"method": "ls", "name": "LS (0.3)", "label": {"alpha": 0.3}}
    runs = runs_of(recipe, methods=["ls", "ce"], seeds=[0])
    assert [(run.name, run.recipe.title) for run in runs] == [
        ("ls-0.3-seed0-fold0", "LS (0.3)"),
        ("ce-seed0-fold0", "ce"),
    ]
    plan = StudyPlan(**CONTENT | {"methods": ["ls", "ce"]})
    assert Study(plan, "x", runs).proposed == "LS (0.3)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"seed": [1]},
            r"plan\.yaml: unknown key 'seed' \(did you mean 'seeds'\?\); known here: recipe, data",
        ),
        ({"overrides": {"ce": {"labels": {}}}}, r"'overrides\.ce\.labels' \(did you mean 'label'\?\)"),
        ({"methods": ["ce", "svl"]}, r"plan\.yaml: unknown method 'svl'\. Did you mean 'svls'\?"),
        ({"methods": []}, r"methods: .*at least 1 item.*found \[\]"),
        ({"methods": ["ce", "ce"]}, "methods names ce twice"),
        ({"seeds": [1, 2, 1]}, "seeds names 1 twice"),
        ({"seeds": [-1]}, r"seeds\.0: .*found -1"),
        ({"folds": 1}, r"folds: .*found 1"),
        ({"proposed": "geols"}, r"under proposed, 'geols'.*Known: ce, svls"),
        ({"overrides": {"sls": {}}}, r"under overrides, 'sls'\. Did you mean 'svls'\?"),
        ({"overrides": {"svls": {"label": {"alpa": 1}}}}, "unknown label option of method 'svls' 'alpa'"),
    ],
)
def test_what_is_wrong_with_a_plan_is_named(changes, message):
    with pytest.raises(RecipeError, match=message):
        runs_of(**changes)


def test_missing_keys_are_all_named():
    with pytest.raises(RecipeError) as caught:
        parse_plan({"recipe": "r.yaml"}, source="plan.yaml")
    for name in ("data", "methods", "seeds"):
        assert f"missing key '{name}'" in str(caught.value)
    with pytest.raises(RecipeError, match="a plan is a mapping of keys to values, found list"):
        parse_plan([], source="plan.yaml")


def test_plan_in_the_documentation_is_a_plan():
    example = textwrap.dedent(StudyPlan.__doc__.split("As a file::")[1])
    plan = parse_plan(yaml.safe_load(example), source="docstring")
    assert plan.proposed == "geols"
    assert plan.overrides["ls"].label.options == {"alpha": 0.2}


def test_study_without_a_test_case_is_refused():
    split = tiny_recipe()["split"]
    with pytest.raises(InputError, match=r"split\.fractions leave no test case"):
        runs_of({"split": split | {"fractions": [0.8, 0.2, 0.0]}})
    with pytest.raises(InputError, match=r"split\.counts leave no test case"):
        runs_of({"split": split | {"counts": [8, 2, 0]}})
    # Counts decide in place of fractions, and a centre is always left to test.
    assert runs_of({"split": split | {"counts": [6, 2, 2], "fractions": [0.8, 0.2, 0.0]}})
    assert runs_of({"split": split | {"by": "centre", "fractions": [0.8, 0.2, 0.0]}})


def test_files_are_looked_for_beside_the_plan(tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tiny_recipe()))
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(CONTENT))
    study = read_study(path)
    assert (study.data, study.proposed, len(study.runs)) == ("sample:hippocampus", "ce", 4)
    path.write_text(yaml.safe_dump(CONTENT | {"data": "cases", "proposed": "svls"}))
    study = read_study(path)
    assert (study.data, study.proposed) == (str(tmp_path / "cases"), "svls")
    path.write_text(yaml.safe_dump(CONTENT | {"recipe": "other.yaml"}))
    with pytest.raises(FileFormatError, match=r"other\.yaml does not exist"):
        read_study(path)
    path.write_text("recipe: [")
    with pytest.raises(FileFormatError, match=r"plan .*plan\.yaml is not YAML"):
        read_study(path)
    with pytest.raises(FileFormatError, match=r"absent\.yaml does not exist"):
        read_study(tmp_path / "absent.yaml")
