"""From checked rows to numbers that may be tested: the unit of analysis, and what is paired with what.

A value belongs to one (seed, fold, case) of one method. Methods are paired there first; only then are the
values of one unit averaged, so that a unit's number means the same for both, and so that the seeds of one
case count once. This is the one aggregation of the package: within each structure over the values of a unit,
then over the structures of the unit, then over units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from sfumato.checks import require_choice
from sfumato.errors import InputError, UnknownNameError
from sfumato.statistics.ranks import Floats
from sfumato.statistics.tidy import Rows, tidy

Name = TypeVar("Name")
Unit = Literal["case", "run", "fold"]
# Each unit's columns, any of which must be stated, and what is wrong if none is.
UNITS: Mapping[Unit, tuple[tuple[str, ...], str]] = {
    "case": (("case",), "names a case: choose run"),
    "run": (("seed", "fold", "run"), "has a seed, a fold or a run: choose case"),
    "fold": (("fold",), "has a fold: choose case or run"),
}
AVERAGE = "Average"


class Place(NamedTuple):
    """Where one value belongs; methods are paired by all but the structure.

    ``run`` is filled only where rows name neither seed nor fold.
    """

    structure: str
    seed: str
    fold: str
    run: str
    case: str

    @property
    def run_name(self) -> str:
        """The seed, the fold and the run, as far as they are stated."""
        return self._named("seed", "fold", "run")

    def __str__(self) -> str:
        return self._named("seed", "fold", "run", "case")

    def _named(self, *names: str) -> str:
        return (
            " ".join(f"{name} {text}" for name in names if (text := getattr(self, name))) or "the only value"
        )


@dataclass(frozen=True)
class Aligned:
    """Several methods' values on the units that all of them have.

    Attributes:
        values: ``(units, methods)``.
        unmatched: (Index of the method, place) that another method has and this one lacks.
        undefined: Places that all have, left out because some method's value is undefined.
    """

    values: Floats
    unmatched: tuple[tuple[int, Place], ...]
    undefined: int


@dataclass(frozen=True, eq=False)
class Scores:
    """All values of one metric in one structure, or of several structures to be averaged in each unit.

    Attributes:
        dataset: The data set.
        metric: The metric.
        structure: The structure; ``Average`` for several.
        rater: The rater, empty for the consensus.
        measure: The unit of the values, e.g. "mm".
        unit: The unit of analysis.
        methods: All methods of the table.
        places: One place per line of ``values``.
        values: ``(places, methods)``, nan where there is no number.
        lines: ``(places, methods)``: the number of the value's row, defined or not; -1 where there is none.
    """

    dataset: str
    metric: str
    structure: str
    rater: str
    measure: str
    unit: Unit
    methods: tuple[str, ...]
    places: tuple[Place, ...]
    values: Floats
    lines: npt.NDArray[np.int64]

    @property
    def names(self) -> dict[str, str]:
        """The columns that say whose numbers these are, in every table of results."""
        return {name: getattr(self, name) for name in ("dataset", "metric", "structure", "rater")}

    def undefined(self, method: str) -> int:
        """Count one method's values without a number."""
        column = self.methods.index(method)
        return int(((self.lines[:, column] >= 0) & np.isnan(self.values[:, column])).sum())

    def of(self, method: str) -> pd.Series[float]:
        """Average one method's values per unit, in the order of its rows.

        The average over structures needs every structure: a unit with an undefined one is left out of it.
        """
        units, means = self._unit_means([self.methods.index(method)])
        return pd.Series(means[:, 0], index=units, dtype=float)

    def aligned(self, methods: Sequence[str]) -> Aligned:
        """Pair methods by (seed, fold, case), leave out what is not defined for all, average per unit."""
        columns = [self.methods.index(method) for method in methods]
        present = self.lines[:, columns] >= 0
        lacking = np.argwhere(~present & present.any(axis=1, keepdims=True)).tolist()
        # A case that lacks several structures counts once.
        unmatched = {(column, self.places[line][1:]): (column, self.places[line]) for line, column in lacking}
        undefined = present.all(axis=1) & np.isnan(self.values[:, columns]).any(axis=1)
        return Aligned(self._unit_means(columns)[1], tuple(unmatched.values()), int(undefined.sum()))

    def _unit_means(self, columns: list[int]) -> tuple[list[str], Floats]:
        usable = [not np.isnan(line).any() for line in self.values[:, columns]]
        parts: dict[str, list[int]] = {place.structure: [] for place in self.places}
        for line in np.argsort(self.lines[:, columns[0]], kind="stable").tolist():
            if usable[line]:
                parts[self.places[line].structure].append(line)
        means = [
            _means([self.places[line] for line in lines], self.values[np.ix_(lines, columns)], self.unit)
            for lines in parts.values()
        ]
        units = [unit for unit in means[0] if all(unit in other for other in means[1:])]
        table = [_mean(np.array([part[unit] for part in means])) for unit in units]
        return units, np.array(table, dtype=np.float64).reshape(len(units), len(columns))


