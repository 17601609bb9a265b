"""From tidy rows to numbers that may be tested: the unit of analysis, and what is paired with what.

A value belongs to one (seed, fold, case) of one method. Methods are paired there first; only then are the
values of one unit averaged, so that a unit's number means the same for both, and so that the seeds of one
case count once.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from sfumato.checks import require_choice
from sfumato.errors import InputError, UnknownNameError
from sfumato.statistics.ranks import Floats
from sfumato.statistics.tidy import Value

Unit = Literal["case", "run", "fold"]
UNITS: tuple[Unit, ...] = ("case", "run", "fold")
AVERAGE = "Average"


class Key(NamedTuple):
    """Where methods are paired. ``run`` is filled only where rows name neither seed nor fold."""

    seed: str
    fold: str
    run: str
    case: str

    def __str__(self) -> str:
        return " ".join(f"{name} {text}" for name, text in self._asdict().items() if text) or "the only value"


@dataclass
class Series:
    """One method's values of one metric in one structure."""

    defined: dict[Key, float] = field(default_factory=dict)
    undefined: dict[Key, str] = field(default_factory=dict)  # the status: why there is no value

    def keys(self) -> set[Key]:
        """Give every key, with a defined value or not."""
        return self.defined.keys() | self.undefined.keys()


@dataclass(frozen=True)
class Column:
    """One column of a table: a metric in one structure, or its average over several structures."""

    dataset: str
    metric: str
    structure: str
    measure: str  # the unit of the values, e.g. "mm"
    parts: tuple[Mapping[str, Series], ...]  # one per structure that is averaged: method -> values

    def series(self, method: str) -> tuple[Series, ...]:
        """Give one method's values, one series per part; empty where the method has none."""
        return tuple(part.get(method, Series()) for part in self.parts)


@dataclass(frozen=True)
class Aligned:
    """Several methods' values of one column on the units that all of them have."""

    units: tuple[str, ...]
    values: Floats  # (units, methods)
    unmatched: tuple[tuple[int, Key], ...]  # (method's place, key): another method has it, this one does not
    undefined: int  # keys that all have, left out because some method's value is undefined


def columns(values: Sequence[Value]) -> list[Column]:
    """Sort values into columns, with an ``Average`` over structures where a metric has several.

    Structures against one rater (``cell@rater2``) stay out of the average, and none is made where the rows
    bring their own.

    Raises:
        InputError: A method has two values at one place, or a metric comes in two units.
    """
    runs = _runs_without_number(values)
    groups: dict[tuple[str, str], dict[str, dict[str, Series]]] = {}
    measures: dict[tuple[str, str], set[str]] = {}
    for value in values:
        place = value.dataset, value.metric
        methods = groups.setdefault(place, {}).setdefault(value.structure, {})
        measures.setdefault(place, set()).add(value.measure)
        _add(methods.setdefault(value.method, Series()), _key(value, runs), value)
    found = []
    for (dataset, metric), structures in groups.items():
        if len(measures[dataset, metric]) > 1:
            names = ", ".join(sorted(repr(name) for name in measures[dataset, metric]))
            raise InputError(f"{metric} comes in several units ({names}): convert the values to one")
        (measure,) = measures[dataset, metric]
        found += [Column(dataset, metric, name, measure, (part,)) for name, part in structures.items()]
        parts = tuple(part for name, part in structures.items() if "@" not in name)
        if len(parts) > 1 and AVERAGE.lower() not in {name.lower() for name in structures}:
            found.append(Column(dataset, metric, AVERAGE, measure, parts))
    return found


def _runs_without_number(values: Iterable[Value]) -> dict[tuple[str, str], set[str]]:
    """Collect, per data set and method, the names of runs that state neither seed nor fold."""
    runs: dict[tuple[str, str], set[str]] = {}
    for value in values:
        if not (value.seed or value.fold):
            runs.setdefault((value.dataset, value.method), set()).add(value.run)
    return runs


def _key(value: Value, runs: Mapping[tuple[str, str], Collection[str]]) -> Key:
    if value.seed or value.fold:
        return Key(value.seed, value.fold, "", value.case)
    # A method's only run pairs with any other method's only run, whatever the two are called.
    if len(runs[value.dataset, value.method]) == 1 and value.case:
        return Key("", "", "", value.case)
    return Key("", "", value.run.removeprefix(value.method).strip(" -_/"), value.case)


