"""The table that ends a job: mean and spread over cases, best in bold."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.table import Table

from sfumato.cli.console import wide_console
from sfumato.evaluation.rows import Row, Summary, aggregate, read_rows

COLUMNS = ("dice", "iou", "hd95", "surface_dice", "avd", "mse", "ece", "tace")
HIGHER_IS_BETTER = {"dice", "iou", "surface_dice", "precision", "recall", "soft_dice", "soft_iou"}


def print_summary(tables: Iterable[Path]) -> None:
    """Print one line per method and structure of these ``metrics.csv`` files."""
    rows: list[Row] = [row for table in tables for row in read_rows(table)]
    if not rows:
        wide_console().print("no test case was evaluated")
        return
    summaries = {
        ("@".join(filter(None, (item.structure, item.rater))), item.method, item.metric): item
        for item in aggregate(rows)
    }
    metrics = [name for name in COLUMNS if any(key[2] == name for key in summaries)]
    table = Table(title="Test cases: mean ± SD over cases (undefined values)", header_style="bold")
    for heading in ("structure", "method", *(_heading(name, summaries) for name in metrics)):
        table.add_column(
            heading,
            justify="left" if heading in ("structure", "method") else "right",
            no_wrap=heading == "method",
        )
    structures = dict.fromkeys(key[0] for key in summaries)
    for structure in structures:
        methods = dict.fromkeys(key[1] for key in summaries if key[0] == structure)
        best = {name: _best(summaries, structure, list(methods), name) for name in metrics}
        for method in methods:
            cells = [_cell(summaries.get((structure, method, name)), best[name]) for name in metrics]
            table.add_row(structure, method, *cells)
        table.add_section()
    wide_console().print(table)


def _heading(metric: str, summaries: dict[tuple[str, str, str], Summary]) -> str:
    unit = next(item.unit for key, item in summaries.items() if key[2] == metric)
    arrow = "↑" if metric in HIGHER_IS_BETTER else "↓"
    return f"{metric} {arrow}" + ("" if unit == "fraction" else f" {unit}")


def _best(
    summaries: dict[tuple[str, str, str], Summary], structure: str, methods: list[str], metric: str
) -> float | None:
    found = [summaries[key] for method in methods if (key := (structure, method, metric)) in summaries]
    values = [item.mean for item in found if item.defined]
    if len(values) < 2:
        return None
    return max(values) if metric in HIGHER_IS_BETTER else min(values)


def _cell(summary: Summary | None, best: float | None) -> str:
    if summary is None:
        return ""
    if not summary.defined:
        return f"undefined ({summary.undefined})"
    spread = "" if summary.defined < 2 else f" ± {summary.deviation:.3f}"
    text = f"{summary.mean:.3f}{spread}" + (f" ({summary.undefined})" if summary.undefined else "")
    return f"[bold]{text}[/bold]" if summary.mean == best else text