def _means(places: Sequence[Place], values: Floats, unit: Unit) -> dict[str, Floats]:
    """Average the lines of each unit.

    A case is the mean over its seeds and folds. A run is the mean over its cases. A fold is the mean over its
    cases, each of which is the mean over its seeds. Sums are exact before they are rounded, so the order of
    the rows does not matter.
    """
    if unit == "case":
        return _grouped([place.case for place in places], values)
    if unit == "run":
        return _grouped([place.run_name for place in places], values)
    cases = _grouped([(place.fold, place.case) for place in places], values)
    return _grouped([fold for fold, _ in cases], np.array(list(cases.values())))


def _grouped(names: Sequence[Name], values: Floats) -> dict[Name, Floats]:
    lines: dict[Name, list[int]] = {}
    for line, name in enumerate(names):
        lines.setdefault(name, []).append(line)
    return {name: _mean(values[group]) for name, group in lines.items()}


def _mean(lines: Floats) -> Floats:
    """Average over the first axis."""
    return lines[0] if len(lines) == 1 else np.array([math.fsum(column) / len(lines) for column in lines.T])


def scores_of(rows: pd.DataFrame, unit: Unit) -> list[Scores]:
    """Sort checked rows into scores, with an ``Average`` over structures where a metric has several.

    Scores against single raters stay out of the average, and none is made where the rows bring their own.

    Raises:
        InputError: A method has two values at one place, or a metric comes in two units.
    """
    rows = rows.assign(run=_run_names(rows), line=range(len(rows)))
    require_single(rows)
    methods = tuple(rows["method"].unique())
    scores = []
    for key, group in rows.groupby(["dataset", "metric"], sort=False):
        dataset, metric = map(str, key)
        if group["unit"].nunique() > 1:
            names = ", ".join(sorted(map(repr, group["unit"].unique())))
            raise InputError(f"{metric} comes in several units ({names}): convert the values to one")
        parts = {
            (str(name), str(rater)): part
            for (name, rater), part in group.groupby(["structure", "rater"], sort=False)
        }
        consensus = {name.lower() for name, rater in parts if not rater}
        if len(consensus) > 1 and AVERAGE.lower() not in consensus:
            parts[AVERAGE, ""] = group[group["rater"] == ""]
        for (structure, rater), part in parts.items():
            what = (dataset, metric, structure, rater, str(part["unit"].iloc[0]), unit, methods)
            scores.append(Scores(*what, *_wide(part, methods)))
    return scores


def require_single(rows: pd.DataFrame) -> None:
    """Raise where a method has two values for one place."""
    twice = rows.duplicated(["dataset", "metric", "rater", "method", *Place._fields])
    for row in rows[twice].to_dict("records"):
        place = Place(*(row[name] for name in Place._fields))
        raise InputError(
            f"{row['place']}: a second value of {row['metric']} for {row['method']}, "
            f"{labelled(row['structure'], row['rater'])}, {place}; "
            "give every run its own seed or fold, and every table only once"
        )


def _wide(
    rows: pd.DataFrame, methods: Sequence[str]
) -> tuple[tuple[Place, ...], Floats, npt.NDArray[np.int64]]:
    """Lay rows out as one line per place and one column per method."""
    records = [Place(*key) for key in zip(*(rows[name] for name in Place._fields), strict=True)]
    places = {place: line for line, place in enumerate(dict.fromkeys(records))}
    at = [places[place] for place in records], [methods.index(method) for method in rows["method"]]
    values, lines = np.full((len(places), len(methods)), np.nan), np.full((len(places), len(methods)), -1)
    values[at], lines[at] = rows["value"], rows["line"]
    return tuple(places), values, lines


