"""One experiment on the user's data: what is asked for, prepared, trained, and put side by side."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sfumato.data.case import Dataset
from sfumato.data.phantoms import write_layout
from sfumato.errors import InputError, OutputExistsError
from sfumato.output import atomic_output
from sfumato.reproduction.data import Source, data_folder, find_sources
from sfumato.reproduction.experiments import EXPERIMENTS, FILE, Experiment, experiment
from sfumato.reproduction.finished import Finished, finished_runs, reasons
from sfumato.reproduction.plan import chosen_trainings, planned_runs
from sfumato.reproduction.side_by_side import Compared, side_by_side
from sfumato.reproduction.smoke import CASES, smoke_cases, smoke_recipe
from sfumato.runs.lock import holds_anything, sole_writer
from sfumato.study import LocalProcesses, PlannedRun, ThisProcess, train_command, train_runs
from sfumato.study.executors import Executor
from sfumato.study.outcomes import METRICS, Notify, Outcome

OUT = Path("reproduced")
SMOKE_NOTE = (
    "Smoke run: tiny networks, one epoch, a few cases. It shows that installation and folder work; "
    "its numbers mean nothing."
)


@dataclass(frozen=True)
class Request:
    """What is to be reproduced; whatever can be wrong with the arguments alone was found wrong already.

    Attributes:
        experiment: The experiment.
        data: Folders of the user's; none: made-up cases.
        layouts: That of each folder; none: the experiment's own layouts are tried.
        runs: The trainings per layout, also of those that are not given.
        out: The folder of runs and tables.
        smoke: Everything in seconds.
    """

    experiment: Experiment
    data: tuple[str, ...]
    layouts: tuple[str, ...]
    runs: Mapping[str, tuple[PlannedRun, ...]]
    out: Path
    smoke: bool


@dataclass(frozen=True)
class Reproduction:
    """An experiment on those of its data sets that are at hand, with what is trained on each."""

    experiment: Experiment
    sources: tuple[Source, ...]
    runs: Mapping[str, tuple[PlannedRun, ...]]  # per layout
    out: Path
    smoke: bool

    @property
    def datasets(self) -> dict[str, Dataset]:
        """The cases of each data set."""
        return {source.part.layout: source.dataset for source in self.sources}


@dataclass(frozen=True)
class Results:
    """What came out of a reproduction.

    Attributes:
        cells: Every published number beside ours.
        finished: The finished runs of each data set; those that the tables leave out have a reason.
        notes: What a reader must know besides.
    """

    cells: tuple[Compared, ...]
    finished: Mapping[str, Finished]
    notes: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        """The data sets that have a finished run."""
        return tuple(layout for layout, runs in self.finished.items() if runs.taken)


def request(
    name: str,
    data: Sequence[str] = (),
    layouts: Sequence[str] = (),
    *,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    out: Path | None = None,
    smoke: bool = False,
) -> Request:
    """Check what is asked for, before any data are read.

    Args:
        name: The experiment.
        data: Folders of its data sets.
        layouts: The layout of each, in the same order.
        methods: Only these rows of the table, or methods; None: all.
        seeds: Only these seeds; None: as many as the paper has, one of them with ``smoke``.
        out: The folder of runs and tables; by default ``reproduced/<name>``.
        smoke: Train tiny networks on a few cases.

    Raises:
        InputError: an argument is missing, empty or does not go with another.
        UnknownNameError: there is no such experiment or training.
        OutputExistsError: the folder holds something that no reproduction left there.
    """
    chosen = experiment(name)
    trainings = chosen_trainings(chosen, methods)
    if seeds is None and smoke:
        seeds = chosen.content.seeds[:1]
    parts = chosen.content.data
    runs = {part.layout: planned_runs(chosen, part, trainings=trainings, seeds=seeds) for part in parts}
    if not data and not smoke:
        names = ", ".join(f"{part.dataset} ({part.layout})" for part in parts)
        raise InputError(f"give --data, the folder of {names}; or --smoke to try with made-up cases")
    if layouts and not data:
        raise InputError("--dataset says how --data is to be read: give --data too, or leave it out")
    out = out or OUT / (f"{chosen.name}-smoke" if smoke else chosen.name)
    if holds_anything(out) and not any((out / f"{name}.yaml").exists() for name in EXPERIMENTS):
        raise OutputExistsError(f"{out} exists already and holds no reproduction: give another --out")
    return Request(chosen, tuple(data), tuple(layouts), runs, out, smoke)


def prepare(asked: Request) -> Reproduction:
    """Find the data, or make some up, and what is to be trained on them.

    Raises:
        InputError: nothing is trained on the given data; see :func:`~sfumato.reproduction.data.find_sources`.
    """
    if asked.data:
        sources = find_sources(asked.experiment, asked.data, asked.layouts)
    else:
        made_up = find_sources(asked.experiment, _phantoms(asked.experiment, asked.out), asked.layouts)
        # That a hundred cases of the release are not here is no news.
        sources = [replace(source, dataset=replace(source.dataset, notes=())) for source in made_up]
    runs = {source.part.layout: asked.runs[source.part.layout] for source in sources}
    if not any(runs.values()):
        names = dict.fromkeys(run.recipe.title for several in asked.runs.values() for run in several)
        raise InputError(f"none of {', '.join(names)} is trained on the given data: nothing to do")
    whole = Reproduction(asked.experiment, tuple(sources), runs, asked.out, asked.smoke)
    return _tiny(whole) if asked.smoke else whole


def _phantoms(chosen: Experiment, out: Path) -> list[str]:
    """Write made-up cases in the layout of each data set; the same ones each time."""
    _copy_experiment(chosen, out)
    folders = []
    for part in chosen.content.data:
        folder = out / "data" / part.layout
        shutil.rmtree(folder, ignore_errors=True)
        # Every second case lies in the folder that an experiment draws from.
        cases = CASES if part.draw is None else 2 * CASES
        folders.append(str(write_layout(part.layout, folder, cases=cases)))
    return folders


def _copy_experiment(chosen: Experiment, out: Path) -> None:
    """Copy the experiment's file: what the folder is made from, and the sign that it is ours."""
    with atomic_output(out / f"{chosen.name}.yaml", overwrite=True) as temporary:
        temporary.write_bytes((chosen.folder / FILE).read_bytes())


