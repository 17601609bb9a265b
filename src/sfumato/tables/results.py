"""Tables of results: every method's mean and spread, laid out for a page, a terminal or a report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sfumato.evaluation.metrics_table import Better
from sfumato.statistics.directions import oriented
from sfumato.statistics.summary import overall, summary_table
from sfumato.statistics.tidy import Rows, tidy
from sfumato.statistics.units import AVERAGE, Unit, consensus, labels, unit_values
from sfumato.tables.metrics import grouped_metrics, metric_direction, metric_title, metrics_shown_in
from sfumato.tables.table import MISSING, Cell, Heading, Table, decimals_of, number, record_table, with_spread

Spread = Literal["sd", "se"]
SPREADS = {"sd": "standard deviation", "se": "standard error"}


def aggregation(unit: Unit, *, spread: Spread = "sd") -> str:
    """Name the aggregation that every table of results shows."""
    return f"Mean ± {SPREADS[spread]} over {unit}s"


def average_meaning(unit: Unit) -> str:
    """Say what the average over structures is."""
    return (
        f"{AVERAGE}: mean over structures within each {unit} that has a value in all of them; "
        "the others are left out."
    )


def result_cells(
    summary: pd.DataFrame,
    direction: Better | None,
    *,
    spread: Spread = "sd",
    decimals: int | None = None,
    marks: Sequence[str] = (),
) -> tuple[Cell, ...]:
    """Write one column: each method's mean and spread, the best and the second best emphasised.

    Means that print alike share their place, and a column of fewer than two different means has none. A
    method with more undefined values than another has no place: a mean over the easier cases only must not
    look like the better one.

    Args:
        summary: One row of :func:`~sfumato.statistics.summary.summary_table` per method.
        direction: Which way is better; None for what is no score.
        spread: What follows ±.
        decimals: None takes as many as the column's largest mean needs for three digits, at least 3 for
            fractions and 2 otherwise.
        marks: One mark per method.
    """
    means = summary["mean"].astype(float).tolist()
    if decimals is None:
        decimals = decimals_of(means, str(summary["measure"].iloc[0]))
    records = summary.to_dict("records")
    printed = np.array([round(mean, decimals) for mean in means])
    ranks = _ranks(printed, summary["undefined"].to_numpy(), direction)
    cells = []
    for record, rank, mark in zip(records, ranks, marks or [""] * len(records), strict=True):
        text, width = (number(record[name], decimals, missing="") for name in ("mean", spread))
        ends = [number(record[name], decimals, missing="") for name in ("ci_low", "ci_high")]
        interval = f"[{', '.join(ends)}]" if all(ends) else ""
        text = with_spread(text, width) or "–"
        cells.append(
            Cell(text, record["mean"], ("", "best", "second")[rank], mark, record["undefined"], interval)
        )
    return tuple(cells)


def _ranks(means: np.ndarray, undefined: np.ndarray, direction: Better | None) -> list[int]:
    if direction is None:
        return [0] * len(means)
    better = np.where(undefined == undefined.min(), oriented(means, direction), np.nan)
    ladder = sorted(set(better[~np.isnan(better)].tolist()), reverse=True)
    places = {value: place for place, value in enumerate(ladder[:2], start=1)} if len(ladder) > 1 else {}
    return [places.get(value, 0) for value in better.tolist()]


def method_table(
    title: str, methods: Sequence[str], columns: Sequence[tuple[Heading, Sequence[Cell]]], *, first: str
) -> Table:
    """Put columns side by side, a row per method; the methods' own column is headed ``first``."""
    headings = (Heading(first, numeric=False), *(heading for heading, _ in columns))
    cells = zip(map(Cell, methods), *(cells for _, cells in columns), strict=True)
    return Table(title, headings, tuple(cells))


def report_summary(rows: Rows) -> pd.DataFrame:
    """Summarise the cases for a report: scores against the raters' consensus, where there is one."""
    return summary_table(consensus(tidy(rows)), unit="case")


def overall_tables(summary: pd.DataFrame) -> list[Table]:
    """Make the main table of every data set: a column per important metric, averaged over structures."""
    tables = []
    for dataset, part in overall(summary).groupby("dataset", sort=False):
        present = list(part["metric"].unique())
        chosen = metrics_shown_in("summary", present)
        chosen = chosen or [metric for metric in present if metric_direction(metric)][:8]
        tables += [_metric_table(str(dataset), part, chosen)] if chosen else []
    return tables


