"""``sfumato study``: methods x seeds x folds of one recipe, compared and reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.notices import Notices
from sfumato.cli.options import DatasetLayout
from sfumato.cli.printing import print_comparison
from sfumato.data import Dataset, open_dataset
from sfumato.report import write_report
from sfumato.report.assemble import assemble, with_tests
from sfumato.runs.lock import sole_writer
from sfumato.statistics.comparison import Comparison, compare_methods
from sfumato.statistics.tidy import tidy
from sfumato.study.executors.local import LocalProcesses, train_command
from sfumato.study.outcomes import METRICS, Outcome, require_all
from sfumato.study.plan import Study, read_study
from sfumato.study.trainings import open_study, train_runs
from sfumato.tables.comparison import write_comparison


def study(
    plan: Annotated[
        Path,
        typer.Argument(
            help="The plan (YAML): recipe, data, methods, seeds; folds, proposed, overrides as needed."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study.")],
    kind: DatasetLayout = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time; they share the cores.")] = 1,
) -> None:
    """Train methods x seeds x folds, then compare them and write the report.

    The same command goes on with an interrupted study: finished runs are kept, the others go on from their
    last epoch, and comparison and report are written anew. A run that fails stops no other; its log lies in
    logs/. The exit status is then 1 if the machine failed, 2 if a run's input was wrong.
    """
    planned = read_study(plan)
    dataset = open_dataset(planned.data, layout=kind)
    with sole_writer(out):
        open_study(out, plan)
        outcomes = train_runs(
            planned.runs,
            out,
            LocalProcesses(train_command(out, planned.data, kind, checked=False), jobs),
            dataset=dataset,
            notify=Notices(len(planned.runs), jobs),
        )
        if any(outcome.state != "failed" for outcome in outcomes):
            _report(out, planned, dataset, outcomes)
    require_all(outcomes)


def _report(out: Path, planned: Study, dataset: Dataset, outcomes: Sequence[Outcome]) -> None:
    notes = [f"{each.run.name} failed: {each.message}" for each in outcomes if each.state == "failed"]
    names = {run.name for run in planned.runs}
    strangers = sorted(path.parent.name for path in (out / "runs").glob(f"*/{METRICS}"))
    strangers = [name for name in strangers if name not in names]
    if strangers:
        notes.append(f"{', '.join(strangers)}: not in the plan, so in this report but not in the comparison")
    comparison = _compare(out, planned, [each.folder for each in outcomes if each.state != "failed"])
    data = assemble(out / "runs", source=dataset)
    data = replace(data, notes=(*data.notes, *notes))
    if comparison is not None:
        data = with_tests(data, comparison)
    page = write_report(data, out / "report.html", overwrite=True)
    typer.echo(f"report: {page}")


def _compare(out: Path, planned: Study, finished: Sequence[Path]) -> Comparison | None:
    """Compare the finished runs, print and write the tables; None without the proposed method."""
    rows = tidy([folder / METRICS for folder in finished])
    if planned.proposed not in set(rows["method"]):
        typer.echo(
            f"no comparison: no run of {planned.proposed} is finished, which the others are tested against"
        )
        return None
    comparison = compare_methods(rows, proposed=planned.proposed)
    write_comparison(comparison, out / "comparison", overwrite=True)
    print_comparison(comparison)
    typer.echo(f"comparison: {out / 'comparison'}")
    return comparison
