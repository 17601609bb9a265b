"""``sfumato report``: one page of tables, figures and cases from a folder of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.options import DatasetLayout
from sfumato.errors import ValueRangeError
from sfumato.output import require_free
from sfumato.report import assemble, with_tests, write_report
from sfumato.statistics import compare_methods


def report(
    runs: Annotated[Path, typer.Argument(help="Folder that holds the run folders, or one run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, report.html; figures/ goes beside it.")],
    title: Annotated[str, typer.Option(help="Heading; by default the data set's name.")] = "",
    data: Annotated[
        str | None,
        typer.Option(help="The data set, where it no longer lies where the runs read it; as for train."),
    ] = None,
    layout: DatasetLayout = "auto",
    proposed: Annotated[
        str | None, typer.Option(help="Test every method against this one, as sfumato compare does.")
    ] = None,
    max_cases: Annotated[int, typer.Option(help="Cases in the viewer, the worst and the best first.")] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing page.")] = False,
) -> None:
    """Write one self-contained HTML page: tables, calibration, curves and a viewer of the cases."""
    if max_cases < 0:
        raise ValueRangeError(f"--max-cases is {max_cases}: it must be 0 or more")
    require_free(out, overwrite=overwrite)
    shown = assemble(runs, title=title, source=data, layout=layout, max_cases=max_cases)
    if proposed is not None:
        shown = with_tests(shown, compare_methods(shown.rows, proposed=proposed))
    path = write_report(shown, out, overwrite=overwrite)
    typer.echo(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
