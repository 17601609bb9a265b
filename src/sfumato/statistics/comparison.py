"""The whole comparison: every metric's summary, tests and ranks, and what a reader must know about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pandas as pd

from sfumato.errors import UnknownNameError
from sfumato.statistics.directions import direction_of
from sfumato.statistics.tests import (
    Rows,
    Settings,
    methods_of,
    rank_table,
    summary_table,
    wilcoxon_table,
)
from sfumato.statistics.tidy import Value, tidy
from sfumato.statistics.twins import repeats, with_repeats
from sfumato.statistics.units import Unit, align, choose_unit, columns, require_method
from sfumato.statistics.volumes import PREDICTED, REFERENCE, volume_table


@dataclass(frozen=True)
class Comparison:
    """Everything that ``sfumato compare`` prints and writes."""

    proposed: str
    unit: Unit
    methods: tuple[str, ...]  # the proposed one last
    settings: Settings
    summary: pd.DataFrame  # one row per data set, metric, structure, method
    tests: pd.DataFrame  # one row per data set, metric, structure, method other than the proposed
    ranks: pd.DataFrame  # one row per data set, metric, structure, method
    unmatched: pd.DataFrame  # one row per value that one method lacks and the other has
    volumes: pd.DataFrame  # one row per data set, structure, method with volumes, as of volume_table
    notes: tuple[str, ...]  # what a reader must know: small n, undefined values, skipped metrics


def compare_methods(
    rows: Rows,
    *,
    proposed: str,
    metrics: Sequence[str] | None = None,
    unit: Unit | None = None,
    settings: Settings | None = None,
) -> Comparison:
    """Compare all methods in all metrics: what ``sfumato compare`` prints and writes.

    Args:
        rows: As in :func:`wilcoxon_table`.
        proposed: The method that the others are tested against.
        metrics: Which metrics, in this order; None takes those whose direction is known and notes the rest.
        unit: The unit of analysis, as in :func:`wilcoxon_table`.
        settings: Kind of test, level, ties, bootstrap.

    Raises:
        UnknownNameError: A method, metric, unit or direction is unknown.
        InputError: The table has no rows, or two values for one place.
    """
    settings = settings or Settings()
    values = tidy(rows)
    require_method(values, proposed)
    chosen = choose_unit(values, unit)
    volumes = volume_table(values)
    names, notes = _metrics(
        values, metrics, settings, tabulated=() if volumes.empty else (PREDICTED, REFERENCE)
    )
    kept = [value for name in names for value in values if value.metric == name]
    methods = tuple(methods_of(values, proposed))
    tests, ranks, repeating = [], [], dict[str, str]()
    for name in names:
        rows_of_metric = [value for value in kept if value.metric == name]
        repeated = repeats(rows_of_metric, proposed)
        single = [value for value in rows_of_metric if value.method not in repeated]
        table = wilcoxon_table(single, proposed=proposed, metric=name, unit=chosen, settings=settings)
        tests.append(with_repeats(table, repeated))
        ranks.append(rank_table(single, metric=name, unit=chosen, settings=settings))
        repeating |= repeated
    summary = summary_table(kept, unit=chosen, settings=settings)
    unmatched = _unmatched(kept, proposed, methods, chosen)
    joined = pd.concat(tests, ignore_index=True)
    ranked = pd.concat(ranks, ignore_index=True)
    notes += _notes(summary, joined, ranked, unmatched)
    if repeating:
        names_of = (", ".join(repeating), ", ".join(repeating.values()))
        notes.append(
            f"{names_of[0]}: where all numbers are those of {names_of[1]}, the test is the same one, not a "
            "further one, and there is one rank for both"
        )
    frames = (summary, joined, ranked, unmatched, volumes)
    return Comparison(proposed, chosen, methods, settings, *frames, tuple(notes))


def _metrics(
    values: Sequence[Value],
    metrics: Sequence[str] | None,
    settings: Settings,
    *,
    tabulated: Collection[str],
) -> tuple[list[str], list[str]]:
    found = list(dict.fromkeys(value.metric for value in values))
    if metrics is not None:
        for name in metrics:
            if name not in found:
                raise UnknownNameError("metric", name, found)
            direction_of(name, settings.directions)
        return list(dict.fromkeys(metrics)), []
    known, notes = [], []
    for name in found:
        try:
            direction_of(name, settings.directions)
        except UnknownNameError:
            if name in tabulated:
                continue  # no score, but in a table of its own
            notes.append(f"{name} is left out: whether up, down or zero is better is not known")
        else:
            known.append(name)
    if not known:
        raise UnknownNameError("metric (no direction is known)", ", ".join(found), ())
    return known, notes


def _unmatched(values: Sequence[Value], proposed: str, methods: Sequence[str], unit: Unit) -> pd.DataFrame:
    """List every (seed, fold, case) that one of a pair has and the other lacks."""
    records = []
    for column in columns(values):
        if len(column.parts) > 1:
            continue  # the average repeats what its structures list
        for other in methods:
            pair = (proposed, other)
            for place, key in align(column, pair, unit).unmatched if other != proposed else ():
                records.append(
                    {
                        "dataset": column.dataset,
                        "metric": column.metric,
                        "structure": column.structure,
                        "lacks": pair[place],
                        "has": pair[1 - place],
                        **key._asdict(),
                    }
                )
    names = ["dataset", "metric", "structure", "lacks", "has", "seed", "fold", "run", "case"]
    return pd.DataFrame(records, columns=names)


def _notes(
    summary: pd.DataFrame, tests: pd.DataFrame, ranks: pd.DataFrame, unmatched: pd.DataFrame
) -> list[str]:
    notes = []
    methods = list(dict.fromkeys(summary["method"]))
    if len(methods) == 1:
        notes.append(f"{methods[0]} is the only method: nothing to test")
    for record in summary[summary["undefined"] > 0].to_dict("records"):
        where = f"{record['metric']} of {record['structure']}, {record['method']}"
        notes.append(f"{where}: {record['undefined']} undefined values left out; {record['n']} units remain")
    for (lacks, has), group in unmatched.groupby(["lacks", "has"], sort=False):
        notes.append(f"{lacks} lacks {len(group)} values that {has} has: they are in neither test nor ranks")
    for text, group in tests[tests["note"] != ""].groupby("note", sort=False):
        notes.append(f"{text} ({_named(group, ['metric', 'structure', 'method'])})")
    without = ranks[ranks["n"] == 0].drop_duplicates(["dataset", "metric", "structure"])
    if len(without):
        named = _named(without, ["metric", "structure"])
        notes.append(f"no unit on which every method is defined: no mean ranks ({named})")
    return notes


def _named(rows: pd.DataFrame, names: Sequence[str], *, most: int = 3) -> str:
    """Name the first rows, and count the others."""
    texts = [" ".join(str(record[name]) for name in names) for record in rows.to_dict("records")]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
