"""Our numbers beside the published ones: the same averages, the same kind of spread, the same units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sfumato.reproduction.experiments import DataPart, Experiment, Measure, Training
from sfumato.reproduction.published import FACTORS, PublishedRow, RowKey, SpreadKind
from sfumato.statistics.tidy import Value
from sfumato.statistics.units import Column, Series, columns, method_units

NO_RUN = "no finished run"
Kind = SpreadKind | Literal["std_over_runs_and_cases"]


@dataclass(frozen=True)
class Ours:
    """One of our numbers, in the unit of the table it goes with.

    Attributes:
        mean: nan where there is none.
        spread: Standard deviation (ddof 1) or standard error; nan for fewer than two values.
        kind: What ``spread`` is.
        count: Runs or cases (``std_over_cases``, ``none``) that the mean is over; 0: no number.
        undefined: Values without a number, which are left out.
    """

    mean: float
    spread: float
    kind: Kind
    count: int
    undefined: int = 0


@dataclass(frozen=True)
class Cell:
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
    experiment: Experiment,
    values: Mapping[str, Sequence[Value]],
    *,
    absent: Mapping[tuple[str, str], str] | None = None,
) -> tuple[Cell, ...]:
    """Put every number of an experiment beside ours.

    Args:
        experiment: What is printed, and what our names for it are.
        values: Kind of data set to the rows of its runs' ``metrics.csv``; a data set that is absent, or
            a training without rows, leaves its cells without a number of ours.
        absent: (Kind of data set, training) to why there is no run of it, in a few words.

    Returns:
        One cell per data set, metric, structure and training, in this order. A number of ours is made as the
        published one: over runs, each the mean over its test cases (standard deviation or standard error);
        or over test cases, each the mean over its runs. An average over structures is taken within each run;
        over cases it is the mean of the structures' means, and its spread the mean of their spreads, as
        SVLS's table 1 prints it.

    Raises:
        InputError: a training has two values for one seed, fold and case.
    """
    cells: list[Cell] = []
    for part in experiment.content.data:
        found = {(each.metric, each.structure): each for each in columns(values.get(part.kind, ()))}
        for metric, measure in part.metrics.items():
            for structure in measure.structures:
                for training in experiment.trainings(part.kind):
                    row = published_row(experiment, part, training, metric, structure)
                    kind = _spread_kind(experiment, part, row, metric)
                    ours = _ours(found, measure, structure, training.name, kind)
                    reason = (absent or {}).get((part.kind, training.name), NO_RUN)
                    cells.append(Cell(part, training, metric, structure, measure.unit, row, ours, reason))
    return tuple(cells)


def published_row(
    experiment: Experiment, part: DataPart, training: Training, metric: str, structure: str
) -> PublishedRow | None:
    """Give the printed number of one training, metric and structure; None where there is none."""
    if training.row is None:
        return None
    printed = training.row
    key = RowKey(part.dataset, training.architecture, printed.method, printed.label, printed.loss)
    for row in experiment.rows.get(key, ()):
        if (row.metric, row.structure) == (metric, structure):
            return row
    return None


def _spread_kind(experiment: Experiment, part: DataPart, row: PublishedRow | None, metric: str) -> Kind:
    """The table's kind of spread: of the number itself, else of the same metric elsewhere in the tables."""
    if part.spread == "pooled":
        return "std_over_runs_and_cases"
    if row is not None:
        return row.kind
    kinds = (each.kind for rows in experiment.rows.values() for each in rows if each.metric == metric)
    return next(kinds, "none")


def _ours(
    found: Mapping[tuple[str, str], Column], measure: Measure, structure: str, method: str, kind: Kind
) -> Ours:
    names = [(measure.ours, name) for name in measure.structures[structure]]
    if any(name not in found for name in names):
        return Ours(math.nan, math.nan, kind, 0)
    parts = tuple(found[name].parts[0] for name in names)
    column = Column("", measure.ours, structure, measure.unit, parts)
    undefined = sum(len(part.get(method, Series()).undefined) for part in parts)
    mean, spread, count = _averaged(column, method, kind)
    factor = FACTORS[measure.unit]
    return Ours(mean * factor, spread * factor, kind, count, undefined)


def _averaged(column: Column, method: str, kind: Kind) -> tuple[float, float, int]:
    if kind in ("std_over_cases", "none"):
        alone = [Column("", column.metric, "", "", (part,)) for part in column.parts]
        each = [_mean_and_deviation(list(method_units(one, method, "case").values())) for one in alone]
        mean, deviation = (float(np.mean([pair[i] for pair in each])) for i in (0, 1))
        counts = [len(method_units(one, method, "case")) for one in alone]
        return mean, math.nan if kind == "none" else deviation, min(counts)
    if kind == "std_over_runs_and_cases":
        pooled = [value for part in column.series(method) for value in part.defined.values()]
        return *_mean_and_deviation(pooled), len(pooled)
    runs = list(method_units(column, method, "run").values())
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
