"""Where the runs of a study are trained: in local processes, or one after the other in this one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from sfumato.study.outcomes import Notify, Outcome
from sfumato.study.plan import PlannedRun


class Executor(Protocol):
    """Something that trains runs; ``LocalProcesses`` and ``ThisProcess`` do."""

    def outcomes(self, runs: Sequence[PlannedRun], out: Path, *, notify: Notify) -> Generator[Outcome]:
        """Complete every run, or go on with it, and yield its outcome when it ends, in any order.

        However the iterator is left, nothing that it started goes on. A run that fails stops no other.

        Args:
            runs: What to train; none of them is finished.
            out: The study's folder: a run lies in ``<out>/runs/<name>``, its recipe in
                ``<out>/recipes/<name>.yaml``.
            notify: Told of every run that starts.
        """
        ...