def _run_names(rows: pd.DataFrame) -> list[str]:
    """Name runs only where rows state neither seed nor fold, and there without the method's name."""
    unnumbered = (rows["seed"] == "") & (rows["fold"] == "")
    alone = rows[unnumbered].groupby(["dataset", "method"])["run"].nunique().eq(1)
    names = []
    for row, bare in zip(rows.to_dict("records"), unnumbered, strict=True):
        # A method's only run pairs with any other method's only run, whatever the two are called.
        named = bare and not (row["case"] and alone[row["dataset"], row["method"]])
        names.append(row["run"].removeprefix(row["method"]).strip(" -_/") if named else "")
    return names


def labelled(structure: str, rater: str) -> str:
    """Name a structure and the rater that it is scored against: ``cell``, ``cell@Ada``."""
    return f"{structure}@{rater}" if rater else structure


def labels(table: pd.DataFrame) -> list[str]:
    """Name the structure and the rater of every row of a table."""
    return [
        labelled(str(name), str(rater))
        for name, rater in zip(table["structure"], table["rater"], strict=True)
    ]


def unit_values(rows: Rows, *, unit: Unit | None = None) -> pd.DataFrame:
    """Tabulate one value per unit, method, structure and metric: what means, tests and plots are made of.

    Args:
        rows: As for :func:`~sfumato.statistics.tidy.tidy`.
        unit: ``case``, ``run`` or ``fold``; None takes cases if the rows name two or more, else runs.

    Returns:
        ``dataset metric structure rater method measure unit value``, with an ``Average`` over the structures
        of each unit that has a value in all of them; ``unit`` is the unit's name. Units without a value have
        no line.
    """
    checked = tidy(rows)
    frames = [
        pd.DataFrame(
            scores.names
            | {"method": method, "measure": scores.measure, "unit": values.index, "value": values.to_numpy()}
        )
        for scores in scores_of(checked, choose_unit(checked, unit))
        for method in scores.methods
        if len(values := scores.of(method))
    ]
    names = ["dataset", "metric", "structure", "rater", "method", "measure", "unit", "value"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=names)


def consensus(rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out what is scored against single raters, except for a metric that has nothing else.

    There, the raters of a case are averaged as its seeds are.
    """
    has = set(rows.loc[rows["rater"] == "", "metric"])
    kept = rows[(rows["rater"] == "") | ~rows["metric"].isin(has)]
    return kept.assign(
        seed=kept["seed"].where(kept["rater"] == "", kept["seed"] + "@" + kept["rater"]), rater=""
    )


def choose_unit(rows: pd.DataFrame, unit: Unit | None) -> Unit:
    """Check the unit of analysis, or choose one: cases if the rows name two or more, else runs.

    Raises:
        UnknownNameError: There is no such unit.
        InputError: No row states what the unit needs.
    """
    if unit is None:
        return "case" if rows.loc[rows["case"] != "", "case"].nunique() > 1 else "run"
    require_choice("unit of analysis", unit, UNITS)
    columns, problem = UNITS[unit]
    if not (rows[list(columns)] != "").any(axis=None):
        raise InputError(f"the unit is {unit}, but no row {problem}")
    return unit


def require_method(rows: pd.DataFrame, proposed: str) -> None:
    """Raise unless ``proposed`` is a method of the rows; the nearest name is suggested."""
    if proposed not in set(rows["method"]):
        raise UnknownNameError("method", proposed, tuple(rows["method"].unique()))


def rows_of(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Select the rows of one metric; raise if there is none."""
    if metric not in set(rows["metric"]):
        raise UnknownNameError("metric", metric, tuple(rows["metric"].unique()))
    return rows[rows["metric"] == metric]


def methods_of(rows: pd.DataFrame, proposed: str | None = None) -> list[str]:
    """List the methods in order of appearance, the proposed one last, as the papers' tables have it."""
    names = [name for name in rows["method"].unique() if name != proposed]
    return names if proposed is None else [*names, proposed]
