"""Tables take every finished run of their experiment, whenever it was trained; what does not fit is named."""

import shutil

import pytest

from sfumato.data import open_dataset
from sfumato.data.phantoms import write_layout
from sfumato.data.splits import make_splits, write_splits
from sfumato.recipe.recipe import write_recipe
from sfumato.reproduction.experiments import experiment
from sfumato.reproduction.finished import Finished, finished_runs, reasons
from sfumato.reproduction.plan import planned_runs
from sfumato.reproduction.smoke import smoke_recipe
from sfumato.study import Outcome

FOUND = experiment("svls-table1")
(PART,) = (part for part in FOUND.content.data if part.layout == "kits2019")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = write_layout("kits2019", tmp_path_factory.mktemp("data"), cases=5, size=(8, 8, 6))
    return open_dataset(root, layout="kits2019")


def left(folder, training, dataset, *, seed=0, finished=True, change=lambda recipe: recipe):
    """What a training leaves that is looked at."""
    (run,) = planned_runs(FOUND, PART, trainings=[training], seeds=[seed])
    place = folder / run.name
    place.mkdir(parents=True)
    write_recipe(change(run.recipe), place / "recipe.yaml")
    write_splits(make_splits(dataset, seed=0, by="case"), place / "splits.json")
    if finished:
        (place / "metrics.csv").touch()
    return place


def looked(folder, dataset, *, smoke=False):
    return finished_runs(FOUND, PART, folder, dataset=dataset, smoke=smoke)


def test_runs_of_every_seed_and_row_are_taken_whatever_is_asked_for_now(tmp_path, dataset):
    runs = [left(tmp_path, "LS (0.1)", dataset, seed=seed) for seed in (0, 7)]
    runs.append(left(tmp_path, "SVLS", dataset))
    left(tmp_path, "LS (0.2)", dataset, finished=False)
    found = looked(tmp_path, dataset)
    assert found == Finished(tuple(runs), {}, {}, frozenset())
    assert looked(tmp_path, None) == found
    assert looked(tmp_path / "absent", dataset) == Finished((), {}, {}, frozenset())


def test_run_of_another_recipe_is_named_and_left_out(tmp_path, dataset):
    kept = left(tmp_path, "SVLS", dataset)
    left(tmp_path, "LS (0.1)", dataset, change=lambda recipe: recipe.replace(epochs=30))
    found = looked(tmp_path, dataset)
    assert found.taken == (kept,)
    assert found.trainings == {"ls-0.1-seed0-fold0": "LS (0.1)"}
    assert found.others == {"ls-0.1-seed0-fold0"}
    assert "holds a run of another recipe" in found.stale["ls-0.1-seed0-fold0"]
    assert "epochs: 30 and " in found.stale["ls-0.1-seed0-fold0"]


def test_smoke_runs_are_taken_for_smoke_only(tmp_path, dataset):
    run = left(tmp_path, "SVLS", dataset, change=smoke_recipe)
    assert looked(tmp_path, dataset, smoke=True).taken == (run,)
    assert looked(tmp_path, dataset).others == {run.name}


@pytest.mark.parametrize(
    ("then", "now", "reason"),
    [
        (5, 4, "has no case"),
        (4, 5, "was divided before the data had 1 of their 5 cases"),
    ],
)
def test_run_on_other_cases_is_named_and_left_out(tmp_path, dataset, then, now, reason):
    few = open_dataset(write_layout("kits2019", tmp_path / "few", cases=4, size=(8, 8, 6)), layout="kits2019")
    data = {4: few, 5: dataset}
    run = left(tmp_path / "runs", "SVLS", data[then])
    found = looked(tmp_path / "runs", data[now])
    assert reason in found.stale[run.name]
    assert looked(tmp_path / "runs", data[then]).taken == looked(tmp_path / "runs", None).taken == (run,)


def test_copies_unreadable_recipes_and_other_experiments_runs_are_not_taken(tmp_path, dataset):
    run = left(tmp_path, "SVLS", dataset)
    shutil.copytree(run, tmp_path / "backup")
    (left(tmp_path, "LS (0.3)", dataset) / "recipe.yaml").write_text("epochs: 3")
    left(tmp_path, "LS (0.2)", dataset, change=lambda recipe: recipe.replace(name="elsewhere"))
    found = looked(tmp_path, dataset)
    assert found.taken == (run,)
    assert set(found.stale) == {"backup", "ls-0.3-seed0-fold0"}
    assert "is a copy of svls-seed0-fold0" in found.stale["backup"]
    assert found.others == {"backup", "ls-0.3-seed0-fold0", "ls-0.2-seed0-fold0"}


def test_every_training_without_a_run_has_its_reason(tmp_path):
    several = planned_runs(FOUND, PART, trainings=["LS (0.1)", "LS (0.2)"], seeds=[0])
    outcomes = [
        Outcome(run, tmp_path, state) for run, state in zip(several, ("failed", "finished"), strict=True)
    ]
    nothing = Finished((), {}, {}, frozenset())
    finished = dict.fromkeys((part.layout for part in FOUND.content.data), nothing)
    finished["kits2019"] = Finished((), {"r": "why"}, {"r": "LS (0.3)"}, frozenset("r"))
    found = reasons(FOUND, {"kits2019"}, finished, {"kits2019": outcomes})
    assert found["kits2019", "LS (0.1)"] == "failed"
    assert found["kits2019", "LS (0.3)"] == "left out, see the note"
    assert found["kits2019", "SVLS"] == "not asked for"
    assert found["prostatex", "SVLS"] == "its data were not given"
