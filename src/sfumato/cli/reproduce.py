"""``sfumato reproduce``: a published table or figure, trained again on the user's copy of the data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfumato.errors import InputError, OutputExistsError

if TYPE_CHECKING:
    from sfumato.study.experiment_costs import Speed
    from sfumato.study.experiments import Experiment
    from sfumato.study.many import Outcome
    from sfumato.study.plan import PlannedRun
    from sfumato.study.reproduction import Cell
    from sfumato.study.reproduction_data import Source

OUT = Path("reproduced")
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
        print_list(speeds)
        return
    if speeds is not None:
        raise InputError("--speeds is for the hours of --list: leave it out, or add --list")
    if name is None:
        raise InputError("name the table or figure to reproduce; sfumato reproduce --list shows them all")
    job = _job(name, data or [], dataset or [], methods, seeds, out, smoke=smoke)
    _check(job)
    _open(job, overwrite=overwrite)
    outcomes = {source.part.kind: _run(job, source, jobs) for source in job.sources}
    _finish(job, outcomes)


@dataclass(frozen=True)
class Job:
    """What is to be done: an experiment on some of its data sets."""

    experiment: Experiment
    sources: tuple[Source, ...]
    runs: dict[str, tuple[PlannedRun, ...]]  # per kind of data set
    out: Path
    smoke: bool

    @property
    def planned(self) -> int:
        """How many trainings there are."""
        return sum(map(len, self.runs.values()))


def _job(
    name: str,
    data: list[str],
    kinds: list[str],
    methods: str | None,
    seeds: str | None,
    out: Path | None,
    *,
    smoke: bool,
) -> Job:
    from sfumato.study.experiments import experiment
    from sfumato.study.reproduction_data import find_sources
    from sfumato.study.reproduction_plan import chosen_trainings, planned_runs

    found = experiment(name)
    chosen = chosen_trainings(found, _words(methods))
    out = out or OUT / (f"{found.name}-smoke" if smoke else found.name)
    _require_ours(out)
    if not data and not smoke:
        parts = ", ".join(f"{part.dataset} ({part.kind})" for part in found.content.data)
        raise InputError(f"give --data, the folder of {parts}; or --smoke to try with made-up cases")
    sources = find_sources(found, data or _phantoms(found, out), kinds)
    numbers = _numbers(seeds)
    runs = {
        source.part.kind: planned_runs(found, source.part, trainings=chosen, seeds=numbers)
        for source in sources
    }
    job = Job(found, tuple(sources), runs, out, smoke)
    if not job.planned:
        raise InputError(f"none of {methods} is trained on the given data: nothing to do")
    return _tiny(job) if smoke else job


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str | None) -> list[int] | None:
    words = _words(text)
    if words is None:
        return None
    if not words or not all(word.isdigit() for word in words):
        raise InputError(f"--seeds {text}: give whole numbers joined by commas, such as 0,1,2")
    return [int(word) for word in words]


def _require_ours(out: Path) -> None:
    """Raise where the folder holds something that no experiment left there."""
    from sfumato.study.experiments import EXPERIMENTS

    if (
        out.exists()
        and any(out.iterdir())
        and not any((out / f"{name}.yaml").exists() for name in EXPERIMENTS)
    ):
        raise OutputExistsError(f"{out} exists already and holds no reproduction: give another --out")


def _phantoms(found: Experiment, out: Path) -> list[str]:
    """Write made-up cases in the layout of each data set; the same ones each time."""
    from sfumato.data.phantoms import write_layout
    from sfumato.study.reproduction_smoke import CASES

    _mark(found, out)
    folders = []
    for part in found.content.data:
        folder = out / "data" / part.kind
        shutil.rmtree(folder, ignore_errors=True)
        # Every second case lies in the folder that an experiment draws from.
        folders.append(str(write_layout(part.kind, folder, cases=CASES if part.draw is None else 2 * CASES)))
    return folders


def _mark(found: Experiment, out: Path) -> None:
    """Copy the experiment's file: what the folder is made from, and the sign that it is ours."""
    from sfumato.output import atomic_output
    from sfumato.study.experiments import FILE

    with atomic_output(out / f"{found.name}.yaml", overwrite=True) as temporary:
        temporary.write_bytes((found.folder / FILE).read_bytes())