def structure_tables(summary: pd.DataFrame) -> dict[str, list[Table]]:
    """Make every structure's tables, one per group of metrics; nothing is left out."""
    tables: dict[str, list[Table]] = {}
    several = summary["dataset"].nunique() > 1
    shown = summary[summary["structure"] != AVERAGE]
    for (dataset, structure), part in shown.groupby(["dataset", "structure"], sort=False):
        name = f"{dataset}, {structure}" if several else str(structure)
        for title, metrics in grouped_metrics(part["metric"].unique()).items():
            tables.setdefault(name, []).append(_metric_table(title, part, metrics))
    return tables


def _metric_table(title: str, summary: pd.DataFrame, metrics: Sequence[str]) -> Table:
    columns = []
    for metric in metrics:
        rows = summary[summary["metric"] == metric]
        direction = metric_direction(metric)
        unit = str(rows["measure"].iloc[0])
        heading = Heading(metric_title(metric), unit=unit, direction=direction, metric=metric)
        columns.append((heading, result_cells(rows, direction)))
    return method_table(title, list(summary["method"].unique()), columns, first="Method")


def rater_table(rows: Rows, *, metric: str = "dice") -> Table | None:
    """Score each method against each rater; None where nothing is scored against single raters."""
    checked = tidy(rows)
    checked = checked[(checked["metric"] == metric) & (checked["rater"] != "")]
    if checked.empty:
        return None
    columns = []
    for rater, part in checked.groupby("rater", sort=False):
        summary = overall(summary_table(part.assign(rater=""), unit="case", resamples=0))
        by_method = summary.set_index("method").reindex(checked["method"].unique())
        by_method["undefined"] = by_method["undefined"].fillna(0).astype(int)
        columns.append((Heading(str(rater)), result_cells(by_method.reset_index(), None)))
    return method_table("", list(checked["method"].unique()), columns, first="Method")


def terminal_table(rows: Rows) -> Table:
    """Make the table that ends a job: a row per structure and method, a column per important metric."""
    summary = summary_table(rows, unit="case", resamples=0)
    summary = summary[summary["structure"] != AVERAGE]
    summary = summary.assign(structure=labels(summary))
    metrics = metrics_shown_in("terminal", set(summary["metric"]))
    headings = [Heading(name, numeric=False) for name in ("structure", "method")]
    for metric in metrics:
        unit = summary.loc[summary["metric"] == metric, "measure"].iloc[0]
        headings.append(Heading(metric, unit=str(unit), direction=metric_direction(metric)))
    lines: list[tuple[Cell, ...]] = []
    for structure, part in summary.groupby("structure", sort=False):
        methods = part["method"].unique()
        columns = []
        for metric in metrics:
            of_metric = part[part["metric"] == metric]
            blank = (Cell(""),) * len(methods)
            cells = (
                blank if of_metric.empty else result_cells(of_metric, metric_direction(metric), decimals=3)
            )
            columns.append(cells)
        names = map(Cell, methods)
        lines += zip((Cell(str(structure)),) * len(methods), names, *columns, strict=True)
    return Table("Test cases: mean ± SD over cases (undefined values)", tuple(headings), tuple(lines))


def means_table(rows: Rows, *, title: str) -> Table:
    """Make a table of one method's means, a row per structure and metric; single raters are left out."""
    summary = summary_table(rows, unit="case", resamples=0)
    summary = summary[(summary["structure"] != AVERAGE) & (summary["rater"] == "")]
    lines = [
        {
            "structure": row["structure"],
            "metric": row["metric"],
            "mean": _four_digits(row["mean"]),
            "SD": _four_digits(row["sd"]),
            "unit": row["measure"],
            "n": row["n"],
            "undefined": row["undefined"],
        }
        for row in summary.to_dict("records")
    ]
    return record_table(title, lines)


def _four_digits(value: float) -> Cell:
    return Cell(MISSING if math.isnan(value) else f"{value:.4g}", value)


@dataclass(frozen=True)
class CaseLine:
    """One case: its mean Dice over all methods, and each method's over structures and runs."""

    case: str
    mean: float
    values: Mapping[str, float]


def case_lines(rows: Rows, *, metric: str = "dice") -> tuple[CaseLine, ...]:
    """List the cases, worst first by the mean of the methods' values; cases without a value come last."""
    checked = consensus(tidy(rows))
    checked = checked[checked["metric"] == metric]
    values = overall(unit_values(checked, unit="case")) if len(checked) else checked.assign(unit=[])
    lines = []
    for case in checked["case"].unique():
        mine = values[values["unit"] == case]
        means = {str(name): float(part.mean()) for name, part in mine.groupby("method", sort=False)["value"]}
        lines.append(CaseLine(str(case), statistics.fmean(means.values()) if means else math.nan, means))
    return tuple(sorted(lines, key=lambda line: (math.isnan(line.mean), line.mean, line.case)))
