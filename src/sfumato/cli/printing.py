"""Tables of results on standard output."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sfumato.cli.console import wide_console
from sfumato.evaluation.rows import read_rows
from sfumato.statistics import Comparison
from sfumato.tables.comparison import terminal_tables
from sfumato.tables.results import Spread, terminal_table
from sfumato.tables.table import Table
from sfumato.tables.terminal import terminal


def print_summary(tables: Iterable[Path]) -> None:
    """Print one line per method and structure of these ``metrics.csv`` files."""
    rows = [row for table in tables for row in read_rows(table)]
    shown = terminal(terminal_table(rows), boxed=True) if rows else "no test case was evaluated"
    wide_console().print(shown)


def print_comparison(comparison: Comparison, *, spread: Spread = "sd") -> None:
    """Print the tables, the tests, the mean ranks, the agreement of volumes, and what a reader must know."""
    console = wide_console()
    for shown in terminal_tables(comparison, spread=spread):
        if isinstance(shown, Table):
            console.print(terminal(shown))
        else:
            console.print(shown, markup=False, highlight=False)
    for note in comparison.notes:
        console.print(f"note: {note}", markup=False, highlight=False, style="yellow")
