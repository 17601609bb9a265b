"""``sfumato reproduce``: a published table or figure, trained again on the user's copy of the data."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfumato.errors import InputError, OutputExistsError

if TYPE_CHECKING:
    from sfumato.reproduction.data import Source
    from sfumato.reproduction.experiments import Experiment
    from sfumato.study.many import Outcome
    from sfumato.study.plan import PlannedRun

OUT = Path("reproduced")


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
        from sfumato.cli.reproduce_list import print_list

        print_list(speeds)
        return
    if speeds is not None:
        raise InputError("--speeds is for the hours of --list: leave it out, or add --list")
    if name is None:
        raise InputError("name the table or figure to reproduce; sfumato reproduce --list shows them all")
    from sfumato.runs.lock import sole_writer

    asked = _asked(name, data or [], dataset or [], methods, seeds, out, smoke=smoke)
    if smoke and jobs > 1:
        typer.echo(f"note: --smoke trains one at a time, so --jobs {jobs} changes nothing")
    with sole_writer(asked.out):
        job = _job(asked)
        _check(job)
        _open(job, overwrite=overwrite)
        outcomes = {source.part.kind: _run(job, source, jobs) for source in job.sources}
        _finish(job, outcomes)


@dataclass(frozen=True)
class Asked:
    """What the arguments ask for; whatever can be wrong with them alone was found wrong already."""

    experiment: Experiment
    data: list[str]
    kinds: list[str]
    runs: dict[str, tuple[PlannedRun, ...]]  # per kind of data set, also of those that are not given
    out: Path
    smoke: bool


@dataclass(frozen=True)
class Job:
    """What is to be done: an experiment on some of its data sets."""

    experiment: Experiment
    sources: tuple[Source, ...]
    runs: dict[str, tuple[PlannedRun, ...]]  # per kind of data set
    out: Path
    smoke: bool


def _asked(
    name: str,
    data: list[str],
    kinds: list[str],
    methods: str | None,
    seeds: str | None,
    out: Path | None,
    *,
    smoke: bool,
) -> Asked:
    from sfumato.reproduction.experiments import experiment
    from sfumato.reproduction.plan import chosen_trainings, planned_runs

    found = experiment(name)
    chosen = chosen_trainings(found, _words(methods))
    numbers = _numbers(seeds)
    if numbers is None and smoke:
        numbers = list(found.content.seeds[:1])
    runs = {
        part.kind: planned_runs(found, part, trainings=chosen, seeds=numbers) for part in found.content.data
    }
    if not data and not smoke:
        parts = ", ".join(f"{part.dataset} ({part.kind})" for part in found.content.data)
        raise InputError(f"give --data, the folder of {parts}; or --smoke to try with made-up cases")
    if kinds and not data:
        raise InputError("--dataset says how --data is to be read: give --data too, or leave it out")
    out = out or OUT / (f"{found.name}-smoke" if smoke else found.name)
    _require_ours(out)
    return Asked(found, data, kinds, runs, out, smoke)


def _job(asked: Asked) -> Job:
    """Find the data, or make some up, and what is to be trained on them."""
    from sfumato.reproduction.data import find_sources

    made_up = not asked.data
    folders = _phantoms(asked.experiment, asked.out) if made_up else asked.data
    sources = find_sources(asked.experiment, folders, asked.kinds)
    if made_up:
        # That a hundred cases of the release are not here is no news.
        sources = [replace(each, dataset=replace(each.dataset, notes=())) for each in sources]
    runs = {source.part.kind: asked.runs[source.part.kind] for source in sources}
    if not any(runs.values()):
        names = dict.fromkeys(run.recipe.title for several in asked.runs.values() for run in several)
        raise InputError(f"none of {', '.join(names)} is trained on the given data: nothing to do")
    job = Job(asked.experiment, tuple(sources), runs, asked.out, asked.smoke)
    return _tiny(job) if asked.smoke else job


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


def _require_ours(out: Path) -> None:
    """Raise where the folder holds something that no experiment left there."""
    from sfumato.reproduction.experiments import EXPERIMENTS
    from sfumato.runs.lock import holds_anything

    if holds_anything(out) and not any((out / f"{name}.yaml").exists() for name in EXPERIMENTS):
        raise OutputExistsError(f"{out} exists already and holds no reproduction: give another --out")


def _phantoms(found: Experiment, out: Path) -> list[str]:
    """Write made-up cases in the layout of each data set; the same ones each time."""
    from sfumato.data.phantoms import write_layout
    from sfumato.reproduction.smoke import CASES

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
    from sfumato.reproduction.experiments import FILE

    with atomic_output(out / f"{found.name}.yaml", overwrite=True) as temporary:
        temporary.write_bytes((found.folder / FILE).read_bytes())


def _tiny(job: Job) -> Job:
    """Take a few cases, the first fold, and tiny recipes."""
    from sfumato.reproduction.smoke import smoke_cases, smoke_recipe
    from sfumato.study.plan import PlannedRun

    sources, runs = [], {}
    for source in job.sources:
        several = job.runs[source.part.kind]
        first = several[0].recipe if several else None
        runs[source.part.kind] = tuple(
            PlannedRun(run.name, smoke_recipe(run.recipe))
            for run in several
            if first and run.recipe.split.fold == first.split.fold
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
    from sfumato.reproduction.data import require_sound

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
    from sfumato.recipe.recipe import write_recipe
    from sfumato.runs.lock import sole_writer

    _mark(job.experiment, job.out)
    for kind, runs in job.runs.items():
        for run in runs:
            folder = job.out / kind / "runs" / run.name
            if overwrite and (folder / "recipe.yaml").exists():
                with sole_writer(folder):
                    shutil.rmtree(folder)
            with atomic_output(job.out / kind / "recipes" / f"{run.name}.yaml", overwrite=True) as temporary:
                write_recipe(run.recipe, temporary)


def _run(job: Job, source: Source, jobs: int) -> list[Outcome]:
    """Train, predict and evaluate everything on one data set."""
    from sfumato.cli.running import Notices, environment, terminated_like_interrupted
    from sfumato.reproduction.data import data_folder
    from sfumato.reproduction.runs import run_here
    from sfumato.study.many import run_many, write_outcomes

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
    train = [sys.executable, "-m", "sfumato", "train", str(recipe), "--data", data]
    # The data were read to the last byte before the first training: not once more in each of them.
    place = ["--dataset", kind, "--out", str(folder)]
    return [*train, *place, "--resume", "--checked", "--no-report", "--attached"]


def _finish(job: Job, outcomes: dict[str, list[Outcome]]) -> None:
    """Print and write the table and the figures, write the reports, and say what failed."""
    from sfumato.cli.reproduce_report import (
        SMOKE_NOTE,
        draw,
        print_tables,
        write_figures,
        write_reports,
        write_tables,
    )
    from sfumato.report import load_runs
    from sfumato.reproduction.finished import finished_runs, reasons
    from sfumato.reproduction.side_by_side import side_by_side
    from sfumato.study.many import METRICS, require_all

    found, out = job.experiment, job.out
    datasets = {source.part.kind: source.dataset for source in job.sources}
    finished = {
        part.kind: finished_runs(
            found, part, out / part.kind / "runs", dataset=datasets.get(part.kind), smoke=job.smoke
        )
        for part in found.content.data
    }
    taken = {kind: several for kind, several in finished.items() if several.taken}
    values = {kind: [run / METRICS for run in several.taken] for kind, several in taken.items()}
    cells = side_by_side(found, values, absent=reasons(found, datasets, finished, outcomes))
    notes = [f"not in the tables: {why}" for several in finished.values() for why in several.stale.values()]
    notes += [SMOKE_NOTE] if job.smoke else []
    write_tables(found, cells, notes, out)
    print_tables(found, cells, notes, out, kinds={*datasets, *taken})
    wanted = taken if found.content.figure else {}
    runs = {kind: load_runs(out / kind / "runs", without=each.others) for kind, each in wanted.items()}
    drawn = draw(found, cells, runs)
    written = write_figures(drawn, out)
    written += write_reports(found, cells, drawn, datasets, out, finished=finished, smoke=job.smoke)
    for path in written:
        typer.echo(f"written: {path}")
    require_all([each for several in outcomes.values() for each in several])
