"""What commands that train many runs print while they do."""

from __future__ import annotations

import sys

import typer

from sfumato.study.outcomes import Outcome, Started


class Notices:
    """One line per run: that it is finished, or why not, and how long the rest may take."""

    def __init__(self, total: int, jobs: int) -> None:
        self.total, self.jobs, self.done = total, jobs, 0
        self.seconds: list[float] = []

    def __call__(self, event: Started | Outcome) -> None:
        """Print what became of a run; that one starts only on a terminal."""
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


def duration(seconds: float) -> str:
    """Write a time as people say it: in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
