"""Runs inside this process: for trainings that take less time than starting a process would."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from sfumato.data.case import Dataset
from sfumato.errors import MachineError, SfumatoError
from sfumato.study.many import Notify, Outcome, Started, settled_outcome
from sfumato.study.plan import PlannedRun
from sfumato.study.run import complete_run


def run_here(
    runs: Sequence[PlannedRun], out: Path, *, dataset: Dataset, notify: Notify = lambda _: None
) -> list[Outcome]:
    """Train every run that is not finished, one after the other, in this process.

    As :func:`~sfumato.study.many.run_many` does in processes of their own: runs lie in ``<out>/runs/<name>``,
    finished ones are kept, and one that fails stops no other; its log is the run's own ``log.txt``.

    Args:
        runs: What to train.
        out: The folder of the runs.
        dataset: Their cases.
        notify: Told of every run that starts and of every outcome, as it happens.

    Returns:
        One outcome per run, in their order.
    """
    outcomes = []
    for run in runs:
        folder = out / "runs" / run.name
        outcome = settled_outcome(run, folder, dataset)
        if outcome is None:
            notify(Started(run, os.getpid()))
            outcome = _completed(run, folder, dataset)
        notify(outcome)
        outcomes.append(outcome)
    return outcomes


def _completed(run: PlannedRun, folder: Path, dataset: Dataset) -> Outcome:
    started = time.perf_counter()
    try:
        complete_run(run.recipe, dataset, folder, resume=True)
    # Whatever stops one run, the next one is tried.
    except Exception as error:
        log = folder / "log.txt"
        known = isinstance(error, SfumatoError)
        message = " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())
        machine = not known or isinstance(error, MachineError)
        seconds = time.perf_counter() - started
        return Outcome(
            run, folder, "failed", seconds, message, log if log.exists() else None, machine=machine
        )
    return Outcome(run, folder, "finished", time.perf_counter() - started)
