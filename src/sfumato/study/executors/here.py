"""Runs inside this process: for trainings that take less time than starting a process would."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfumato.data.case import Dataset
from sfumato.errors import MachineError, SfumatoError
from sfumato.study.outcomes import Notify, Outcome, Started, one_line
from sfumato.study.plan import PlannedRun
from sfumato.study.run import complete_run


@dataclass(frozen=True)
class ThisProcess:
    """An executor that trains one run after the other, here; its log is the run's own ``log.txt``.

    Attributes:
        dataset: The cases, read to the last byte already.
    """

    dataset: Dataset

    def outcomes(self, runs: Sequence[PlannedRun], out: Path, *, notify: Notify) -> Generator[Outcome]:
        """Complete every run; see :class:`~sfumato.study.executors.Executor`."""
        for run in runs:
            notify(Started(run, os.getpid()))
            yield self._completed(run, out / "runs" / run.name)

    def _completed(self, run: PlannedRun, folder: Path) -> Outcome:
        started = time.perf_counter()
        try:
            complete_run(run.recipe, self.dataset, folder, resume=True)
        # Whatever stops one run, the next one is tried.
        except Exception as error:
            seconds, log = time.perf_counter() - started, folder / "log.txt"
            known = isinstance(error, SfumatoError)
            message = one_line(str(error) if known else f"{type(error).__name__}: {error}")
            machine = not known or isinstance(error, MachineError)
            place = log if log.exists() else None
            return Outcome(run, folder, "failed", seconds, message, place, machine=machine)
        return Outcome(run, folder, "finished", time.perf_counter() - started)
