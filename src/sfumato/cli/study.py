"""``sfumato study``: methods x seeds x folds of one recipe, compared and reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.notices import Notices
from sfumato.cli.options import DatasetLayout
from sfumato.cli.printing import print_comparison
from sfumato.data import Dataset, open_dataset
from sfumato.report.study import write_study_report
from sfumato.runs.lock import sole_writer
from sfumato.study import LocalProcesses, Outcome, Study, read_study, require_all, train_command
from sfumato.study.trainings import open_study, train_runs


def study(
    plan: Annotated[
        Path,
        typer.Argument(
            help="The plan (YAML): recipe, data, methods, seeds; folds, proposed, overrides as needed."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the study.")],
    layout: DatasetLayout = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time; they share the cores.")] = 1,
) -> None:
    """Train methods x seeds x folds, then compare them and write the report.

    The same command goes on with an interrupted study: finished runs are kept, the others go on from their
    last epoch, and comparison and report are written anew. A run that fails stops no other; its log lies in
    logs/. The exit status is then 1 if the machine failed, 2 if a run's input was wrong.
    """
    planned = read_study(plan)
    dataset = open_dataset(planned.data, layout=layout)
    with sole_writer(out):
        open_study(out, plan)
        outcomes = train_runs(
            planned.runs,
            out,
            LocalProcesses(train_command(out, planned.data, layout, checked=False), jobs),
            dataset=dataset,
            notify=Notices(len(planned.runs), jobs),
        )
        if any(outcome.state != "failed" for outcome in outcomes):
            _report(out, planned, dataset, outcomes)
    require_all(outcomes)


def _report(out: Path, planned: Study, dataset: Dataset, outcomes: Sequence[Outcome]) -> None:
    page, comparison = write_study_report(planned, outcomes, dataset, out)
    if comparison is None:
        typer.echo(
            f"no comparison: no run of {planned.proposed} is finished, which the others are tested against"
        )
    else:
        print_comparison(comparison)
        typer.echo(f"comparison: {out / 'comparison'}")
    typer.echo(f"report: {page}")
