"""The report's tables of numbers, computed from the tidy rows alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sfumato.errors import UnknownNameError
from sfumato.evaluation.rows import Row, aggregate
from sfumato.statistics.directions import Direction, direction_of, oriented
from sfumato.statistics.ranks import bootstrap_interval

WHOLE = "all"  # the structure of metrics that look at all classes at once
SUMMARY_METRICS = (
    "dice",
    "surface_dice",
    "hd95",
    "precision",
    "recall",
    "ece",
    "tace",
    "qubiq",
    "ged",
)
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Overlap": ("dice", "iou", "precision", "recall", "specificity", "soft_dice", "soft_iou", "mse"),
    "Surface and volume": (
        *("surface_dice", "hd95", "hd", "assd", "masd"),
        *("avd", "rvd", "volume", "volume_ref"),
    ),
    "Lesions": ("lesion_tpr", "lesion_fdr", "lesion_f1"),
    "Calibration": (
        *("ece", "ece_foreground", "ece_boundary", "classwise_ece", "mce", "ace"),
        *("tace", "brier", "nll"),
    ),
    "Several raters": (
        *("dice_raters_mean", "dice_raters_max", "iou_raters_mean", "iou_raters_max"),
        *("consensus_dice", "consensus_iou", "qubiq", "ged", "rater_dice"),
    ),
}
TITLES: Mapping[str, str] = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95": "HD95",
    "hd": "HD",
    "assd": "ASSD",
    "masd": "MASD",
    "surface_dice": "Surface Dice",
    "soft_dice": "Soft Dice",
    "soft_iou": "Soft IoU",
    "avd": "Abs. volume difference",
    "rvd": "Rel. volume difference",
    "volume": "Volume",
    "volume_ref": "Volume of reference",
    "lesion_tpr": "Lesion TPR",
    "lesion_fdr": "Lesion FDR",
    "lesion_f1": "Lesion F1",
    "mse": "MSE",
    "ece": "ECE",
    "ece_foreground": "ECE foreground",
    "ece_boundary": "ECE near the boundary",
    "classwise_ece": "Classwise ECE",
    "mce": "MCE",
    "ace": "ACE",
    "tace": "TACE",
    "nll": "NLL",
    "dice_raters_mean": "Dice, mean of raters",
    "dice_raters_max": "Dice, best rater",
    "iou_raters_mean": "IoU, mean of raters",
    "iou_raters_max": "IoU, best rater",
    "consensus_dice": "Dice with soft consensus",
    "consensus_iou": "IoU with soft consensus",
    "qubiq": "QUBIQ score",
    "ged": "GED",
    "rater_dice": "Dice between raters",
}
ARROWS: Mapping[Direction | None, tuple[str, str]] = {
    "up": ("↑", "higher is better"),
    "down": ("↓", "lower is better"),
    "zero": ("→0", "closer to 0 is better"),
    None: ("", ""),
}


@dataclass(frozen=True)
class Cell:
    """One mean in a table.

    Attributes:
        mean: Over cases; nan where no case has a value.
        deviation: Standard deviation over cases, ddof 1; nan for fewer than two.
        cases: Cases in the mean.
        undefined: Rows left out because their value is undefined.
        rank: 1 for the best of the column, 2 for the second, else 0.
        decimals: How many the column is printed with.
        low: Lower end of the 95 % bootstrap interval of the mean; nan for fewer than two cases.
        high: Its upper end.
    """

    mean: float
    deviation: float
    cases: int
    undefined: int
    rank: int = 0
    decimals: int = 3
    low: float = math.nan
    high: float = math.nan

    @property
    def text(self) -> str:
        """Mean and deviation as printed; a dash where there is none."""
        if math.isnan(self.mean):
            return "–"
        text = f"{self.printed:.{self.decimals}f}".replace("-", "−")
        return text if math.isnan(self.deviation) else f"{text} ± {self.deviation:.{self.decimals}f}"

    @property
    def interval(self) -> str:
        """The interval as printed; empty where there is none."""
        if math.isnan(self.low):
            return ""
        ends = (f"{round(end, self.decimals) + 0.0:.{self.decimals}f}" for end in (self.low, self.high))
        return f"[{', '.join(ends)}]".replace("-", "−")

    @property
    def printed(self) -> float:
        """The mean, rounded as it is printed; never minus zero."""
        return round(self.mean, self.decimals) + 0.0


@dataclass(frozen=True)
class Column:
    """One metric: its name in the rows, its title, unit, and which way is better."""

    metric: str
    unit: str
    direction: Direction | None

    @property
    def title(self) -> str:
        """The metric's name as people write it."""
        return metric_title(self.metric)

    @property
    def arrow(self) -> str:
        """Which way is better, as an arrow."""
        return ARROWS[self.direction][0]

    @property
    def hint(self) -> str:
        """Which way is better, and the unit, in words."""
        return ", ".join(part for part in (ARROWS[self.direction][1], f"unit: {self.unit}") if part)


