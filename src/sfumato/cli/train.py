"""``sfumato train``: one recipe on one data set."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.options import DatasetLayout
from sfumato.cli.printing import print_summary
from sfumato.data import Dataset, open_dataset
from sfumato.errors import MissingExtraError, optional_libraries
from sfumato.recipe.recipe import read_recipe
from sfumato.runs.folder import RunFolder
from sfumato.study.executors.local import end_with_parent
from sfumato.study.run import complete_run

LOG = logging.getLogger("sfumato.cli")
REPORT_LIBRARIES = ("matplotlib", "jinja2")


def train(
    recipe: Annotated[Path, typer.Argument(help="A complete recipe (YAML); recipes/demo.yaml is one.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Folder of a public data set or in nnU-Net or BIDS layout, CSV manifest, or sample:NAME "
            "(see sfumato check).",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    layout: DatasetLayout = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run from its last finished epoch.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run folder.")] = False,
    checked: Annotated[
        bool, typer.Option("--checked", help="The data passed sfumato check: do not read every file first.")
    ] = False,
    report: Annotated[
        bool, typer.Option(help="Write report.html into the run folder; a study has one for all its runs.")
    ] = True,
    attached: Annotated[
        bool, typer.Option("--attached", hidden=True, help="End when standard input does.")
    ] = False,
) -> None:
    """Train one recipe, then predict and evaluate its test cases: one complete run folder."""
    if attached:
        end_with_parent()
    dataset = open_dataset(data, layout=layout)
    folder = complete_run(
        read_recipe(recipe), dataset, out, resume=resume, overwrite=overwrite, checked=checked
    )
    if folder.writes:
        if report:
            _write_report(folder, dataset)
        print_summary([folder.path / "metrics.csv"])
        typer.echo(f"run: {out}")


def _write_report(folder: RunFolder, dataset: Dataset) -> None:
    """Write the run's page, unless it has one of these results; the log says where the report extra lacks."""
    page, table = folder.path / "report.html", folder.path / "metrics.csv"
    if page.exists() and page.stat().st_mtime_ns >= table.stat().st_mtime_ns:
        return
    with folder.logging():
        try:
            with optional_libraries():
                # Late: a training needs no report, and so not the libraries of its extra.
                from sfumato.report import write_report
                from sfumato.report.assemble import assemble
        except MissingExtraError as error:
            LOG.warning("no report.html: %s; then sfumato report", error)
            return
        write_report(assemble(folder.path, source=dataset), page, overwrite=True)
        LOG.info("wrote %s", page.name)