def _add(series: Series, key: Key, value: Value) -> None:
    if key in series.defined or key in series.undefined:
        raise InputError(
            f"{value.place}: a second value of {value.metric} for {value.method}, {value.structure}, {key}; "
            "give every run its own seed or fold, and every table only once"
        )
    if value.status == "ok":
        series.defined[key] = value.value
    else:
        series.undefined[key] = value.status


def choose_unit(values: Sequence[Value], unit: str | None) -> Unit:
    """Check the unit of analysis, or choose one: cases if the rows name two or more, else runs.

    Raises:
        UnknownNameError: There is no such unit.
        InputError: No row states what the unit needs.
    """
    cases = {value.case for value in values} - {""}
    if unit is None:
        return "case" if len(cases) > 1 else "run"
    require_choice("unit of analysis", unit, UNITS)
    if unit == "case" and not cases:
        raise InputError("the unit is case, but no row names a case: choose run")
    if unit == "fold" and not any(value.fold for value in values):
        raise InputError("the unit is fold, but no row has a fold: choose case or run")
    if unit == "run" and not any(value.seed or value.fold or value.run for value in values):
        raise InputError("the unit is run, but no row has a seed, a fold or a run: choose case")
    return "case" if unit == "case" else "fold" if unit == "fold" else "run"


def require_method(values: Iterable[Value], proposed: str) -> None:
    """Raise unless ``proposed`` is a method of the rows; the nearest name is suggested."""
    names = tuple(dict.fromkeys(value.method for value in values))
    if proposed not in names:
        raise UnknownNameError("method", proposed, names)


def unit_means(defined: Mapping[Key, float], unit: Unit) -> dict[str, float]:
    """Average the values of each unit.

    A case is the mean over its seeds and folds. A run is the mean over its cases. A fold is the mean over its
    cases, each of which is the mean over its seeds. Sums are exact before they are rounded, so the order of
    the rows does not matter.

    Returns:
        The mean per unit, by the unit's name, in order of appearance; empty for no values.
    """
    inner: dict[str, dict[str, list[float]]] = {}
    for key, value in defined.items():
        outer, within = _names(key, unit)
        inner.setdefault(outer, {}).setdefault(within, []).append(value)
    return {name: _mean([_mean(values) for values in groups.values()]) for name, groups in inner.items()}


def _names(key: Key, unit: Unit) -> tuple[str, str]:
    """Give the unit's name, and the group inside it that is averaged first."""
    if unit == "case":
        return key.case, ""
    if unit == "fold":
        return key.fold, key.case
    return str(key._replace(case="")), ""


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(values) == 1 else math.fsum(values) / len(values)


def method_units(column: Column, method: str, unit: Unit) -> dict[str, float]:
    """Give one method's value per unit, from all its own defined values.

    The average over structures needs every structure: a unit with an undefined one is left out of it.
    """
    means = [unit_means(series.defined, unit) for series in column.series(method)]
    return {name: _mean([part[name] for part in means]) for name in means[0] if all(name in m for m in means)}


def align(column: Column, methods: Sequence[str], unit: Unit) -> Aligned:
    """Pair methods by (seed, fold, case), leave out what is not defined for all, then average per unit."""
    per_part: list[list[dict[str, float]]] = []
    unmatched: dict[tuple[int, Key], None] = {}
    undefined = 0
    for part in column.parts:
        series = [part.get(method, Series()) for method in methods]
        present = [one.keys() for one in series]
        shared = set.intersection(*present)
        # Order of the first method's rows, then of the others': sets have none of their own.
        for key in dict.fromkeys(key for one in series for key in (*one.defined, *one.undefined)):
            unmatched.update({(place, key): None for place, keys in enumerate(present) if key not in keys})
        usable = [key for key in series[0].defined if all(key in one.defined for one in series)]
        undefined += len(shared) - len(usable)
        per_part.append([unit_means({key: one.defined[key] for key in usable}, unit) for one in series])
    first = per_part[0][0]
    names = tuple(name for name in first if all(name in part[0] for part in per_part))
    table = [[_mean([part[i][name] for part in per_part]) for i in range(len(methods))] for name in names]
    return Aligned(
        names, np.array(table, dtype=np.float64).reshape(-1, len(methods)), tuple(unmatched), undefined
    )
