"""``sfumato reproduce --list``: what there is to reproduce, on which data, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfumato.reproduction.costs import Speed
    from sfumato.reproduction.experiments import Experiment

SHARED = "as above"  # in the list, in place of trainings that stand there already


def print_list(speeds: Path | None = None) -> None:
    """Print every experiment: what it trains, on what, and about how many GPU-hours that takes."""
    from rich.table import Table

    from sfumato.cli.console import wide_console
    from sfumato.reproduction.costs import hours_note, read_speeds
    from sfumato.reproduction.experiments import EXPERIMENTS, experiment

    measured = {} if speeds is None else read_speeds(speeds)
    table = Table("name", "what", "data (--dataset)", box=None, header_style="bold", pad_edge=False)
    for heading in ("trainings", "steps", "GPU-hours"):
        table.add_column(heading, justify="right")
    lines = [line for name in EXPERIMENTS for line in _list_lines(experiment(name), measured)]
    for line in lines:
        table.add_row(*line)
    console = wide_console()
    console.print(table)
    notes = [hours_note(measured, rough=any(line[-1].startswith("~") for line in lines))]
    if any(line[3] == SHARED for line in lines):
        notes.append(f'"{SHARED}": these figures share their trainings, and each name makes them all.')
    console.print(" ".join(notes), soft_wrap=True)


def _list_lines(found: Experiment, measured: Mapping[str, Speed]) -> Iterator[tuple[str, ...]]:
    """One line per data set of what the experiment makes; trainings that it shares are counted once."""
    from sfumato.reproduction.costs import cost

    counted: set[str] = set()
    for name, listed in found.listed.items():
        for kind in listed.data:
            part, spent = found.part(kind), cost(found, found.part(kind), measured)
            first = (name, listed.title) if kind == listed.data[0] else ("", "")
            hours = "n/a" if spent.hours != spent.hours else f"{'~' if spent.rough else ''}{spent.hours:,.0f}"
            numbers = (str(spent.trainings), f"{spent.steps:,}", hours)
            yield (*first, f"{part.dataset} ({kind})", *((SHARED, "", "") if kind in counted else numbers))
            counted.add(kind)
