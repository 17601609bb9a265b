"""Many runs in local processes: each by itself, so that one that fails or is killed stops no other."""

from __future__ import annotations

import csv
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sfumato.checks import require_positive
from sfumato.data.case import Dataset
from sfumato.data.splits import read_splits
from sfumato.errors import InputError, MachineError, SfumatoError
from sfumato.output import atomic_output
from sfumato.recipe.recipe import differences, read_recipe
from sfumato.study.plan import PlannedRun

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0  # for a process that is told to end, before it is killed
OWN = "sfumato: "  # how the command's errors begin
METRICS = "metrics.csv"  # a run that has it is complete
State = Literal["finished", "kept", "failed"]
Command = Callable[[PlannedRun, Path], Sequence[str]]


@dataclass(frozen=True)
class Started:
    """A run's process has started."""

    run: PlannedRun
    process: int


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes:
        run: The run.
        folder: Its folder.
        state: ``finished`` now; ``kept``: it was finished already; or ``failed``.
        seconds: How long it took; 0 where nothing was run.
        message: Why it failed, in one line; else empty.
        log: What its process printed; None where nothing was run.
        machine: The failure is the machine's (a killed process, a full disk), not the input's.
    """

    run: PlannedRun
    folder: Path
    state: State
    seconds: float = 0.0
    message: str = ""
    log: Path | None = None
    machine: bool = False


Notify = Callable[[Started | Outcome], None]


@dataclass(frozen=True)
class _Process:
    run: PlannedRun
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]
    started: float


def run_many(
    runs: Sequence[PlannedRun],
    out: Path,
    *,
    command: Command,
    environment: Mapping[str, str],
    jobs: int = 1,
    dataset: Dataset | None = None,
    notify: Notify = lambda _: None,
) -> list[Outcome]:
    """Train every run that is not finished, ``jobs`` at a time, each in a process of its own.

    A run lies in ``<out>/runs/<name>``; what its process prints in ``<out>/logs/<name>.txt``. A run that has
    its ``metrics.csv`` and the planned recipe is kept. However this is left, no process stays behind: each is
    ended, and one whose parent is killed finds its standard input at an end and ends itself, which is the
    command's part (``sfumato train --attached``).

    Args:
        runs: What to train.
        out: The study's folder.
        command: From a run and its folder to the command that completes it, or goes on with it.
        environment: Of the processes.
        jobs: Processes at a time.
        dataset: Where given, a folder is refused whose split names cases that it lacks, or lacks some that
            it has.
        notify: Told of every process that starts and of every outcome, as it happens.

    Returns:
        One outcome per run, in their order.

    Raises:
        ValueRangeError: ``jobs`` is below 1.
        InputError: two runs have one name.
    """
    require_positive("jobs", jobs)
    if len({run.name for run in runs}) < len(runs):
        raise InputError("two runs of the study have one name: their folder would be the same")
    found: dict[str, Outcome] = {}

    def settle(outcome: Outcome) -> None:
        found[outcome.run.name] = outcome
        notify(outcome)

    waiting: list[PlannedRun] = []
    for run in runs:
        early = settled_outcome(run, out / "runs" / run.name, dataset)
        if early is None:
            waiting.append(run)
        else:
            settle(early)
    running: list[_Process] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                started = _start(waiting.pop(0), out, command, environment)
                running.append(started)
                notify(Started(started.run, started.process.pid))
            ended = [each for each in running if each.process.poll() is not None]
            for each in ended:
                running.remove(each)
                settle(_outcome(each))
            if not ended:
                time.sleep(POLL_SECONDS)
    finally:
        _stop(running)
    return [found[run.name] for run in runs]


def settled_outcome(run: PlannedRun, folder: Path, dataset: Dataset | None) -> Outcome | None:
    """Give the outcome of a run that needs no process: finished already, or in the way; else None."""
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        return None
    try:
        differing = differences(read_recipe(recipe), run.recipe)
        if differing:
            raise InputError(
                f"{folder} holds a run of another recipe (its own and the plan's: {'; '.join(differing)}): "
                "remove it, or give another --out"
            )
        if dataset is not None:
            _require_same_cases(folder, dataset)
    except SfumatoError as error:
        return Outcome(run, folder, "failed", message=_one_line(str(error)))
    return Outcome(run, folder, "kept") if (folder / METRICS).exists() else None


def _require_same_cases(folder: Path, dataset: Dataset) -> None:
    split = read_splits(folder / "splits.json", dataset).splits[0]
    new = sorted(set(dataset.names).difference(split.train, split.val, split.test))
    if new:
        named = ", ".join(new[:3]) + (", …" if len(new) > 3 else "")
        raise InputError(
            f"{folder} was divided before the data had {len(new)} of their {len(dataset.cases)} cases "
            f"({named}): remove it, or give another --out"
        )


def _start(run: PlannedRun, out: Path, command: Command, environment: Mapping[str, str]) -> _Process:
    folder, log = out / "runs" / run.name, out / "logs" / f"{run.name}.txt"
    for parent in (folder.parent, log.parent):
        parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(command(run, folder)),
            # Nothing is ever written to it; the system closes it when this process dies, even of SIGKILL.
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=dict(environment),
        )
    return _Process(run, folder, log, process, time.perf_counter())


def _outcome(ended: _Process) -> Outcome:
    _detach(ended)
    status, seconds = ended.process.returncode, time.perf_counter() - ended.started
    if status == 0 and (ended.folder / METRICS).exists():
        return Outcome(ended.run, ended.folder, "finished", seconds, log=ended.log)
    if status < 0:
        message = f"killed by {_signal_name(-status)}"
        if -status == signal.SIGKILL:
            message += " (as the system does when memory runs out)"
    elif status == 0:
        message = f"ended without writing its {METRICS}"
    else:
        message = _reason(ended.log) or f"ended with status {status}"
    return Outcome(ended.run, ended.folder, "failed", seconds, message, ended.log, machine=status != 2)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _reason(log: Path) -> str:
    """The command's own error, which may go over several lines; else the last line of the log."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    first = next((at for at in reversed(range(len(lines))) if lines[at].startswith(OWN)), len(lines) - 1)
    return _one_line(" ".join(lines[max(first, 0) :]).removeprefix(OWN))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _detach(ended: _Process) -> None:
    if ended.process.stdin is not None:
        ended.process.stdin.close()