@dataclass(frozen=True)
class Table:
    """Methods by metrics."""

    caption: str
    columns: tuple[Column, ...]
    lines: Mapping[str, tuple[Cell, ...]]


def metric_title(metric: str) -> str:
    """Give a metric's name as people write it; what stands behind an ``@`` is its convention."""
    name, _, convention = metric.partition("@")
    title = TITLES.get(name, name.replace("_", " ").capitalize())
    return f"{title} ({convention})" if convention else title


def metric_direction(metric: str) -> Direction | None:
    """Give which way a metric is better, or ``None`` for one that is not a score, as a volume."""
    try:
        return direction_of(metric)
    except UnknownNameError:
        return None


def consensus(rows: Iterable[Row]) -> list[Row]:
    """Leave out what is scored against single raters, except for a metric that has nothing else."""
    kept = list(rows)
    has = {row.metric for row in kept if not row.rater}
    return [row for row in kept if not row.rater or row.metric not in has]


def structures(rows: Iterable[Row]) -> tuple[str, ...]:
    """Give the structures in the order of first appearance."""
    return tuple(dict.fromkeys(row.structure for row in rows))


def per_case(rows: Iterable[Row], *, structure: str) -> list[Row]:
    """Average what one case has of one metric: its structures, seeds and folds.

    So the seeds of one case are never counted as independent. Undefined values are left out: a case is the
    mean over the structures that have a value, where the ``Average`` of the tests
    (:mod:`sfumato.statistics.units`) needs all of them. Scores against single raters count only where there
    is none against their consensus.

    Returns:
        One row per method, metric and case, named ``structure``; nan with the first reason where all of
        the case's values are undefined.
    """
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in consensus(rows):
        groups.setdefault((row.method, row.metric, row.dataset, row.case), []).append(row)
    found = []
    for group in groups.values():
        values = [row.value for row in group if row.status == "ok"]
        value = statistics.fmean(values) if values else math.nan
        status = "ok" if values else group[0].status
        found.append(
            replace(group[0], rater="", structure=structure, seed=None, fold=None, value=value, status=status)
        )
    return found


def summary_table(rows: Sequence[Row]) -> Table | None:
    """Make the main table: per method the mean over cases of the mean over structures.

    Returns:
        The table, or ``None`` where no row has a metric with a direction.
    """
    present = {row.metric for row in rows}
    chosen = [metric for metric in SUMMARY_METRICS if metric in present]
    if not chosen:
        chosen = [m for m in dict.fromkeys(row.metric for row in rows) if metric_direction(m) is not None][:8]
    return table_of(rows, chosen, caption="Mean ± SD over cases") if chosen else None


def structure_tables(rows: Sequence[Row]) -> dict[str, list[Table]]:
    """Make every structure's tables, one per group of metrics; nothing is left out."""
    found: dict[str, list[Table]] = {}
    for structure in structures(rows):
        mine = [row for row in rows if row.structure == structure]
        present = list(dict.fromkeys(row.metric for row in mine))
        grouped = {metric for group in GROUPS.values() for metric in group}
        groups = {**GROUPS, "Further metrics": tuple(m for m in present if m not in grouped)}
        for caption, metrics in groups.items():
            chosen = [metric for metric in metrics if metric in present]
            if chosen:
                found.setdefault(structure, []).append(table_of(mine, chosen, caption=caption))
    return found


