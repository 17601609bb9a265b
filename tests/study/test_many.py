"""Runs are processes of their own: what one does to itself, or what is done to it, stops no other."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest

from sfumato.data import open_dataset
from sfumato.data.splits import make_splits, write_splits
from sfumato.errors import InputError, MachineError, ValueRangeError
from sfumato.recipe.recipe import parse_recipe, write_recipe
from sfumato.study import (
    LocalProcesses,
    Outcome,
    PlannedRun,
    Started,
    require_all,
    train_runs,
    write_outcomes,
)
from tiny_cases import tiny_recipe, write_cases


def planned(*names):
    return [
        PlannedRun(name, parse_recipe(tiny_recipe() | {"seed": n}, source="t"))
        for n, name in enumerate(names)
    ]


def script(text):
    """A run that is one line of Python; ``out`` is its folder, and ``done()`` completes it."""
    start = (
        "import os, sys, pathlib; out = pathlib.Path(sys.argv[1]); out.mkdir(parents=True, exist_ok=True); "
    )
    start += "done = lambda: (out / 'metrics.csv').write_text('');"
    return [sys.executable, "-S", "-c", start + text]


def many(runs, out, texts, *, jobs=1, **options):
    """Run ``texts[name]`` for each run."""
    events = []

    def command(run, folder):
        return [*script(texts[run.name]), str(folder)]

    notify = options.pop("notify", events.append)
    executor = LocalProcesses(command, jobs, os.environ)
    outcomes = train_runs(runs, out, executor, notify=notify, **options)
    return outcomes, events


def states(outcomes):
    return {each.run.name: each.state for each in outcomes}


@pytest.mark.parametrize("jobs", [1, 3])
def test_failed_run_is_reported_with_its_log_and_stops_no_other(tmp_path, jobs):
    texts = {
        "good": "print('hello'); done()",
        "input": "print('sfumato: recipe has no key', file=sys.stderr); sys.exit(2)",
        "problems": "print('sfumato: 2 problems:\\n  one.nii is broken\\n  two.nii too'); sys.exit(2)",
        "machine": "raise OSError('no more disk')",
        "silent": "pass",
        "late": "done()",
    }
    runs = planned(*texts)
    outcomes, events = many(runs, tmp_path, texts, jobs=jobs)
    assert [each.run.name for each in outcomes] == list(texts)
    failed = dict.fromkeys(("input", "problems", "machine", "silent"), "failed")
    assert states(outcomes) == {"good": "finished", "late": "finished"} | failed
    messages = {each.run.name: (each.message, each.machine) for each in outcomes}
    assert messages["input"] == ("recipe has no key", False)
    assert messages["problems"] == ("2 problems: one.nii is broken two.nii too", False)
    assert messages["machine"] == ("OSError: no more disk", True)
    assert messages["silent"] == ("ended without writing its metrics.csv", True)
    assert (tmp_path / "logs" / "good.txt").read_text() == "hello\n"
    assert "Traceback" in (tmp_path / "logs" / "machine.txt").read_text()
    assert sum(isinstance(event, Started) for event in events) == len(texts)
    assert {event.run.name for event in events if isinstance(event, Outcome)} == set(texts)
    with pytest.raises(MachineError, match="4 of 6 runs failed:\n  input: recipe has no key") as caught:
        require_all(outcomes)
    assert str(tmp_path / "logs" / "machine.txt") in str(caught.value)
    with pytest.raises(InputError, match="1 of 2 runs failed"):
        require_all(outcomes[:2])
    require_all(outcomes[:1])


def test_killed_process_is_noticed_and_the_others_go_on(tmp_path):
    texts = {"victim": "import time; time.sleep(600)", "other": "done()"}

    def notify(event):
        if isinstance(event, Started) and event.run.name == "victim":
            os.kill(event.process, signal.SIGKILL)

    outcomes, _ = many(planned(*texts), tmp_path, texts, jobs=1, notify=notify)
    assert states(outcomes) == {"victim": "failed", "other": "finished"}
    assert outcomes[0].message.startswith("killed by SIGKILL")
    assert outcomes[0].machine
    with pytest.raises(MachineError, match="victim: killed by SIGKILL"):
        require_all(outcomes)


def test_no_more_than_the_jobs_run_at_a_time_and_they_run_together(tmp_path):
    # Each waits until a second one is there: with one job at a time none would end.
    text = (
        "import time; (out.parent / (out.name + '.here')).touch()\n"
        "while len(list(out.parent.glob('*.here'))) < 2: time.sleep(0.01)\n"
        "done()"
    )
    names = [f"run{n}" for n in range(4)]
    alive, most = set(), 0

    def notify(event):
        nonlocal most
        alive.add(event.run.name) if isinstance(event, Started) else alive.discard(event.run.name)
        most = max(most, len(alive))

    outcomes, _ = many(planned(*names), tmp_path, dict.fromkeys(names, text), jobs=2, notify=notify)
    assert set(states(outcomes).values()) == {"finished"}
    assert most == 2


def test_interruption_leaves_no_process_behind(tmp_path):
    started = []

    def notify(event):
        if isinstance(event, Started):
            started.append(event.process)
        if len(started) == 2:
            raise KeyboardInterrupt

    texts = dict.fromkeys(("a", "b"), "import time; time.sleep(600)")
    with pytest.raises(KeyboardInterrupt):
        many(planned("a", "b"), tmp_path, texts, jobs=2, notify=notify)
    for process in started:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


PARENT = """
import os, sys
from pathlib import Path
from sfumato.study import LocalProcesses, PlannedRun, Started, train_runs
from sfumato.recipe.recipe import read_recipe
recipe = read_recipe(Path(sys.argv[1]))
runs = [PlannedRun(name, recipe) for name in ("a", "b")]
child = "import sys, time; from pathlib import Path; "
child += "from sfumato.study.executors.local import end_with_parent; "
child += "end_with_parent(); time.sleep(0.3); Path(sys.argv[1]).mkdir(parents=True); time.sleep(600)"
train_runs(
    runs,
    Path(sys.argv[2]),
    LocalProcesses(lambda _, folder: [sys.executable, "-c", child, str(folder)], 2, os.environ),
    notify=lambda event: isinstance(event, Started) and print(event.process, flush=True),
)
"""


def test_killed_parent_leaves_no_process_behind(tmp_path):
    recipe = parse_recipe(tiny_recipe(), source="t")
    write_recipe(recipe, tmp_path / "recipe.yaml")
    command = [sys.executable, "-c", PARENT, str(tmp_path / "recipe.yaml"), str(tmp_path / "out")]
    started = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            started = [int(parent.stdout.readline()) for _ in range(2)]
            until(lambda: all((tmp_path / "out" / "runs" / name).exists() for name in ("a", "b")))
            parent.kill()
            until(lambda: not any(map(is_alive, started)))
        finally:
            parent.kill()
            for process in filter(is_alive, started):
                os.kill(process, signal.SIGKILL)
    for name in ("a", "b"):
        log = (tmp_path / "out" / "logs" / f"{name}.txt").read_text()
        assert "the command that started this training is gone" in log


def until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(process):
    """A process of nobody's that has ended may lie about as a zombie where nothing collects it."""
    try:
        with open(f"/proc/{process}/stat") as stream:  # noqa: PTH123
            return stream.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def folder_of(run, out, dataset, *, finished):
    folder = out / "runs" / run.name
    folder.mkdir(parents=True)
    write_recipe(run.recipe, folder / "recipe.yaml")
    write_splits(make_splits(dataset, seed=0, fractions=(0.5, 0.34, 0.16)), folder / "splits.json")
    if finished:
        (folder / "metrics.csv").touch()
    return folder


