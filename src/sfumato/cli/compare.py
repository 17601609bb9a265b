"""``sfumato compare``: which method is better, and whether that can be told from chance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from sfumato.cli.console import wide_console
from sfumato.cli.printing import print_comparison
from sfumato.errors import InputError
from sfumato.evaluation.metrics_table import Better
from sfumato.output import require_free
from sfumato.statistics import ComparisonOptions, compare_methods
from sfumato.tables.comparison import FILES, write_comparison


def compare(
    tables: Annotated[
        list[Path],
        typer.Argument(
            metavar="METRICS.csv",
            help="Tables with the columns method, metric, value and one of case, run, seed, fold.",
        ),
    ],
    proposed: Annotated[str, typer.Option(help="The method that the others are tested against.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the tables: CSV, Markdown, LaTeX.")],
    unit: Annotated[
        Literal["case", "run", "fold"] | None,
        typer.Option(help="Unit of analysis. Default: case if the tables name several cases, else run."),
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Only this metric; may be repeated. Default: all known ones.")
    ] = None,
    test: Annotated[
        Literal["auto", "exact", "approx"],
        typer.Option(help="Wilcoxon's p. auto: exact up to n = 50 without ties, as SciPy chooses."),
    ] = "auto",
    spread: Annotated[
        Literal["sd", "se"], typer.Option(help="What follows ±: standard deviation or standard error.")
    ] = "sd",
    direction: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=up|down|zero", help="Where a further metric is better; may be repeated."
        ),
    ] = None,
    tie_digits: Annotated[
        int | None,
        typer.Option(help="Round differences to so many decimals before ranking. Default: as they come."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing tables.")] = False,
) -> None:
    """Compare methods: mean and spread, paired Wilcoxon tests against one of them, mean ranks, volumes."""
    options = ComparisonOptions(test=test, tie_digits=tie_digits, directions=_directions(direction or []))
    for name in FILES:
        require_free(out / name, overwrite=overwrite)
    comparison = compare_methods(tables, proposed=proposed, metrics=metric, unit=unit, options=options)
    write_comparison(comparison, out, spread=spread, overwrite=overwrite)
    print_comparison(comparison, spread=spread)
    line = f"{len(FILES)} tables written: {out}"
    wide_console().print(line, markup=False, highlight=False, soft_wrap=True)


def _directions(pairs: Sequence[str]) -> dict[str, Better]:
    directions: dict[str, Better] = {}
    for pair in pairs:
        name, _, value = pair.rpartition("=")
        if value not in ("up", "down", "zero") or not name:
            raise InputError(f"--direction {pair}: write METRIC=up, METRIC=down or METRIC=zero")
        directions[name] = value  # type: ignore[assignment]  # checked above, which mypy does not follow
    return directions