def rater_table(rows: Sequence[Row], *, metric: str = "dice") -> dict[str, dict[str, Cell]]:
    """Score each method against each rater: method, then rater, to the mean over cases."""
    found: dict[str, dict[str, Cell]] = {}
    for rater in dict.fromkeys(row.rater for row in rows if row.rater):
        mine = [row for row in rows if row.rater == rater and row.metric == metric]
        for method, cell in _cells(mine).items():
            found.setdefault(method, {})[rater] = cell
    return found


def table_of(rows: Sequence[Row], metrics: Sequence[str], *, caption: str) -> Table:
    """Make a table of these metrics over all structures of ``rows``."""
    methods = tuple(dict.fromkeys(row.method for row in rows))
    columns: list[Column] = []
    lines: dict[str, list[Cell]] = {method: [] for method in methods}
    for metric in metrics:
        mine = [row for row in rows if row.metric == metric]
        direction = metric_direction(metric)
        unit = mine[0].unit if mine else ""
        cells = _ranked(_cells(mine), direction, unit)
        columns.append(Column(metric, unit, direction))
        for method in methods:
            lines[method].append(cells.get(method, Cell(math.nan, math.nan, 0, 0)))
    return Table(caption, tuple(columns), {method: tuple(cells) for method, cells in lines.items()})


def _cells(rows: Sequence[Row]) -> dict[str, Cell]:
    """Give each method's cell; ``rows`` are of one metric."""
    undefined: dict[str, int] = {}
    for row in consensus(rows):
        undefined[row.method] = undefined.get(row.method, 0) + (row.status != "ok")
    values: dict[str, list[float]] = {}
    averaged = per_case(rows, structure=WHOLE)
    for row in averaged:
        values.setdefault(row.method, []).extend([row.value] if row.status == "ok" else [])
    cells = {}
    for found in aggregate(averaged):
        low, high = bootstrap_interval(values[found.method])
        cells[found.method] = Cell(
            found.mean, found.deviation, found.defined, undefined[found.method], low=low, high=high
        )
    return cells


def _ranked(cells: Mapping[str, Cell], direction: Direction | None, unit: str) -> dict[str, Cell]:
    """Set the decimals and the ranks of one column; means that print alike share a rank.

    A method with more undefined values than another has no rank: a mean over the easier cases only must
    not look like the better one.
    """
    decimals = _decimals(cells.values(), direction, unit)
    found = {method: replace(cell, decimals=decimals) for method, cell in cells.items()}
    if direction is None or len(found) < 2:
        return found
    fewest = min(cell.undefined for cell in found.values())
    values = {
        method: cell.printed
        for method, cell in found.items()
        if not math.isnan(cell.mean) and cell.undefined == fewest
    }
    score = dict(zip(values, oriented(np.array(list(values.values())), direction).tolist(), strict=True))
    best = sorted(set(score.values()), reverse=True)[:2]
    ranks = {method: best.index(value) + 1 for method, value in score.items() if value in best}
    return {method: replace(cell, rank=ranks.get(method, 0)) for method, cell in found.items()}


def _decimals(cells: Iterable[Cell], direction: Direction | None, unit: str) -> int:
    """Give errors, which are small when good, a fourth decimal where three would make them all alike."""
    if unit in ("mm", "ml"):
        return 2
    if direction != "down":
        return 3
    means = [cell.mean for cell in cells if not math.isnan(cell.mean)]
    return 4 if means and (max(means) < 0.05 or (max(means) < 0.2 and min(means) < 0.01)) else 3


@dataclass(frozen=True)
class CaseLine:
    """One case: its mean Dice over all methods, and each method's over structures and runs."""

    case: str
    mean: float
    values: Mapping[str, float]


def case_lines(rows: Sequence[Row], *, metric: str = "dice") -> tuple[CaseLine, ...]:
    """Give the cases, worst first by the mean of the methods' values; cases without a value come last."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in per_case([row for row in rows if row.metric == metric], structure=WHOLE):
        found.setdefault(row.case, {}).setdefault(row.method, []).append(row.value)
    lines = []
    for case, values in found.items():
        means = {method: statistics.fmean(several) for method, several in values.items()}
        defined = [value for value in means.values() if not math.isnan(value)]
        lines.append(CaseLine(case, statistics.fmean(defined) if defined else math.nan, means))
    return tuple(sorted(lines, key=lambda line: (math.isnan(line.mean), line.mean, line.case)))
