"""A comparison's tables, laid out as in papers: a row per method, columns per metric and structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sfumato.checks import require_choice
from sfumato.output import atomic_output
from sfumato.statistics import Comparison, direction_of
from sfumato.statistics.units import AVERAGE, labels
from sfumato.tables.render import csv_text, latex, markdown, markdown_escaped
from sfumato.tables.results import SPREADS, Spread, aggregation, average_meaning, method_table, result_cells
from sfumato.tables.table import Cell, Heading, Table, number, record_table, short

# What write_comparison leaves in its folder.
FILES = (
    *("table.csv", "table.md", "table.tex", "summary.csv", "tests.csv", "ranks.csv", "unmatched.csv"),
    *("volumes.csv", "notes.txt"),
)
_PLACE = ["dataset", "metric", "structure", "rater"]


def comparison_tables(comparison: Comparison, *, spread: Spread = "sd") -> list[Table]:
    """Lay a comparison out, one table per data set, the proposed method last.

    Args:
        comparison: Of :func:`~sfumato.statistics.comparison.compare_methods`.
        spread: What follows ±: ``sd`` over units (ddof 1), or ``se``.

    Raises:
        UnknownNameError: There is no such spread.
    """
    require_choice("spread", spread, tuple(SPREADS))
    marks = _marks(comparison)
    tables = []
    for dataset, summary in comparison.summary.groupby("dataset", sort=False):
        columns = []
        for key, group in summary.groupby(["metric", "structure", "rater"], sort=False):
            rows = group.set_index("method", drop=False).loc[list(comparison.methods)]
            direction = direction_of(str(key[0]), comparison.options.directions)
            heading = Heading(labels(rows)[0], str(key[0]), str(rows["measure"].iloc[0]), direction)
            of_methods = [marks.get((dataset, *key, method), "") for method in comparison.methods]
            columns.append((heading, result_cells(rows, direction, spread=spread, marks=of_methods)))
        tables.append(method_table(str(dataset), comparison.methods, columns, first="method"))
    return tables


def _marks(comparison: Comparison) -> dict[tuple[object, ...], str]:
    """Mark what differs from the proposed method: ``*`` after Holm's correction, ``†`` before it only."""
    tests, alpha = comparison.tests, comparison.options.alpha
    places = tests[[*_PLACE, "method"]].itertuples(index=False, name=None)
    numbers = zip(places, tests["significant"], tests["p"], strict=True)
    return {place: "*" if significant else "†" if p < alpha else "" for place, significant, p in numbers}


def caption(comparison: Comparison, *, spread: Spread = "sd") -> list[str]:
    """Say in sentences what the tables show: unit of analysis, test, correction, marks."""
    tests = sorted(set(comparison.tests["test"]) - {"none"})
    lines = [
        f"{aggregation(comparison.unit, spread=spread)}; unit of analysis: {comparison.unit}.",
        "Best in bold, second underlined; a method with more undefined values than another is neither.",
    ]
    if tests:
        alpha = comparison.options.alpha
        lines += [
            f"Two-sided Wilcoxon signed-rank test against {comparison.proposed}, p {' or '.join(tests)}.",
            f"* p < {alpha:g} after Holm's correction over the methods of a column; "
            f"† p < {alpha:g} before correction only.",
        ]
    if AVERAGE in set(comparison.summary["structure"]):
        lines.append(average_meaning(comparison.unit))
    return lines


def reader_tests(comparison: Comparison) -> list[dict[str, Any]]:
    """List the tests for a reader, one mapping each, without what only a program needs."""
    names = ["metric", "structure", "method", "n", "wins", "ties", "losses", "p", "test", "p_holm"]
    tests = comparison.tests.assign(structure=labels(comparison.tests))
    names = ["dataset", *names] if tests["dataset"].nunique() > 1 else names
    return _records(tests[[*names, "rank_biserial"]])