def _tiny(whole: Reproduction) -> Reproduction:
    """Take a few cases, the first fold, and tiny recipes."""
    sources, runs = [], {}
    for source in whole.sources:
        several = whole.runs[source.part.layout]
        first = several[0].recipe if several else None
        runs[source.part.layout] = tuple(
            PlannedRun(run.name, smoke_recipe(run.recipe))
            for run in several
            if first and run.recipe.split.fold == first.split.fold
        )
        if first is not None:
            few = smoke_cases(source.dataset, first)
            source = replace(source, dataset=replace(source.dataset, cases=few, expected_cases=None))
        sources.append(source)
    return replace(whole, sources=tuple(sources), runs=runs)


def open_folder(work: Reproduction, *, overwrite: bool) -> None:
    """Make the folder of the reproduction; with ``overwrite`` remove the runs that are to be trained."""
    _copy_experiment(work.experiment, work.out)
    for layout, runs in work.runs.items():
        for run in runs:
            folder = work.out / layout / "runs" / run.name
            if overwrite and (folder / "recipe.yaml").exists():
                with sole_writer(folder):
                    shutil.rmtree(folder)


def train(
    work: Reproduction, source: Source, *, jobs: int = 1, notify: Notify = lambda _: None
) -> list[Outcome]:
    """Train, predict and evaluate everything on one data set, whose files were all read already.

    Args:
        work: The reproduction.
        source: One of its data sets.
        jobs: Trainings at a time; with ``smoke`` always one.
        notify: Told of every run that starts and of every outcome, as it happens.
    """
    out = work.out / source.part.layout
    executor: Executor
    if work.smoke:
        executor = ThisProcess(source.dataset)
    else:
        folder = data_folder(source, out / "cases")
        executor = LocalProcesses(train_command(out, folder, source.layout, checked=True), jobs)
    return train_runs(work.runs[source.part.layout], out, executor, dataset=source.dataset, notify=notify)


def results(work: Reproduction, outcomes: Mapping[str, Sequence[Outcome]]) -> Results:
    """Put the published numbers beside those of every finished run of the experiment in the folder.

    Args:
        work: The reproduction.
        outcomes: Layout of a data set to what was trained now; it says why a number is missing.
    """
    chosen, datasets = work.experiment, work.datasets
    finished = {
        part.layout: finished_runs(
            *(chosen, part, work.out / part.layout / "runs"),
            dataset=datasets.get(part.layout),
            smoke=work.smoke,
        )
        for part in chosen.content.data
    }
    values = {
        layout: [run / METRICS for run in runs.taken] for layout, runs in finished.items() if runs.taken
    }
    cells = side_by_side(chosen, values, absent=reasons(chosen, datasets, finished, outcomes))
    notes = [f"not in the tables: {why}" for runs in finished.values() for why in runs.stale.values()]
    return Results(cells, finished, (*notes, *([SMOKE_NOTE] if work.smoke else [])))
