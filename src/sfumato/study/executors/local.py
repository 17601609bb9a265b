"""Runs in local processes: each by itself, so that one that fails or is killed stops no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sfumato.checks import require_positive
from sfumato.study.outcomes import METRICS, Notify, Outcome, Started, one_line
from sfumato.study.plan import PlannedRun

POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0  # for a process that is told to end, before it is killed
OWN = "sfumato: "  # how the command's errors begin
Command = Callable[[PlannedRun, Path], Sequence[str]]


def train_command(out: Path, data: str, dataset_format: str, *, checked: bool) -> Command:
    """Return what builds the command that completes a run of the study in ``out``, or goes on with it.

    Args:
        out: The study's folder, which holds the recipes.
        data: The data set, as for ``sfumato train``.
        dataset_format: Its layout, likewise; ``auto`` finds it out.
        checked: Every file was read and found right already; no training reads them all again.
    """

    def command(run: PlannedRun, folder: Path) -> Sequence[str]:
        train = [sys.executable, "-m", "sfumato", "train", str(out / "recipes" / f"{run.name}.yaml")]
        place = ["--data", data, "--dataset", dataset_format, "--out", str(folder), "--resume"]
        # The study has one report of all its runs.
        return [*train, *place, *(["--checked"] if checked else []), "--no-report", "--attached"]

    return command


def divided_cores(jobs: int) -> Mapping[str, str]:
    """Divide the cores among ``jobs`` processes, unless the user has set the number of threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(1, cores // jobs))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(names, threads) | os.environ


@dataclass(frozen=True)
class _Process:
    run: PlannedRun
    folder: Path
    log: Path
    process: subprocess.Popen[bytes]
    started: float


@dataclass(frozen=True)
class LocalProcesses:
    """An executor that trains each run in a process of its own, some at a time.

    What a process prints lies in ``<out>/logs/<name>.txt``. However the iterator is left, no process stays
    behind: each is ended, and one whose parent is killed finds its standard input at an end and ends itself,
    which is the command's part (``sfumato train --attached``, :func:`end_with_parent`).

    Attributes:
        command: From a run and its folder to the command that completes it; see :func:`train_command`.
        jobs: Processes at a time.
        environment: Of the processes; by default this one's, with the cores divided.

    Raises:
        ValueRangeError: ``jobs`` is below 1.
    """

    command: Command
    jobs: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_positive("jobs", self.jobs)

    def outcomes(self, runs: Sequence[PlannedRun], out: Path, *, notify: Notify) -> Generator[Outcome]:
        """Complete every run; see :class:`~sfumato.study.executors.Executor`."""
        waiting, running = list(runs), list[_Process]()
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    started = self._start(waiting.pop(0), out)
                    running.append(started)
                    notify(Started(started.run, started.process.pid))
                ended = [entry for entry in running if entry.process.poll() is not None]
                for entry in ended:
                    running.remove(entry)
                    yield _outcome(entry)
                if not ended:
                    time.sleep(POLL_SECONDS)
        finally:
            _stop(running)

    def _start(self, run: PlannedRun, out: Path) -> _Process:
        folder, log = out / "runs" / run.name, out / "logs" / f"{run.name}.txt"
        for parent in (folder.parent, log.parent):
            parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            process = subprocess.Popen(
                list(self.command(run, folder)),
                # Nothing is ever written to it; the system closes it when this process dies, even of SIGKILL.
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(self.environment or divided_cores(self.jobs)),
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
    """Return the command's own error, which may go over several lines; else the last line of the log."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    first = next((at for at in reversed(range(len(lines))) if lines[at].startswith(OWN)), len(lines) - 1)
    return one_line(" ".join(lines[max(first, 0) :]).removeprefix(OWN))


def _detach(ended: _Process) -> None:
    if ended.process.stdin is not None:
        ended.process.stdin.close()


def _stop(running: Sequence[_Process]) -> None:
    for entry in running:
        entry.process.terminate()
    deadline = time.perf_counter() + GRACE_SECONDS
    for entry in running:
        try:
            entry.process.wait(max(0.0, deadline - time.perf_counter()))
        except subprocess.TimeoutExpired:
            entry.process.kill()
            entry.process.wait()
        _detach(entry)


def end_with_parent() -> None:
    """End this process as soon as its standard input ends: the one that started it is gone, even if killed.

    It ends at once, as if it were killed itself: a training can be, at any moment, and is resumed.
    Processes that this one starts see the same end, where they inherit the input and call this too.
    """
    threading.Thread(target=_watch, name="end with parent", daemon=True).start()


def _watch() -> None:
    with suppress(OSError):
        while os.read(0, 1024):
            pass
    with suppress(OSError):
        os.write(2, b"sfumato: ended, because the command that started this training is gone\n")
    os._exit(1)
