"""``sfumato reproduce``: a published table or figure, trained again on the user's copy of the data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sfumato.cli.console import wide_console
from sfumato.cli.notices import Notices
from sfumato.errors import InputError
from sfumato.report.reproduction import write_reproduction
from sfumato.reproduction.costs import Speed, cost, hours_note, read_speeds
from sfumato.reproduction.data import require_sound
from sfumato.reproduction.experiments import EXPERIMENTS, Experiment, experiment
from sfumato.reproduction.run import Reproduction, Results, open_folder, prepare, request, results, train
from sfumato.reproduction.tables import caption, gaps, side_by_side_tables, write_tables
from sfumato.runs.lock import sole_writer
from sfumato.study.outcomes import require_all
from sfumato.tables.terminal import terminal

SHARED = "as above"  # in the list, in place of trainings that stand there already


def reproduce(
    name: Annotated[
        str | None, typer.Argument(help="Table or figure, such as geols-table1; --list shows them all.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="Show every experiment, its data, trainings and cost.")
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of the data set as it was downloaded; once per data set of the experiment."
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="Layout of each --data, in the same order. Default: the experiment's own layouts."),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Only these rows: names of the table or of methods, joined by commas.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(help="Only these seeds, joined by commas. Default: as many as the paper has."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time; they share cores and GPU.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder of the runs and tables. Default: reproduced/NAME."),
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke", help="Everything in seconds: tiny networks, a few cases of --data, or made-up ones."
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Train again what is finished; else it is kept.")
    ] = False,
    speeds: Annotated[
        Path | None,
        typer.Option(help="With --list: your GPU's step times, as benchmarks/networks.py --csv writes them."),
    ] = None,
) -> None:
    """Train a published experiment and print the paper's numbers beside yours.

    The data are checked to the last byte before any training. The same command goes on with an interrupted
    experiment: finished runs are kept, the others go on from their last epoch. A run that fails stops no
    other; the exit status is then 1 if the machine failed, 2 if a run's input was wrong.
    """
    if show:
        _print_list(speeds)
        return
    if speeds is not None:
        raise InputError("--speeds is for the hours of --list: leave it out, or add --list")
    if name is None:
        raise InputError("name the table or figure to reproduce; sfumato reproduce --list shows them all")
    asked = request(
        *(name, data or [], dataset or []),
        methods=_words(methods),
        seeds=_numbers(seeds),
        out=out,
        smoke=smoke,
    )
    if smoke and jobs > 1:
        typer.echo(f"note: --smoke trains one at a time, so --jobs {jobs} changes nothing")
    with sole_writer(asked.out):
        work = prepare(asked)
        _check(work)
        open_folder(work, overwrite=overwrite)
        outcomes = {}
        for source in work.sources:
            part, several = source.part, work.runs[source.part.layout]
            typer.echo(f"{part.dataset}: {len(several)} trainings on {len(source.dataset.cases)} cases")
            outcomes[part.layout] = train(work, source, jobs=jobs, notify=Notices(len(several), jobs))
        _finish(work, results(work, outcomes))
    require_all([outcome for several in outcomes.values() for outcome in several])


def _words(methods: str | None) -> list[str] | None:
    words = _parts(methods)
    if words is not None and not words:
        raise InputError(
            "--methods is empty: name rows of the table or methods, joined by commas, or leave it out for all"
        )
    return words


def _parts(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str | None) -> list[int] | None:
    words = _parts(text)
    if words is None:
        return None
    if not words or not all(word.isdigit() for word in words):
        raise InputError(f"--seeds {text or 'is empty'}: give whole numbers joined by commas, such as 0,1,2")
    return [int(word) for word in words]


def _check(work: Reproduction) -> None:
    """Read every case; whatever is wrong is listed before any training starts."""
    with wide_console().status("checking the data …") as status:
        notes = require_sound(
            work.sources,
            recipes={layout: [run.recipe for run in runs] for layout, runs in work.runs.items()},
            progress=lambda done, of: status.update(f"checking the data: {done} of {of} cases"),
        )
    for note in notes:
        typer.echo(f"note: {note}")


def _finish(work: Reproduction, came: Results) -> None:
    """Print and write the tables and the figures, and write the reports."""
    write_tables(work.experiment, came.cells, came.notes, work.out)
    _print_tables(work, came)
    for path in write_reproduction(work, came):
        typer.echo(f"written: {path}")


def _print_tables(work: Reproduction, came: Results) -> None:
    """Print the tables of the data sets at hand, and of all what is missing and why."""
    console = wide_console()
    layouts = {*work.datasets, *came.shown}
    shown = [cell for cell in came.cells if cell.part.layout in layouts]
    for table in side_by_side_tables(shown):
        console.print(terminal(table))
    place = f"tables: {work.out / work.experiment.name}.csv, .md, .tex"
    for text in (caption(shown), *gaps(came.cells), *came.notes, place):
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_list(speeds: Path | None) -> None:
    """Print every experiment: what it trains, on what, and about how many GPU-hours that takes."""
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


def _list_lines(listed: Experiment, measured: Mapping[str, Speed]) -> Iterator[tuple[str, ...]]:
    """Yield a line per data set of what the experiment makes; trainings that it shares are counted once."""
    counted: set[str] = set()
    for name, entry in listed.listed.items():
        for layout in entry.data:
            part, spent = listed.part(layout), cost(listed, listed.part(layout), measured)
            first = (name, entry.title) if layout == entry.data[0] else ("", "")
            hours = "n/a" if spent.hours != spent.hours else f"{'~' if spent.rough else ''}{spent.hours:,.0f}"
            numbers = (SHARED, "", "")
            if layout not in counted:
                numbers = (str(spent.trainings), f"{spent.steps:,}", hours)
            yield (*first, f"{part.dataset} ({layout})", *numbers)
            counted.add(layout)
