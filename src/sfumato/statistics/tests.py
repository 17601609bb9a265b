"""Compare methods from tidy rows alone: summary, paired tests against the proposed method, mean ranks.

The unit of analysis is a case, a run or a fold. Methods are paired by (seed, fold, case); the values of one
unit are averaged before any test, so seeds of one case never count as independent. What could not be paired
is listed, what is undefined is counted; nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sfumato.checks import require_between
from sfumato.errors import UnknownNameError
from sfumato.evaluation.rows import Row
from sfumato.statistics.directions import Direction, direction_of, scores
from sfumato.statistics.ranks import (
    Floats,
    SignedRankTest,
    TestName,
    bootstrap_interval,
    compare_ranks,
    holm,
    same_up_to_rounding,
    signed_rank_test,
    smallest_p,
)
from sfumato.statistics.tidy import Value, tidy
from sfumato.statistics.units import (
    Aligned,
    Column,
    Unit,
    align,
    choose_unit,
    columns,
    method_units,
    require_method,
)

Rows = Iterable[Row] | Sequence[Value] | pd.DataFrame


@dataclass(frozen=True)
class Settings:
    """How a comparison is computed.

    Args:
        test: ``auto``, ``exact`` or ``approx``, see :func:`~sfumato.statistics.ranks.signed_rank_test`.
        alpha: Level of significance.
        tie_digits: Decimal digits to which differences are rounded before they are ranked. None ranks them
            as they come, like SciPy, and notes where rounding error breaks a tie.
        resamples: Bootstrap resamples.
        seed: Seed of the bootstrap.
        directions: Directions of further metrics, see :func:`~sfumato.statistics.directions.direction_of`.
    """

    test: TestName = "auto"
    alpha: float = 0.05
    tie_digits: int | None = None
    resamples: int = 10_000
    seed: int = 0
    directions: Mapping[str, Direction] | None = None

    def __post_init__(self) -> None:
        require_between("alpha", self.alpha, 0.0, 1.0)


def wilcoxon_table(
    rows: Rows, *, proposed: str, metric: str, unit: Unit | None = None, settings: Settings | None = None
) -> pd.DataFrame:
    """Test every method against the proposed one: Wilcoxon signed-rank, two-sided, paired by unit.

    Args:
        rows: Tidy rows: :class:`~sfumato.evaluation.rows.Row` objects or a data frame with their columns.
        proposed: The method that the others are tested against.
        metric: Which metric; the other rows are ignored.
        unit: ``case``, ``run`` or ``fold``; None takes cases if the rows name two or more, else runs.
        settings: Kind of test, level, ties.

    Returns:
        One row per data set, structure (with an ``Average`` where there are several) and other method:
        ``dataset metric structure method proposed unit_of_analysis n n_nonzero wins ties losses
        mean_difference median_difference statistic p test p_holm rank_biserial significant unmatched
        undefined note``. Differences are proposed minus other (of distances from 0 where 0 is best). Wins,
        and a positive ``rank_biserial``, speak for the proposed method. ``p_holm`` corrects for the tests of
        one data set and structure, and ``significant`` is ``p_holm < alpha``. ``undefined`` counts the
        paired values left out because one of the two is undefined, ``unmatched`` those that one method
        lacks. Without any pair ``p`` is nan; if all differences are 0 it is 1. Empty if there is no other
        method.

    Raises:
        UnknownNameError: The method, metric, unit or its direction is unknown.
        InputError: The table has no rows, or two values for one place.

    Example:
        >>> rows = [
        ...     Row("", name, "", seed, 0, "", "", "cell", "dice", value, "fraction")
        ...     for name, values in {"ours": (0.9, 0.8, 0.7), "theirs": (0.8, 0.6, 0.4)}.items()
        ...     for seed, value in enumerate(values)
        ... ]
        >>> wilcoxon_table(rows, proposed="ours", metric="dice")[["n", "wins", "p", "test"]].values.tolist()
        [[3, 3, 0.25, 'exact']]

    References:
        See :mod:`sfumato.statistics.ranks`.
    """
    settings = settings or Settings()
    values = rows_of(tidy(rows), metric)
    require_method(values, proposed)
    direction_of(metric, settings.directions)
    chosen = choose_unit(values, unit)
    others = [name for name in methods_of(values, proposed) if name != proposed]
    records = [
        record
        for column in columns(values)
        for record in _column_tests(column, proposed, others, chosen, settings)
    ]
    return pd.DataFrame(records, columns=list(_TEST_COLUMNS))


_TEST_COLUMNS = (
    *("dataset", "metric", "structure", "method", "proposed", "unit_of_analysis", "n", "n_nonzero"),
    *("wins", "ties", "losses", "mean_difference", "median_difference", "statistic", "p", "test", "p_holm"),
    *("rank_biserial", "significant", "unmatched", "undefined", "note"),
)


@dataclass(frozen=True)
class _Paired:
    """The proposed method against one other, in one column."""

    other: str
    aligned: Aligned
    differences: Floats  # above 0 where the proposed method is better
    test: SignedRankTest

    @property
    def nonzero(self) -> int:
        return self.test.n - self.test.zeros


def _column_tests(
    column: Column, proposed: str, others: Sequence[str], unit: Unit, settings: Settings
) -> list[dict[str, object]]:
    direction = direction_of(column.metric, settings.directions)
    pairs = []
    for other in others:
        aligned = align(column, (proposed, other), unit)
        better = scores(aligned.values, direction)
        differences = better[:, 0] - better[:, 1]
        if settings.tie_digits is not None:
            differences = np.round(differences, settings.tie_digits)
        pairs.append(_Paired(other, aligned, differences, signed_rank_test(differences, test=settings.test)))
    adjusted = holm([pair.test.p for pair in pairs])
    tested = sum(pair.test.n > 0 for pair in pairs)
    # Back to the metric's own sense, proposed minus other; where 0 is best, of the distances from it.
    sign = 1.0 if direction == "up" else -1.0
    return [
        {
            "dataset": column.dataset,
            "metric": column.metric,
            "structure": column.structure,
            "method": pair.other,
            "proposed": proposed,
            "unit_of_analysis": unit,
            "n": pair.test.n,
            "n_nonzero": pair.nonzero,
            "wins": int((pair.differences > 0).sum()),
            "ties": pair.test.zeros,
            "losses": int((pair.differences < 0).sum()),
            "mean_difference": sign * float(pair.differences.mean()) if pair.test.n else np.nan,
            "median_difference": sign * float(np.median(pair.differences)) if pair.test.n else np.nan,
            "statistic": pair.test.statistic,
            "p": pair.test.p,
            "test": pair.test.test,
            "p_holm": float(p_holm),
            "rank_biserial": pair.test.rank_biserial,
            "significant": bool(p_holm < settings.alpha),
            "unmatched": len(pair.aligned.unmatched),
            "undefined": pair.aligned.undefined,
            "note": _test_note(pair, tested, settings),
        }
        for pair, p_holm in zip(pairs, adjusted, strict=True)
    ]


def _test_note(pair: _Paired, tested: int, settings: Settings) -> str:
    if pair.test.n == 0:
        return "no pair of defined values: nothing to test"
    if pair.nonzero == 0:
        return "all differences are 0"
    notes, reach = [], smallest_p(pair.nonzero)
    if reach >= settings.alpha:
        notes.append(
            f"n too small: {pair.nonzero} non-zero differences cannot give an exact p below {reach:.3g}, "
            f"so {settings.alpha:g} is out of reach"
        )
    elif tested * reach >= settings.alpha:
        notes.append(
            f"n too small for Holm's correction: {pair.nonzero} non-zero differences give at best "
            f"p {reach:.3g}, and {min(1.0, tested * reach):.3g} as the smallest of {tested}"
        )
    if settings.tie_digits is None:
        hidden = same_up_to_rounding(pair.differences, pair.aligned.values)
        if hidden:
            notes.append(f"rounding error breaks {hidden} ties, as in SciPy: tie_digits keeps them")
    return "; ".join(notes)


def summary_table(
    rows: Rows, *, metric: str | None = None, unit: Unit | None = None, settings: Settings | None = None
) -> pd.DataFrame:
    """Summarise each method over its units: centre, spread, interval, and what is undefined.

    Args:
        rows: As in :func:`wilcoxon_table`.
        metric: Only this metric; None takes all.
        unit: The unit of analysis, as there.
        settings: Resamples and seed of the bootstrap.

    Returns:
        One row per data set, metric, structure and method: ``dataset metric structure method measure
        unit_of_analysis n mean sd se median ci_low ci_high undefined``. ``n`` counts units with a value;
        ``sd`` has ddof 1 and is nan for fewer than two; ``ci_low`` and ``ci_high`` are the 95 % bootstrap
        interval of the mean; ``undefined`` counts the values (not units) without a number.

    Raises:
        UnknownNameError: The metric or unit is unknown.
        InputError: The table has no rows, or two values for one place.
    """
    settings = settings or Settings()
    values = tidy(rows) if metric is None else rows_of(tidy(rows), metric)
    chosen = choose_unit(values, unit)
    records = [
        _summary(column, method, chosen, settings)
        for column in columns(values)
        for method in methods_of(values, None)
    ]
    return pd.DataFrame(records)


def _summary(column: Column, method: str, unit: Unit, settings: Settings) -> dict[str, object]:
    values = np.array(list(method_units(column, method, unit).values()), dtype=np.float64)
    n = len(values)
    deviation = float(values.std(ddof=1)) if n > 1 else np.nan
    low, high = bootstrap_interval(values, resamples=settings.resamples, seed=settings.seed)
    return {
        "dataset": column.dataset,
        "metric": column.metric,
        "structure": column.structure,
        "method": method,
        "measure": column.measure,
        "unit_of_analysis": unit,
        "n": n,
        "mean": float(values.mean()) if n else np.nan,
        "sd": deviation,
        "se": deviation / np.sqrt(n) if n > 1 else np.nan,
        "median": float(np.median(values)) if n else np.nan,
        "ci_low": low,
        "ci_high": high,
        "undefined": sum(len(series.undefined) for series in column.series(method)),
    }


def rank_table(
    rows: Rows, *, metric: str, unit: Unit | None = None, settings: Settings | None = None
) -> pd.DataFrame:
    """Rank all methods within each unit; Friedman's test and Nemenyi's critical difference.

    Only units on which every method is defined take part (complete blocks).

    Returns:
        One row per data set, structure and method: ``dataset metric structure method mean_rank n friedman
        p critical_difference``; rank 1 is best. Two mean ranks further apart than the critical difference
        differ at the level of ``settings.alpha``. Without a complete unit all are nan.

    Raises:
        UnknownNameError: The metric, its direction or the unit is unknown.
        InputError: The table has no rows, or two values for one place.
    """
    settings = settings or Settings()
    values = rows_of(tidy(rows), metric)
    direction = direction_of(metric, settings.directions)
    chosen, methods = choose_unit(values, unit), methods_of(values, None)
    records: list[dict[str, object]] = []
    for column in columns(values):
        blocks = align(column, methods, chosen)
        result = compare_ranks(scores(blocks.values, direction), alpha=settings.alpha)
        records += [
            {
                "dataset": column.dataset,
                "metric": metric,
                "structure": column.structure,
                "method": method,
                "mean_rank": rank,
                "n": result.n,
                "friedman": result.statistic,
                "p": result.p,
                "critical_difference": result.critical_difference,
            }
            for method, rank in zip(methods, result.mean_ranks, strict=True)
        ]
    return pd.DataFrame(records)


def rows_of(values: Sequence[Value], metric: str) -> list[Value]:
    """Give the rows of one metric; raise if there is none."""
    kept = [value for value in values if value.metric == metric]
    if not kept:
        raise UnknownNameError("metric", metric, dict.fromkeys(value.metric for value in values))
    return kept


def methods_of(values: Iterable[Value], proposed: str | None) -> list[str]:
    """Give the methods in order of appearance, the proposed one last, as the papers' tables have it."""
    names = list(dict.fromkeys(value.method for value in values))
    if proposed in names:
        names.remove(proposed)
        names.append(proposed)
    return names
