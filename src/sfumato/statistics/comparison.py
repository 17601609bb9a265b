"""The whole comparison: every metric's summary, tests and ranks, and what a reader must know about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sfumato.errors import UnknownNameError
from sfumato.statistics.directions import direction_of
from sfumato.statistics.repeats import repeats, with_repeats
from sfumato.statistics.summary import summary_table
from sfumato.statistics.tests import ComparisonOptions, compare, rank_table
from sfumato.statistics.tidy import Rows, tidy
from sfumato.statistics.units import (
    Place,
    Unit,
    choose_unit,
    labelled,
    methods_of,
    require_method,
    rows_of,
    scores_of,
)
from sfumato.statistics.volumes import PREDICTED, REFERENCE, volume_table


@dataclass(frozen=True)
class Comparison:
    """Everything that ``sfumato compare`` prints and writes."""

    proposed: str
    unit: Unit
    methods: tuple[str, ...]  # the proposed one last
    options: ComparisonOptions
    summary: pd.DataFrame  # one row per data set, metric, structure, rater, method
    tests: pd.DataFrame  # one row per data set, metric, structure, rater, method other than the proposed
    ranks: pd.DataFrame  # one row per data set, metric, structure, rater, method
    unmatched: pd.DataFrame  # one row per value that one method lacks and the other has
    volumes: pd.DataFrame  # one row per data set, structure, method with volumes, as of volume_table
    notes: tuple[str, ...]  # what a reader must know: small n, undefined values, skipped metrics


def compare_methods(
    rows: Rows,
    *,
    proposed: str,
    metrics: Sequence[str] | None = None,
    unit: Unit | None = None,
    options: ComparisonOptions | None = None,
) -> Comparison:
    """Compare all methods in all metrics: what ``sfumato compare`` prints and writes.

    Args:
        rows: As in :func:`~sfumato.statistics.tests.compare`.
        proposed: The method that the others are tested against.
        metrics: Which metrics, in this order; None takes those whose direction is known and notes the rest.
        unit: The unit of analysis, as there.
        options: Kind of test, level, ties, bootstrap.

    Raises:
        UnknownNameError: A method, metric, unit or direction is unknown.
        InputError: The table has no rows, or two values for one place.
    """
    options = options or ComparisonOptions()
    checked = tidy(rows)
    require_method(checked, proposed)
    chosen = choose_unit(checked, unit)
    volumes = volume_table(checked)
    names, notes = _metrics(checked, metrics, options, tabulated=not volumes.empty)
    kept = pd.concat([rows_of(checked, name) for name in names])
    tests, ranks, repeating = [], [], dict[str, str]()
    for name in names:
        rows_of_metric = rows_of(kept, name)
        repeated = repeats(rows_of_metric, proposed)
        single = rows_of_metric[~rows_of_metric["method"].isin(list(repeated))]
        table = compare(single, proposed=proposed, metric=name, unit=chosen, options=options)
        tests.append(with_repeats(table, repeated))
        ranks.append(rank_table(single, metric=name, unit=chosen, options=options))
        repeating |= repeated
    summary = summary_table(kept, unit=chosen, resamples=options.resamples, seed=options.seed)
    unmatched = _unmatched(kept, proposed, chosen)
    joined, ranked = pd.concat(tests, ignore_index=True), pd.concat(ranks, ignore_index=True)
    notes += _notes(summary, joined, ranked, unmatched)
    if repeating:
        notes.append(
            f"{', '.join(repeating)}: where all numbers are those of {', '.join(repeating.values())}, the "
            "test is the same one, not a further one, and there is one rank for both"
        )
    frames = (summary, joined, ranked, unmatched, volumes)
    methods = tuple(methods_of(checked, proposed))
    return Comparison(proposed, chosen, methods, options, *frames, tuple(notes))


def _metrics(
    rows: pd.DataFrame, metrics: Sequence[str] | None, options: ComparisonOptions, *, tabulated: bool
) -> tuple[list[str], list[str]]:
    present = list(rows["metric"].unique())
    if metrics is not None:
        for name in metrics:
            if name not in present:
                raise UnknownNameError("metric", name, present)
            direction_of(name, options.directions)
        return list(dict.fromkeys(metrics)), []
    known, notes = [], []
    for name in present:
        try:
            direction_of(name, options.directions)
        except UnknownNameError:
            # Volumes are no scores, but have a table of their own.
            if not (tabulated and name in (PREDICTED, REFERENCE)):
                notes.append(f"{name} is left out: whether up, down or zero is better is not known")
        else:
            known.append(name)
    if not known:
        raise UnknownNameError("metric (no direction is known)", ", ".join(present), ())
    return known, notes


def _unmatched(rows: pd.DataFrame, proposed: str, unit: Unit) -> pd.DataFrame:
    """List every (seed, fold, case) that one of a pair has and the other lacks."""
    records = []
    for scores in scores_of(rows, unit):
        if len({place.structure for place in scores.places}) > 1:
            continue  # the average repeats what its structures list
        for other in methods_of(rows, proposed)[:-1]:
            pair = (proposed, other)
            for lacking, place in scores.aligned(pair).unmatched:
                sides = {"lacks": pair[lacking], "has": pair[1 - lacking]}
                records.append(place._asdict() | scores.names | sides)
    names = ["dataset", "metric", "structure", "rater", "lacks", "has", *Place._fields[1:]]
    return pd.DataFrame(records, columns=names)


def _notes(
    summary: pd.DataFrame, tests: pd.DataFrame, ranks: pd.DataFrame, unmatched: pd.DataFrame
) -> list[str]:
    notes = []
    methods = list(dict.fromkeys(summary["method"]))
    if len(methods) == 1:
        notes.append(f"{methods[0]} is the only method: nothing to test")
    for record in summary[summary["undefined"] > 0].to_dict("records"):
        structure = labelled(record["structure"], record["rater"])
        where = f"{record['metric']} of {structure}, {record['method']}"
        notes.append(f"{where}: {record['undefined']} undefined values left out; {record['n']} units remain")
    for (lacks, has), group in unmatched.groupby(["lacks", "has"], sort=False):
        notes.append(f"{lacks} lacks {len(group)} values that {has} has: they are in neither test nor ranks")
    for text, group in tests[tests["note"] != ""].groupby("note", sort=False):
        notes.append(f"{text} ({_named(group, ['metric', 'structure', 'method'])})")
    without = ranks[ranks["n"] == 0].drop_duplicates(["dataset", "metric", "structure", "rater"])
    if len(without):
        named = _named(without, ["metric", "structure"])
        notes.append(f"no unit on which every method is defined: no mean ranks ({named})")
    return notes


def _named(rows: pd.DataFrame, names: Sequence[str], *, most: int = 3) -> str:
    """Name the first rows, and count the others."""
    rows = rows.assign(
        structure=[labelled(*pair) for pair in zip(rows["structure"], rows["rater"], strict=True)]
    )
    texts = [" ".join(str(record[name]) for name in names) for record in rows.to_dict("records")]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