def test_finished_run_is_kept_and_one_in_the_way_is_not_touched(tmp_path):
    dataset = open_dataset(write_cases(tmp_path / "data", axes=2))
    other = open_dataset(write_cases(tmp_path / "few", axes=2, count=3))
    done, begun, changed = runs = planned("done", "begun", "changed")
    for run, finished in ((done, True), (begun, False), (changed, True)):
        folder_of(run, tmp_path, dataset, finished=finished)
    edited = parse_recipe(tiny_recipe() | {"seed": 2, "epochs": 9}, source="t")
    write_recipe(edited, tmp_path / "runs" / "changed" / "recipe.yaml")
    texts = {"begun": "done()"}
    outcomes, events = many(runs, tmp_path, texts, dataset=dataset)
    assert states(outcomes) == {"done": "kept", "begun": "finished", "changed": "failed"}
    assert [event.run.name for event in events if isinstance(event, Started)] == ["begun"]
    assert "another recipe (its own and the plan's: epochs: 9 and 2)" in outcomes[2].message
    assert not outcomes[2].machine
    outcomes, _ = many(runs[:1], tmp_path, {}, dataset=other)
    assert "has no case case" in outcomes[0].message


def test_outcomes_are_a_table(tmp_path):
    texts = {"good": "done()", "bad": "sys.exit('sfumato: a, b')"}
    outcomes, _ = many(planned(*texts), tmp_path, texts)
    write_outcomes(outcomes, tmp_path / "runs.csv")
    write_outcomes(outcomes, tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["run"], row["seed"], row["state"], row["message"]) for row in rows] == [
        ("good", "0", "finished", ""),
        ("bad", "1", "failed", "a, b"),
    ]


def test_what_cannot_be_run_is_refused(tmp_path):
    with pytest.raises(ValueRangeError, match="jobs is 0"):
        many(planned("a"), tmp_path, {}, jobs=0)
    with pytest.raises(InputError, match="one name"):
        many(planned("a", "a"), tmp_path, {})
    assert many([], tmp_path, {}) == ([], [])