def _tiny(job: Job) -> Job:
    """Take a few cases, the first seed and fold, and tiny recipes."""
    from sfumato.study.plan import PlannedRun
    from sfumato.study.reproduction_smoke import smoke_cases, smoke_recipe

    sources, runs = [], {}
    for source in job.sources:
        several = job.runs[source.part.kind]
        first = several[0].recipe if several else None
        runs[source.part.kind] = tuple(
            PlannedRun(run.name, smoke_recipe(run.recipe))
            for run in several
            if first and (run.recipe.seed, run.recipe.split.fold) == (first.seed, first.split.fold)
        )
        if first is not None:
            source = replace(
                source,
                dataset=replace(
                    source.dataset, cases=smoke_cases(source.dataset, first), expected_cases=None
                ),
            )
        sources.append(source)
    return replace(job, sources=tuple(sources), runs=runs)


def _check(job: Job) -> None:
    """Read every case; whatever is wrong is listed before any training starts."""
    from sfumato.cli.console import wide_console
    from sfumato.study.reproduction_data import require_sound

    with wide_console().status("checking the data …") as status:
        notes = require_sound(
            job.sources,
            recipes={kind: [run.recipe for run in runs] for kind, runs in job.runs.items()},
            progress=lambda done, of: status.update(f"checking the data: {done} of {of} cases"),
        )
    for note in notes:
        typer.echo(f"note: {note}")


def _open(job: Job, *, overwrite: bool) -> None:
    """Make the folders and write every run's recipe; with ``overwrite`` remove the runs that are there."""
    from sfumato.output import atomic_output
    from sfumato.training.recipe import write_recipe

    _mark(job.experiment, job.out)
    for kind, runs in job.runs.items():
        for run in runs:
            folder = job.out / kind / "runs" / run.name
            if overwrite and (folder / "recipe.yaml").exists():
                shutil.rmtree(folder)
            with atomic_output(job.out / kind / "recipes" / f"{run.name}.yaml", overwrite=True) as temporary:
                write_recipe(run.recipe, temporary)


def _run(job: Job, source: Source, jobs: int) -> list[Outcome]:
    """Train, predict and evaluate everything on one data set."""
    from sfumato.cli.running import Notices, environment, terminated_like_interrupted
    from sfumato.study.many import run_many, write_outcomes
    from sfumato.study.reproduction_data import data_folder
    from sfumato.study.reproduction_runs import run_here

    out, runs = job.out / source.part.kind, job.runs[source.part.kind]
    typer.echo(f"{source.part.dataset}: {len(runs)} trainings on {len(source.dataset.cases)} cases")
    notices = Notices(len(runs), jobs)
    with terminated_like_interrupted():
        if job.smoke:
            outcomes = run_here(runs, out, dataset=source.dataset, notify=notices)
        else:
            folder = data_folder(source, out / "cases")
            outcomes = run_many(
                runs,
                out,
                command=lambda run, where: _train_command(run, where, folder, source.kind),
                environment=environment(jobs),
                jobs=jobs,
                dataset=source.dataset,
                notify=notices,
            )
    write_outcomes(outcomes, out / "runs.csv")
    return outcomes


def _train_command(run: PlannedRun, folder: Path, data: str, kind: str) -> Sequence[str]:
    import sys

    recipe = folder.parents[1] / "recipes" / f"{run.name}.yaml"
    train = [sys.executable, "-m", "sfumato.cli.app", "train", str(recipe), "--data", data]
    # The data were read to the last byte before the first training: not once more in each of them.
    place = ["--dataset", kind, "--out", str(folder)]
    return [*train, *place, "--resume", "--checked", "--no-report", "--attached"]


