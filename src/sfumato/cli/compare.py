"""``sfumato compare``: which method is better, and whether that can be told from chance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE_HEAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sfumato.statistics.comparison import Comparison
    from sfumato.statistics.directions import Direction
    from sfumato.tables.comparison import Cell, Layout


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
    from sfumato.cli.console import wide_console
    from sfumato.output import require_free
    from sfumato.statistics.comparison import compare_methods
    from sfumato.statistics.tests import ComparisonOptions
    from sfumato.tables.comparison import layouts

    options = ComparisonOptions(test=test, tie_digits=tie_digits, directions=_directions(direction or []))
    for name in FILES:
        require_free(out / name, overwrite=overwrite)
    comparison = compare_methods(tables, proposed=proposed, metrics=metric, unit=unit, options=options)
    laid_out = layouts(comparison, spread=spread)
    write_comparison(out, comparison, laid_out, spread, overwrite=overwrite)
    console = wide_console()
    print_comparison(console, comparison, laid_out, spread)
    console.print(f"{len(FILES)} tables written: {out}", markup=False, highlight=False, soft_wrap=True)


# What lies in --out afterwards.
FILES = (
    "table.csv",
    "table.md",
    "table.tex",
    "summary.csv",
    "tests.csv",
    "ranks.csv",
    "unmatched.csv",
    "volumes.csv",
    "notes.txt",
)


def print_comparison(
    console: Console, comparison: Comparison, laid_out: Sequence[Layout], spread: Literal["sd", "se"]
) -> None:
    """Print the tables, the tests, the mean ranks, the agreement of volumes, and what a reader must know."""
    from sfumato.tables.comparison import caption

    for table in laid_out:
        _print_table(console, table)
    for line in caption(comparison, spread=spread):
        console.print(line, markup=False, highlight=False)
    _print_tests(console, comparison)
    _print_ranks(console, comparison)
    _print_volumes(console, comparison)
    for note in comparison.notes:
        console.print(f"note: {note}", markup=False, highlight=False, style="yellow")


def _directions(pairs: Sequence[str]) -> dict[str, Direction]:
    from sfumato.errors import InputError

    found: dict[str, Direction] = {}
    for pair in pairs:
        name, _, value = pair.rpartition("=")
        if value not in ("up", "down", "zero") or not name:
            raise InputError(f"--direction {pair}: write METRIC=up, METRIC=down or METRIC=zero")
        found[name] = value  # type: ignore[assignment]  # checked above, which mypy does not follow
    return found


def _print_table(console: Console, layout: Layout) -> None:
    """Print one table per metric: a terminal is narrower than a page."""
    from rich.text import Text

    from sfumato.tables.comparison import ARROWS

    for metric in dict.fromkeys(heading.metric for heading in layout.headings):
        places = [i for i, heading in enumerate(layout.headings) if heading.metric == metric]
        first = layout.headings[places[0]]
        measure = f" [{first.measure}]" if first.measure else ""
        title = f"{layout.dataset} {metric}{measure} {ARROWS[first.direction]}".strip()
        table = _table(title, [layout.headings[i].structure for i in places])
        for method, cells in zip(layout.methods, layout.cells, strict=True):
            table.add_row(Text(method), *(_rich_cell(cells[i]) for i in places))
        console.print(table)


def _table(title: str, columns: Iterable[str]) -> Table:
    """An empty table of methods and numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title, style="bold"), box=SIMPLE_HEAD, header_style="bold")
    table.add_column("method", overflow="fold")
    for name in columns:
        table.add_column(Text(name), justify="right")
    return table


def _rich_cell(cell: Cell) -> Text:
    from rich.text import Text

    return Text(cell.plain(), style={"best": "bold", "second": "underline", "none": ""}[cell.emphasis])


def _print_tests(console: Console, comparison: Comparison) -> None:
    from rich.text import Text

    for key, group in comparison.tests.groupby(["dataset", "metric", "structure", "rater"], sort=False):
        where = ", ".join(filter(None, map(str, key)))
        title = f"{where}: Wilcoxon signed-rank against {comparison.proposed}, unit {comparison.unit}"
        table = _table(title, ("n", "win/tie/loss", "p", "test", "p (Holm)", "effect"))
        for row in group.to_dict("records"):
            table.add_row(
                Text(str(row["method"])),
                str(row["n"]),
                f"{row['wins']}/{row['ties']}/{row['losses']}",
                f"{row['p']:.3g}",
                str(row["test"]),
                f"{row['p_holm']:.3g}",
                f"{row['rank_biserial']:.2f}",
            )
        console.print(table)


def _print_ranks(console: Console, comparison: Comparison) -> None:
    for key, group in comparison.ranks.groupby(["dataset", "metric", "structure", "rater"], sort=False):
        first = group.iloc[0]
        if len(group) < 2 or first["n"] == 0:
            continue
        ranks = ", ".join(f"{row['method']} {row['mean_rank']:.2f}" for row in group.to_dict("records"))
        line = (
            f"mean ranks, {', '.join(filter(None, map(str, key)))}: {ranks} (n = {first['n']}, "
            f"Friedman p {first['p']:.3g}, Nemenyi critical difference {first['critical_difference']:.2f})"
        )
        console.print(line, markup=False, highlight=False)


def _print_volumes(console: Console, comparison: Comparison) -> None:
    from rich.text import Text

    for key, group in comparison.volumes.groupby(["dataset", "structure", "rater", "unit"], sort=False):
        dataset, structure, rater, unit = map(str, key)
        where = ", ".join(filter(None, (dataset, structure, rater)))
        title = f"{where}: predicted against reference volume [{unit}]"
        table = _table(title, ("n", "r (Pearson)", "mean difference", "95 % limits of agreement", "status"))
        for row in group.to_dict("records"):
            table.add_row(
                Text(str(row["method"])),
                str(row["n"]),
                f"{row['correlation']:.3f}",
                f"{row['mean_difference']:.3g}",
                f"{row['lower']:.3g} to {row['upper']:.3g}",
                str(row["status"]),
            )
        console.print(table)


def write_comparison(
    out: Path,
    comparison: Comparison,
    laid_out: Sequence[Layout],
    spread: Literal["sd", "se"],
    *,
    overwrite: bool,
) -> None:
    """Write every table of :data:`FILES` to the folder ``out``."""
    from sfumato.output import atomic_output
    from sfumato.tables.comparison import csv_text, latex_text, markdown_text

    texts = {
        "table.csv": csv_text(laid_out),
        "table.md": markdown_text(laid_out, comparison, spread=spread),
        "table.tex": latex_text(laid_out, comparison, spread=spread),
        "summary.csv": comparison.summary.to_csv(index=False, na_rep="nan"),
        "tests.csv": comparison.tests.to_csv(index=False, na_rep="nan"),
        "ranks.csv": comparison.ranks.to_csv(index=False, na_rep="nan"),
        "unmatched.csv": comparison.unmatched.to_csv(index=False),
        "volumes.csv": comparison.volumes.to_csv(index=False, na_rep="nan"),
        "notes.txt": "".join(f"{note}\n" for note in comparison.notes),
    }
    for name in FILES:
        with atomic_output(out / name, overwrite=overwrite) as temporary:
            temporary.write_text(texts[name], encoding="utf-8")
