"""What commands that run many trainings share: how they are told about, and how they end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from types import FrameType

    from sfumato.study.many import Outcome, Started


def environment(jobs: int) -> Mapping[str, str]:
    """Divide the cores among the processes, unless the user has set the number of threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = str(max(1, cores // jobs))
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(names, threads) | os.environ


class Notices:
    """One line per run: that it is finished, or why not, and how long the rest may take."""

    def __init__(self, total: int, jobs: int) -> None:
        self.total, self.jobs, self.done = total, jobs, 0
        self.seconds: list[float] = []
        self.started = time.perf_counter()

    def __call__(self, event: Started | Outcome) -> None:
        """Print what became of a run; that one starts only on a terminal."""
        from sfumato.study.many import Started

        if isinstance(event, Started):
            if sys.stdout.isatty():
                typer.echo(f"        {event.run.name}: started")
            return
        self.done += 1
        text = {
            "kept": "finished already",
            "finished": f"finished in {duration(event.seconds)}",
            "failed": f"failed: {event.message}" + (f" (log: {event.log})" if event.log else ""),
        }[event.state]
        if event.state == "finished":
            self.seconds.append(event.seconds)
        left = self.total - self.done
        if left and self.seconds:
            mean = sum(self.seconds) / len(self.seconds)
            text += f"; about {duration(mean * max(1.0, left / self.jobs))} left"
        typer.echo(f"[{self.done}/{self.total}] {event.run.name}: {text}")


def end_with_parent() -> None:
    """End this process as soon as its standard input ends: the one that started it is gone, even if killed.

    It ends at once, as if it were killed itself: a training can be, at any moment, and is gone on with.
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


def duration(seconds: float) -> str:
    """Write a time as people say it: in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let a polite kill end the runs' processes too, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