def _finish(job: Job, outcomes: dict[str, list[Outcome]]) -> None:
    """Print and write the table and the figures, write the reports, and say what failed."""
    from sfumato.cli.reproduce_report import SMOKE_NOTE, draw, write_figures, write_reports
    from sfumato.report import load_runs
    from sfumato.study.many import require_all
    from sfumato.study.reproduction import side_by_side
    from sfumato.study.tidy import read_tables

    found = job.experiment
    finished = {kind: _tables(several) for kind, several in outcomes.items()}
    finished = {kind: tables for kind, tables in finished.items() if tables}
    cells = side_by_side(found, {kind: read_tables(tables) for kind, tables in finished.items()})
    notes = [SMOKE_NOTE] if job.smoke else []
    _write_tables(job, cells, notes)
    _print_tables(job, cells, notes)
    runs = {kind: load_runs(job.out / kind / "runs") for kind in finished if found.content.figure}
    drawn = draw(found, cells, runs)
    datasets = {source.part.kind: source.dataset for source in job.sources}
    written = write_figures(drawn, job.out)
    written += write_reports(found, cells, drawn, datasets, job.out, smoke=job.smoke)
    for path in written:
        typer.echo(f"written: {path}")
    require_all([each for several in outcomes.values() for each in several])


def _tables(outcomes: Sequence[Outcome]) -> list[Path]:
    return [each.folder / "metrics.csv" for each in outcomes if each.state != "failed"]


def _write_tables(job: Job, cells: Sequence[Cell], notes: Sequence[str]) -> None:
    from sfumato.output import atomic_output
    from sfumato.study.reproduction_tables import csv_text, latex_text, markdown_text

    title = f"{job.experiment.name}: {job.experiment.content.title}"
    texts = {
        ".csv": csv_text(cells),
        ".md": markdown_text(title, cells, notes),
        ".tex": latex_text(title, cells),
    }
    for ending, text in texts.items():
        with atomic_output(job.out / f"{job.experiment.name}{ending}", overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _print_tables(job: Job, cells: Sequence[Cell], notes: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from sfumato.cli.console import wide_console
    from sfumato.study.reproduction_tables import HEADINGS, RIGHT, blocks, caption, gaps

    console = wide_console()
    given = {source.part.kind for source in job.sources}
    shown = [cell for cell in cells if cell.part.kind in given]
    for block in blocks(shown):
        table = Table(title=Text(block.title, style="bold"), box=SIMPLE_HEAD, header_style="bold")
        for heading in HEADINGS:
            table.add_column(heading, justify="right" if heading in RIGHT else "left", no_wrap=True)
        for line in block.lines:
            table.add_row(*(Text(text) for text in line))
        console.print(table)
    for text in (caption(shown), *gaps(cells), *notes):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"tables: {job.out / job.experiment.name}.csv, .md, .tex",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def print_list(speeds: Path | None = None) -> None:
    """Print every experiment: what it trains, on what, and about how many GPU-hours that takes."""
    from rich.table import Table

    from sfumato.cli.console import wide_console
    from sfumato.study.experiment_costs import hours_note, read_speeds
    from sfumato.study.experiments import EXPERIMENTS, experiment

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
    from sfumato.study.experiment_costs import cost

    counted: set[str] = set()
    for name, listed in found.listed.items():
        for kind in listed.data:
            part, spent = found.part(kind), cost(found, found.part(kind), measured)
            first = (name, listed.title) if kind == listed.data[0] else ("", "")
            hours = "n/a" if spent.hours != spent.hours else f"{'~' if spent.rough else ''}{spent.hours:,.0f}"
            numbers = (str(spent.trainings), f"{spent.steps:,}", hours)
            yield (*first, f"{part.dataset} ({kind})", *((SHARED, "", "") if kind in counted else numbers))
            counted.add(kind)
