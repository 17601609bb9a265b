"""``sfumato study``: real trainings, one of which fails and one of which is killed, then gone on with."""

import csv
import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

import pytest
import yaml

import sfumato.cli.study
from sfumato.cli.app import run
from sfumato.cli.notices import Notices
from sfumato.recipe.recipe import parse_recipe
from sfumato.runs.lock import LOCK
from sfumato.study import PlannedRun, Started
from sfumato.study.executors.local import divided_cores, train_command
from sfumato.study.trainings import terminated_like_interrupted
from tiny_cases import tiny_recipe, write_cases

VICTIM, BROKEN, WHOLE = "ce-seed0-fold0", "geols-seed0-fold0", "softseg-seed0-fold0"


def write_plan(folder, **changes):
    write_cases(folder / "data", axes=2)
    recipe = tiny_recipe(2) | {"epochs": 1}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    plan = {
        "recipe": "recipe.yaml",
        "data": "data",
        "methods": ["ce", "softseg", "geols"],
        "seeds": [0],
        "proposed": "softseg",
        # The name of the seeds is looked at when the label is made: only the training itself can fail.
        "overrides": {"geols": {"label": {"seeds": "nowhere"}}},
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan | changes))
    return folder / "plan.yaml"


class Killer(Notices):
    """Kills one run's process as soon as it starts."""

    def __call__(self, event):
        if isinstance(event, Started) and event.run.name == VICTIM:
            os.kill(event.process, signal.SIGKILL)
        super().__call__(event)


def outcomes(out):
    with (out / "runs.csv").open(newline="") as stream:
        return {row["run"]: row for row in csv.DictReader(stream)}


class Studied(NamedTuple):
    status: int
    runs: dict
    stamp: int  # when the whole run's table was written
    said: str
    complained: str


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """The study twice: once with a killed worker, then the same command again."""
    folder = tmp_path_factory.mktemp("study")
    plan, out, found = write_plan(folder), folder / "out", []
    for notices, report in ((Killer, lambda *_: None), (Notices, sfumato.cli.study._report)):
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(io.StringIO()) as said,
            redirect_stderr(io.StringIO()) as complained,
        ):
            patch.setattr(sfumato.cli.study, "Notices", notices)
            # One report is enough, and the second study's shows more.
            patch.setattr(sfumato.cli.study, "_report", report)
            status = run(["study", str(plan), "--out", str(out), "--jobs", "2"])
        stamp = (out / "runs" / WHOLE / "metrics.csv").stat().st_mtime_ns
        found.append(Studied(status, outcomes(out), stamp, said.getvalue(), complained.getvalue()))
    return out, found


def test_killed_worker_is_a_failure_of_the_machine_and_stops_no_other(studied):
    out, (first, _) = studied
    assert first.status == 1
    assert {name: row["state"] for name, row in first.runs.items()} == {
        VICTIM: "failed",
        WHOLE: "finished",
        BROKEN: "failed",
    }
    assert first.runs[VICTIM]["message"].startswith("killed by SIGKILL")
    assert first.complained.startswith(f"sfumato: 2 of 3 runs failed:\n  {VICTIM}: killed by SIGKILL")
    assert f"(log: {out / 'logs' / BROKEN}.txt)" in first.complained
    assert "Traceback" not in first.complained
    assert f"{WHOLE}: finished in " in first.said
    assert f"{BROKEN}: failed: " in first.said


def test_same_command_goes_on_and_repeats_no_finished_run(studied):
    out, (first, second) = studied
    # What still fails has a wrong input: that is another status than a killed worker's.
    assert second.status == 2
    assert {name: row["state"] for name, row in second.runs.items()} == {
        VICTIM: "finished",
        WHOLE: "kept",
        BROKEN: "failed",
    }
    assert first.stamp == second.stamp
    assert f"[1/3] {WHOLE}: finished already" in second.said
    assert "'nowhere'" in second.runs[BROKEN]["message"]
    assert "'nowhere'" in (out / "logs" / f"{BROKEN}.txt").read_text()


def test_finished_runs_are_compared_and_reported(studied):
    out, (_, second) = studied
    with (out / "comparison" / "tests.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["proposed"] for row in rows} == {"softseg"}
    # The temperature-scaled models are methods of their own, that of the proposed one too.
    assert {row["method"] for row in rows} == {"ce", "ce+T", "softseg+T"}
    assert (out / "comparison" / "table.tex").exists()
    assert "Wilcoxon" in second.said
    page = (out / "report.html").read_text()
    assert "ce+T" in page
    assert f"{BROKEN} failed" in page


def test_wrong_plan_and_foreign_folder_are_refused_before_any_training(tmp_path, capsys):
    plan = write_plan(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("mine")
    assert run(["study", str(plan), "--out", str(foreign)]) == 2
    assert "is no study" in capsys.readouterr().err
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]
    plan.write_text(plan.read_text().replace("seeds:", "seed:"))
    assert run(["study", str(plan), "--out", str(tmp_path / "out")]) == 2
    assert "unknown key 'seed' (did you mean 'seeds'?)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_polite_kill_ends_the_study_as_ctrl_c_does():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminated_like_interrupted():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_cores_are_divided_among_the_processes_unless_the_user_says(monkeypatch):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(9)), raising=False)
    found = divided_cores(jobs=4)
    assert (found["OMP_NUM_THREADS"], found["MKL_NUM_THREADS"]) == ("2", "7")
    assert divided_cores(jobs=40)["NUMBA_NUM_THREADS"] == "1"
    assert found["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("checked", [False, True])
def test_trainings_are_attached_to_the_command_that_starts_them(checked, tmp_path):
    run = PlannedRun("r", parse_recipe(tiny_recipe(2), source="t"))
    line = train_command(tmp_path, "data", "auto", checked=checked)(run, tmp_path / "runs" / "r")
    assert "--attached" in line
    assert ("--checked" in line) == checked


@pytest.mark.parametrize("options", [(), ("--attached",)])
def test_attached_training_watches_who_started_it(options, tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr("sfumato.cli.train.end_with_parent", lambda: called.append(1))
    assert run(["train", "nowhere.yaml", "--data", "none", "--out", str(tmp_path / "out"), *options]) == 2
    assert len(called) == len(options)


def test_study_in_a_folder_that_another_process_writes_to_is_refused(tmp_path, capsys):
    plan, out = write_plan(tmp_path), tmp_path / "out"
    out.mkdir()
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); "
    hold += "f.write('process 1234 on elsewhere'); f.flush(); print(); sys.stdin.read()"
    command = [sys.executable, "-c", hold, str(out / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert run(["study", str(plan), "--out", str(out)]) == 2
        assert f"{out} is in use: process 1234 on elsewhere writes to it" in capsys.readouterr().err
        other.communicate()
    assert [path.name for path in out.iterdir()] == [LOCK]