def _stop(running: Sequence[_Process]) -> None:
    for each in running:
        each.process.terminate()
    deadline = time.perf_counter() + GRACE_SECONDS
    for each in running:
        try:
            each.process.wait(max(0.0, deadline - time.perf_counter()))
        except subprocess.TimeoutExpired:
            each.process.kill()
            each.process.wait()
        _detach(each)


def write_outcomes(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write one line per run: ``run, method, seed, fold, state, seconds, message, log``."""
    lines: list[Sequence[object]] = [("run", "method", "seed", "fold", "state", "seconds", "message", "log")]
    for each in outcomes:
        recipe = each.run.recipe
        where = (each.run.name, recipe.method, recipe.seed, recipe.split.fold)
        lines.append((*where, each.state, round(each.seconds, 1), each.message, each.log or ""))
    with (
        atomic_output(path, overwrite=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream, lineterminator="\n").writerows(lines)


def require_all(outcomes: Sequence[Outcome]) -> None:
    """Raise unless every run is finished; the message lists those that are not.

    Raises:
        MachineError: at least one failure is the machine's.
        InputError: all failures are the input's.
    """
    failed = [each for each in outcomes if each.state == "failed"]
    if not failed:
        return
    lines = [f"{len(failed)} of {len(outcomes)} runs failed:"]
    for each in failed:
        log = f" (log: {each.log})" if each.log else ""
        lines.append(f"{each.run.name}: {each.message}{log}")
    kind = MachineError if any(each.machine for each in failed) else InputError
    raise kind("\n  ".join(lines))
