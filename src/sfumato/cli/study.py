"""``sfumato study``: methods x seeds x folds of one recipe, compared and reported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfumato.cli.dataset_option import DatasetKind
from sfumato.cli.running import Notices, environment, terminated_like_interrupted
from sfumato.errors import MissingExtraError, OutputExistsError

if TYPE_CHECKING:
    from sfumato.data import Dataset
    from sfumato.statistics.comparison import Comparison
    from sfumato.study.many import Outcome
    from sfumato.study.plan import PlannedRun, Study

PLAN = "plan.yaml"  # marks a folder as a study's


def study(
    plan: Annotated[
        Path,
        typer.Argument(
            help="The plan (YAML): recipe, data, methods, seeds; folds, proposed, overrides as needed."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study.")],
    kind: DatasetKind = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time; they share the cores.")] = 1,
) -> None:
    """Train methods x seeds x folds, then compare them and write the report.

    The same command goes on with an interrupted study: finished runs are kept, the others go on from their
    last epoch, and comparison and report are written anew. A run that fails stops no other; its log lies in
    logs/. The exit status is then 1 if the machine failed, 2 if a run's input was wrong.
    """
    for library in ("matplotlib", "jinja2"):
        if find_spec(library) is None:
            raise MissingExtraError(
                f"the study's report needs {library}: install it with pip install 'sfumato[report]'"
            )
    from sfumato.data import open_dataset
    from sfumato.runs.lock import sole_writer
    from sfumato.study.many import require_all
    from sfumato.study.plan import read_study

    found = read_study(plan)
    dataset = open_dataset(found.data, layout=kind)
    with sole_writer(out):
        _open(out, plan, found)
        outcomes = _run(out, found, dataset, kind, jobs)
        finished = [each for each in outcomes if each.state != "failed"]
        if finished:
            _report(out, found, dataset, finished, outcomes)
    require_all(outcomes)


def _run(out: Path, found: Study, dataset: Dataset, kind: str, jobs: int) -> list[Outcome]:
    """Train whatever is not finished, and write what became of it."""
    from sfumato.study.many import run_many, write_outcomes

    notices = Notices(len(found.runs), jobs)
    with terminated_like_interrupted():
        outcomes = run_many(
            found.runs,
            out,
            command=_train_command(found, out, kind),
            environment=environment(jobs),
            jobs=jobs,
            dataset=dataset,
            notify=notices,
        )
    write_outcomes(outcomes, out / "runs.csv")
    return outcomes


def _open(out: Path, plan: Path, found: Study) -> None:
    """Make the folder, or go on with a study that lies there; write the plan and every run's recipe."""
    from sfumato.output import atomic_output
    from sfumato.recipe.recipe import write_recipe
    from sfumato.runs.lock import holds_anything

    if holds_anything(out) and not (out / PLAN).exists():
        raise OutputExistsError(f"{out} exists already and is no study: give another --out")
    with atomic_output(out / PLAN, overwrite=True) as temporary:
        temporary.write_bytes(plan.read_bytes())
    for run in found.runs:
        with atomic_output(out / "recipes" / f"{run.name}.yaml", overwrite=True) as temporary:
            write_recipe(run.recipe, temporary)


def _train_command(found: Study, out: Path, kind: str) -> Callable[[PlannedRun, Path], Sequence[str]]:
    def command(run: PlannedRun, folder: Path) -> Sequence[str]:
        recipe = str(out / "recipes" / f"{run.name}.yaml")
        train = [sys.executable, "-m", "sfumato", "train", recipe]
        place = ["--data", found.data, "--dataset", kind, "--out", str(folder)]
        # An unfinished folder is gone on with; a new one is begun. The study has one report of all its runs.
        return [*train, *place, "--resume", "--no-report", "--attached"]

    return command


def _report(
    out: Path, found: Study, dataset: Dataset, finished: Sequence[Outcome], outcomes: Sequence[Outcome]
) -> None:
    from dataclasses import replace

    from sfumato.cli.report import assembled, with_tests
    from sfumato.report import write_report

    notes = [f"{each.run.name} failed: {each.message}" for each in outcomes if each.state == "failed"]
    planned = {run.name for run in found.runs}
    strangers = sorted(path.parent.name for path in (out / "runs").glob("*/metrics.csv"))
    strangers = [name for name in strangers if name not in planned]
    if strangers:
        notes.append(f"{', '.join(strangers)}: not in the plan, so in this report but not in the comparison")
    comparison = _compare(out, found, finished)
    data = assembled(out / "runs", source=dataset)
    data = replace(data, notes=(*data.notes, *notes))
    if comparison is not None:
        data = with_tests(data, comparison)
    page = write_report(data, out / "report.html", overwrite=True)
    typer.echo(f"report: {page}")


def _compare(out: Path, found: Study, finished: Sequence[Outcome]) -> Comparison | None:
    """Compare the finished runs, print and write the tables; None without the proposed method."""
    from sfumato.cli.compare import print_comparison, write_comparison
    from sfumato.cli.console import wide_console
    from sfumato.statistics.comparison import compare_methods
    from sfumato.statistics.tidy import tidy
    from sfumato.tables.comparison import layouts

    rows = tidy([each.folder / "metrics.csv" for each in finished])
    if found.proposed not in set(rows["method"]):
        typer.echo(
            f"no comparison: no run of {found.proposed} is finished, which the others are tested against"
        )
        return None
    comparison = compare_methods(rows, proposed=found.proposed)
    laid_out = layouts(comparison, spread="sd")
    write_comparison(out / "comparison", comparison, laid_out, "sd", overwrite=True)
    print_comparison(wide_console(), comparison, laid_out, "sd")
    typer.echo(f"comparison: {out / 'comparison'}")
    return comparison