def markdown_text(comparison: Comparison, *, spread: Spread = "sd") -> str:
    """Write the tables, the tests and the notes as Markdown."""
    parts = []
    for table in comparison_tables(comparison, spread=spread):
        parts += [f"## {markdown_escaped(table.title)}"] if table.title else []
        parts += [markdown(page) for page in table.pages()]
    parts.append(" ".join(markdown_escaped(line) for line in caption(comparison, spread=spread)))
    if not comparison.tests.empty:
        parts += ["## Tests", markdown(record_table("", reader_tests(comparison)))]
    if comparison.notes:
        parts.append("\n".join(f"- {markdown_escaped(note)}" for note in comparison.notes))
    return "\n\n".join(parts) + "\n"


def latex_text(comparison: Comparison, *, spread: Spread = "sd") -> str:
    r"""Write the tables as LaTeX, ready for ``\input``; they need the package ``booktabs``."""
    text = " ".join(caption(comparison, spread=spread))
    tables = comparison_tables(comparison, spread=spread)
    pages = [page for table in tables for page in table.pages()]
    parts = [latex(page, caption=f"{page.title}. {text}" if page.title else text) for page in pages]
    return "\n\n".join(["% needs \\usepackage{booktabs}", *parts]) + "\n"


def terminal_tables(comparison: Comparison, *, spread: Spread = "sd") -> Iterator[Table | str]:
    """List what is printed: tables, their caption, tests, mean ranks and the agreement of volumes."""
    for table in comparison_tables(comparison, spread=spread):
        yield from table.by_group()
    yield from caption(comparison, spread=spread)
    for where, rows in _grouped(comparison.tests, _PLACE):
        title = f"{where}: Wilcoxon signed-rank against {comparison.proposed}, unit {comparison.unit}"
        yield record_table(title, [_test_line(row) for row in rows])
    for where, rows in _grouped(comparison.ranks, _PLACE):
        if len(rows) > 1 and rows[0]["n"]:
            yield _rank_line(where, rows)
    for where, rows in _grouped(comparison.volumes, ["dataset", "structure", "rater"]):
        title = f"{where}: predicted against reference volume [{rows[0]['unit']}]"
        yield record_table(title, [_volume_line(row) for row in rows])


def _grouped(table: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Cut a table into the rows of each place, with the place's name."""
    for key, group in table.groupby(list(names), sort=False):
        yield ", ".join(filter(None, map(str, key))), _records(group)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _test_line(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": row["method"],
        "n": row["n"],
        "win/tie/loss": Cell(f"{row['wins']}/{row['ties']}/{row['losses']}"),
        "p": row["p"],
        "test": row["test"],
        "p (Holm)": row["p_holm"],
        "effect": Cell(number(row["rank_biserial"], 2)),
    }


def _rank_line(where: str, rows: Sequence[dict[str, Any]]) -> str:
    first = rows[0]
    ranks = ", ".join(f"{row['method']} {row['mean_rank']:.2f}" for row in rows)
    return (
        f"mean ranks, {where}: {ranks} (n = {first['n']}, Friedman p {first['p']:.3g}, "
        f"Nemenyi critical difference {first['critical_difference']:.2f})"
    )


def _volume_line(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": row["method"],
        "n": row["n"],
        "r (Pearson)": Cell(number(row["correlation"], 3)),
        "mean difference": row["mean_difference"],
        "95 % limits of agreement": Cell(f"{short(row['lower'])} to {short(row['upper'])}"),
        "status": row["status"],
    }


def write_comparison(
    comparison: Comparison, out: Path, *, spread: Spread = "sd", overwrite: bool = False
) -> None:
    """Write every table of :data:`FILES` to the folder ``out``.

    Raises:
        OutputExistsError: One of them exists and ``overwrite`` is off.
    """
    tables = comparison_tables(comparison, spread=spread)
    texts = {
        "table.csv": csv_text(tables, first="dataset"),
        "table.md": markdown_text(comparison, spread=spread),
        "table.tex": latex_text(comparison, spread=spread),
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
