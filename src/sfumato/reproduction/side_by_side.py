"""Our numbers beside the published ones: the same averages, the same kind of spread, the same units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sfumato.reproduction.experiments import DataPart, Experiment, Measure, Training
from sfumato.reproduction.published import FACTORS, PublishedRow, RowKey, SpreadKind
from sfumato.statistics.tidy import Rows, tidy
from sfumato.statistics.units import AVERAGE, labels, scores_of

NO_RUN = "no finished run"
SpreadMeaning = SpreadKind | Literal["std_over_runs_and_cases"]


@dataclass(frozen=True)
class Ours:
    """One of our numbers, in the unit of the table it goes with.

    Attributes:
        mean: nan where there is none.
        spread: Standard deviation (ddof 1) or standard error; nan for fewer than two values.
        spread_kind: What ``spread`` is.
        count: Runs or cases (``std_over_cases``, ``none``) that the mean is over; 0: no number.
        undefined: Values without a number, which are left out.
    """

    mean: float
    spread: float
    spread_kind: SpreadMeaning
    count: int
    undefined: int = 0


@dataclass(frozen=True)
class Compared:
    """One place of a table: what is printed there, and what came out here.

    Attributes:
        part: The data set.
        training: The row.
        metric: The table's metric.
        structure: The table's structure.
        unit: The table's unit.
        published: The printed number; None where the paper prints none.
        ours: Our number.
        absent: Why its training has no finished run, where it has none.
    """

    part: DataPart
    training: Training
    metric: str
    structure: str
    unit: str
    published: PublishedRow | None
    ours: Ours
    absent: str = NO_RUN

    @property
    def missing(self) -> bool:
        """We have no number."""
        return math.isnan(self.ours.mean)

    @property
    def difference(self) -> float:
        """Ours minus published, of the numbers as they are; nan where one is absent."""
        return self.ours.mean - self.published.value if self.published else math.nan

    @property
    def within(self) -> bool | None:
        """Is the difference at most the published spread? None where one of the three is absent."""
        if self.published is None or self.missing or math.isnan(self.published.deviation):
            return None
        # Decimals are no exact binary fractions; a difference equal to the spread is within all the same.
        return abs(self.difference) <= self.published.deviation * (1 + 1e-9) + 1e-12


def side_by_side(
    experiment: Experiment, values: Mapping[str, Rows], *, absent: Mapping[tuple[str, str], str] | None = None
) -> tuple[Compared, ...]:
    """Put every number of an experiment beside ours.

    Args:
        experiment: What is printed, and what our names for it are.
        values: Layout of a data set to its runs' ``metrics.csv`` files, or their rows; a data set that is
            absent, or a training without rows, leaves its cells without a number of ours.
        absent: (Layout of a data set, training) to why there is no run of it, in a few words.

    Returns:
        One cell per data set, metric, structure and training, in this order. A number of ours is made as the
        published one: over runs, each the mean over its test cases (standard deviation or standard error);
        or over test cases, each the mean over its runs. An average over structures is taken within each run;
        over cases it is the mean of the structures' means, and its spread the mean of their spreads, as
        SVLS's table 1 prints it.

    Raises:
        InputError: a training has two values for one seed, fold and case.
    """
    cells: list[Compared] = []
    for part in experiment.content.data:
        rows = _one_column(tidy(values[part.layout])) if part.layout in values else None
        for metric, measure in part.metrics.items():
            for structure, names in measure.structures.items():
                for training in experiment.trainings(part.layout):
                    printed = published_row(experiment, part, training, metric, structure)
                    kind = _spread_kind(experiment, part, printed, metric)
                    ours = _ours(rows, measure, names, training.name, kind)
                    reason = (absent or {}).get((part.layout, training.name), NO_RUN)
                    cells.append(
                        Compared(part, training, metric, structure, measure.unit, printed, ours, reason)
                    )
    return tuple(cells)


def published_row(
    experiment: Experiment, part: DataPart, training: Training, metric: str, structure: str
) -> PublishedRow | None:
    """Return the printed number of one training, metric and structure; None where there is none."""
    if training.row is None:
        return None
    printed = training.row
    key = RowKey(part.dataset, training.architecture, printed.method, printed.label, printed.loss)
    for row in experiment.rows.get(key, ()):
        if (row.metric, row.structure) == (metric, structure):
            return row
    return None


def _spread_kind(
    experiment: Experiment, part: DataPart, row: PublishedRow | None, metric: str
) -> SpreadMeaning:
    """The table's kind of spread: of the number itself, else of the same metric elsewhere in the tables."""
    if part.spread == "pooled":
        return "std_over_runs_and_cases"
    if row is not None:
        return row.spread_kind
    kinds = (row.spread_kind for rows in experiment.rows.values() for row in rows if row.metric == metric)
    return next(kinds, "none")


def _one_column(rows: pd.DataFrame) -> pd.DataFrame:
    """Name structures and raters in one column, as experiments do: ``nodule@rater2``."""
    return rows.assign(structure=labels(rows), rater="")


def _ours(
    rows: pd.DataFrame | None, measure: Measure, structures: Sequence[str], method: str, kind: SpreadMeaning
) -> Ours:
    if rows is None:
        return Ours(math.nan, math.nan, kind, 0)
    of_method = (rows["method"] == method) & (rows["metric"] == measure.ours)
    mine = rows[of_method & rows["structure"].isin(structures)]
    undefined = int(mine["value"].isna().sum())
    if set(mine["structure"]) != set(structures):
        return Ours(math.nan, math.nan, kind, 0, undefined)
    mean, spread, count = _averaged(mine, method, kind)
    factor = FACTORS[measure.unit]
    return Ours(mean * factor, spread * factor, kind, count, undefined)


def _averaged(rows: pd.DataFrame, method: str, kind: SpreadMeaning) -> tuple[float, float, int]:
    if kind in ("std_over_cases", "none"):
        alone = [scores.of(method) for scores in scores_of(rows, "case") if scores.structure != AVERAGE]
        pairs = [_mean_and_deviation(list(values)) for values in alone]
        mean, deviation = (float(np.mean([pair[i] for pair in pairs])) for i in (0, 1))
        return mean, math.nan if kind == "none" else deviation, min(map(len, alone))
    if kind == "std_over_runs_and_cases":
        pooled = list(rows["value"].dropna())
        return *_mean_and_deviation(pooled), len(pooled)
    # The last scores are the average over structures, or those of the only one.
    runs = list(scores_of(rows, "run")[-1].of(method))
    mean, deviation = _mean_and_deviation(runs)
    if kind == "standard_error":
        deviation /= math.sqrt(max(len(runs), 1))
    return mean, deviation, len(runs)


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return math.nan, math.nan
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
