"""A training leaves a complete folder, can be killed and resumed, and repeats to the bit."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from sfumato.data import open_dataset
from sfumato.data.splits import read_splits
from sfumato.errors import CheckpointError, DataError, InputError, OutputExistsError
from sfumato.methods import METHODS
from sfumato.model.checkpoint import model_of
from sfumato.recipe.recipe import parse_recipe, write_recipe
from sfumato.training.cases import prepare_case
from sfumato.training.fit import fit
from sfumato.training.module import SegmentationModule
from tiny_cases import slice_recipe, tiny_task, write_cases, write_rated_cases


def recipe_of(content, **changes):
    return parse_recipe({**content, **changes}, source="test")


def weights(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_in_3d_also_where_a_class_is_absent(content, tmp_path, method):
    data = open_dataset(write_cases(tmp_path / "data"))
    folder = fit(recipe_of(content, method=method), data, tmp_path / "run")
    report = json.loads((folder.path / "finished.json").read_text())
    assert 0 <= report["val_dice"] <= 1
    assert (report["threshold"] is not None) == (METHODS[method].decoder == "tuned")
    assert all(value.isfinite().all() for value in weights(folder.path, "best").values())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_in_2d_on_several_channels(content_2d, tmp_path, method):
    data = open_dataset(write_cases(tmp_path / "data", axes=2, channels=2))
    folder = fit(recipe_of(content_2d, method=method, epochs=1), data, tmp_path / "run")
    assert folder.finished


@pytest.mark.parametrize("method", ["geols", "singr", "msvls"])
def test_label_made_after_augmentation_trains_too(content, tmp_path, method):
    data = open_dataset(write_cases(tmp_path / "data"))
    assert fit(recipe_of(content, method=method, when="after", epochs=1), data, tmp_path / "run").finished


def test_training_lowers_the_loss(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    folder = fit(recipe_of(content, method="ce", epochs=12), data, tmp_path / "run")
    rows = (folder.path / "history.csv").read_text().splitlines()[1:]
    losses = [float(row.split(",")[1]) for row in rows]
    assert len(losses) == 12
    assert losses[-1] < 0.8 * losses[0]


def test_run_folder_says_what_was_done(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    recipe = recipe_of(content, method="ce")
    folder = fit(recipe, data, tmp_path / "run")
    assert parse_recipe(yaml.safe_load((folder.path / "recipe.yaml").read_text()), source="x") == recipe
    environment = json.loads((folder.path / "environment.json").read_text())
    assert environment["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert environment["data"] == str(tmp_path / "data")
    assert "epoch 2/2" in (folder.path / "log.txt").read_text()
    assert any((folder.path / "tensorboard").iterdir())
    assert not (folder.path / "cache").exists()


def test_same_seed_gives_the_same_weights_and_another_seed_others(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit(recipe_of(content, method="ce", seed=seed), data, tmp_path / name)
    first, second, other = (weights(tmp_path / name) for name in "abc")
    assert_same_weights(first, second)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_prepared_cases_on_disk_give_the_same_weights(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    fit(recipe_of(content, method="svls"), data, tmp_path / "a")
    fit(recipe_of(content, method="svls", cache="disk"), data, tmp_path / "b")
    assert_same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_worker_processes_do_not_change_the_weights(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    fit(recipe_of(content, method="geols", when="after"), data, tmp_path / "a")
    fit(recipe_of(content, method="geols", when="after", workers=2), data, tmp_path / "b")
    assert_same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_early_stopping_waits_for_its_patience(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    recipe = recipe_of(content, method="ce", epochs=30, patience=2, min_delta=1.0)
    folder = fit(recipe, data, tmp_path / "run")
    assert len((folder.path / "history.csv").read_text().splitlines()) == 1 + 3


def test_a_tuned_method_is_judged_at_the_best_threshold_of_each_epoch(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    recipe = recipe_of(content, method="soft-sig-wing", epochs=3)
    run = fit(recipe, data, tmp_path / "run").path
    logged = [float(row.split(",")[3]) for row in (run / "history.csv").read_text().splitlines()[1:]]
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    module = model_of(checkpoint, source="last")
    names = read_splits(run / "splits.json").fold(0).val
    cases = [prepare_case(recipe, data, files) for files in data.cases if files.name in names]
    scores = []
    for threshold in (0.05 * step for step in range(1, 20)):
        each = []
        for case in cases:
            with torch.inference_mode():
                found = module.activated(module.logits(case.image)) > threshold
            wanted = torch.stack([case.labels == 1, case.labels == 2])
            total, shared = (found.flatten(1).sum(1) + wanted.flatten(1).sum(1)), (found & wanted)
            each += [
                2 * int(both) / int(size) if size else 1.0
                for both, size in zip(shared.flatten(1).sum(1), total, strict=True)
            ]
        scores.append(sum(each) / len(each))
    assert logged[-1] == pytest.approx(max(scores), rel=1e-6)
    assert max(scores) > scores[9] + 0.01, "the case must tell the best threshold from 0.5"
    report = json.loads((run / "finished.json").read_text())
    assert report["val_dice"] == pytest.approx(max(logged), rel=1e-6)
    assert report["best_epoch"] == logged.index(max(logged))


def test_thresholds_are_scored_anew_in_every_validation(content, monkeypatch):
    module = SegmentationModule(recipe_of(content, method="softseg"), tiny_task("part")).eval()
    logged = []
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.append((name, float(value))))
    labels = torch.zeros(4, 5, 6, dtype=torch.int64)
    labels[1:3] = 1
    # First the slab is 0.3 of its maximum, so thresholds below that find all of it; then nothing is found.
    for inside, expected in ((0.3, 1.0), (-1.0, 0.0)):
        logits = torch.where(labels == 1, inside, -1.0)[None, None]
        logits[..., 1, 0, 0] = max(inside, 0.0) / 0.3
        monkeypatch.setattr(module.model, "logits", lambda image, logits=logits: logits)
        module.on_validation_epoch_start()
        batch = {"image": torch.zeros(1, 4, 5, 6), "labels": labels, "target": (labels == 1)[None].float()}
        module.validation_step(batch, 0)
        assert [name for name, _ in logged] == ["val_loss"]
        module.on_validation_epoch_end()
        assert logged[-1] == ("val_dice", pytest.approx(expected))
        logged.clear()


@pytest.mark.parametrize("schedule", ["constant", "cosine", "milestones"])
def test_schedule_sets_the_learning_rate_of_each_epoch(content, tmp_path, schedule):
    data = open_dataset(write_cases(tmp_path / "data"))
    optimizer = {**content["optimizer"], "schedule": schedule, "milestones": [1, 3], "learning_rate": 0.1}
    folder = fit(recipe_of(content, method="ce", epochs=4, optimizer=optimizer), data, tmp_path / "run")
    rows = (folder.path / "history.csv").read_text().splitlines()[1:]
    rates = [float(row.split(",")[4]) for row in rows]
    expected = {
        "constant": [0.1] * 4,
        "cosine": [0.1, 0.0853553, 0.05, 0.0146447],  # 0.05 (1 + cos(pi k / 4))
        "milestones": [0.1, 0.01, 0.01, 0.001],
    }
    assert rates == pytest.approx(expected[schedule], rel=1e-5)


def test_existing_run_is_not_touched_without_a_word(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    recipe = recipe_of(content, method="ce", epochs=1)
    fit(recipe, data, tmp_path / "run")
    with pytest.raises(OutputExistsError, match="--resume"):
        fit(recipe, data, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"another recipe.*seed: 0 and 5"):
        fit(recipe.replace(seed=5), data, tmp_path / "run", resume=True)
    fit(recipe.replace(seed=5), data, tmp_path / "run", overwrite=True)


def test_overwrite_never_removes_a_folder_that_is_no_run(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    with pytest.raises(OutputExistsError, match="not a run folder"):
        fit(recipe_of(content, method="ce"), data, tmp_path / "data", overwrite=True)
    assert (tmp_path / "data" / "imagesTr").exists()


def test_gpu_where_there_is_none_is_refused_before_any_work(content, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    data = open_dataset(write_cases(tmp_path / "data"))
    with pytest.raises(InputError, match="accelerator: gpu"):
        fit(recipe_of(content, accelerator="gpu"), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_broken_cases_are_all_listed_before_training(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    for index in range(6):
        path = tmp_path / "data" / "imagesTr" / f"case{index}_0000.nii.gz"
        if index % 2:
            path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError) as caught:
        fit(recipe_of(content), data, tmp_path / "run")
    assert len(caught.value.problems) >= 2


COMMAND = """
import sys
from pathlib import Path
from sfumato.data import open_dataset
from sfumato.training.cases import prepare_case
from sfumato.training.fit import fit
from sfumato.recipe.recipe import read_recipe
import torch
torch.set_num_threads(1)
fit(read_recipe(Path(sys.argv[1])), open_dataset(sys.argv[2]), Path(sys.argv[3]), resume=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["volumes", "slices of random raters"])
def test_killed_run_resumes_to_the_same_bits(content, tmp_path, mode):
    """Kill -9 at once, and after two and three finished epochs; the end is that of an unbroken run."""
    data = write_rated_cases(tmp_path / "data")
    if mode != "volumes":
        content = slice_recipe(2) | {"raters": "random"}
    recipe = recipe_of(content, method="softseg", epochs=6, validate_every=2)
    write_recipe(recipe, tmp_path / "recipe.yaml")
    arguments = [sys.executable, "-c", COMMAND, str(tmp_path / "recipe.yaml"), str(data)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    fit(recipe, open_dataset(data), tmp_path / "whole")
    broken = tmp_path / "broken"
    for finished in (0, 2, 3) if mode == "volumes" else (2,):
        process = subprocess.Popen(
            [*arguments, str(broken)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_epochs(broken / "history.csv", finished, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (broken / "finished.json").exists(), "the run was over before it was killed"
    fit(recipe, open_dataset(data), broken, resume=True)
    for name in ("last", "best"):
        assert_same_weights(weights(tmp_path / "whole", name), weights(broken, name))
    columns = [
        [row.split(",")[:5] for row in (run / "history.csv").read_text().splitlines()]
        for run in (tmp_path / "whole", broken)
    ]
    assert columns[0] == columns[1]
    finished = [json.loads((run / "finished.json").read_text()) for run in (tmp_path / "whole", broken)]
    assert finished[0]["threshold"] == finished[1]["threshold"]
    assert finished[0]["best_epoch"] == finished[1]["best_epoch"]


def wait_for_epochs(path, count, process):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return
        rows = len(path.read_text().splitlines()) - 1 if path.exists() else 0
        if rows >= count:
            return
        time.sleep(0.005)
    raise TimeoutError("no epoch finished in two minutes")
