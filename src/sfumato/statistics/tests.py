"""Tests between methods, from checked rows: paired tests against the proposed method, and mean ranks.

The unit of analysis is a case, a run or a fold. Methods are paired by (seed, fold, case); the values of one
unit are averaged before any test, so seeds of one case never count as independent. What could not be paired
is listed, what is undefined is counted; nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sfumato.checks import require_between
from sfumato.evaluation.metrics_table import Better
from sfumato.statistics.directions import direction_of, oriented
from sfumato.statistics.ranks import (
    TestName,
    compare_ranks,
    holm,
    same_up_to_rounding,
    signed_rank_test,
    smallest_p,
)
from sfumato.statistics.tidy import Rows, tidy
from sfumato.statistics.units import Scores, Unit, choose_unit, methods_of, require_method, rows_of, scores_of


@dataclass(frozen=True)
class ComparisonOptions:
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
    directions: Mapping[str, Better] | None = None

    def __post_init__(self) -> None:
        require_between("alpha", self.alpha, 0.0, 1.0)


def compare(
    rows: Rows,
    *,
    proposed: str,
    metric: str,
    unit: Unit | None = None,
    options: ComparisonOptions | None = None,
) -> pd.DataFrame:
    """Test every method against the proposed one: Wilcoxon signed-rank, two-sided, paired by unit.

    Args:
        rows: Tidy rows: :class:`~sfumato.evaluation.rows.Row` objects, a data frame with their columns, or
            CSV files, see :func:`~sfumato.statistics.tidy.tidy`.
        proposed: The method that the others are tested against.
        metric: Which metric; the other rows are ignored.
        unit: ``case``, ``run`` or ``fold``; None takes cases if the rows name two or more, else runs.
        options: Kind of test, level, ties.

    Returns:
        One row per data set, structure (with an ``Average`` where there are several), rater and other method:
        ``dataset metric structure rater method proposed unit_of_analysis n n_nonzero wins ties losses
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
        ...     {"method": name, "metric": "dice", "value": value, "seed": seed}
        ...     for name, values in {"ours": (0.9, 0.8, 0.7), "theirs": (0.8, 0.6, 0.4)}.items()
        ...     for seed, value in enumerate(values)
        ... ]
        >>> table = compare(pd.DataFrame(rows), proposed="ours", metric="dice")
        >>> table[["n", "wins", "p", "test"]].values.tolist()
        [[3, 3, 0.25, 'exact']]

    References:
        See :mod:`sfumato.statistics.ranks`.
    """
    options = options or ComparisonOptions()
    checked = rows_of(tidy(rows), metric)
    require_method(checked, proposed)
    direction_of(metric, options.directions)
    others = methods_of(checked, proposed)[:-1]
    records = [
        record
        for scores in scores_of(checked, choose_unit(checked, unit))
        for record in _column_tests(scores, proposed, others, options)
    ]
    return pd.DataFrame(records, columns=list(_TEST_COLUMNS))


_TEST_COLUMNS = (
    *("dataset", "metric", "structure", "rater", "method", "proposed", "unit_of_analysis", "n", "n_nonzero"),
    *("wins", "ties", "losses", "mean_difference", "median_difference", "statistic", "p", "test", "p_holm"),
    *("rank_biserial", "significant", "unmatched", "undefined", "note"),
)


def _column_tests(
    scores: Scores, proposed: str, others: Sequence[str], options: ComparisonOptions
) -> list[dict[str, Any]]:
    tests = [_pair_test(scores, proposed, other, options) for other in others]
    tested = sum(test["n"] > 0 for test in tests)
    for test, p_holm in zip(tests, holm([test["p"] for test in tests]).tolist(), strict=True):
        test |= {"p_holm": p_holm, "significant": p_holm < options.alpha}
        test["note"] = _test_note(test["n"], test["n_nonzero"], test["hidden_ties"], tested, options.alpha)
    return tests


def _pair_test(scores: Scores, proposed: str, other: str, options: ComparisonOptions) -> dict[str, Any]:
    direction = direction_of(scores.metric, options.directions)
    aligned = scores.aligned((proposed, other))
    better = oriented(aligned.values, direction)
    differences = better[:, 0] - better[:, 1]
    if options.tie_digits is not None:
        differences = np.round(differences, options.tie_digits)
    test = signed_rank_test(differences, test=options.test)
    # Back to the metric's own sense, proposed minus other; where 0 is best, of the distances from it.
    sign = 1.0 if direction == "up" else -1.0
    return {
        **scores.names,
        "method": other,
        "proposed": proposed,
        "unit_of_analysis": scores.unit,
        "n": test.n,
        "n_nonzero": test.n - test.zeros,
        "wins": int((differences > 0).sum()),
        "ties": test.zeros,
        "losses": int((differences < 0).sum()),
        "mean_difference": sign * float(differences.mean()) if test.n else np.nan,
        "median_difference": sign * float(np.median(differences)) if test.n else np.nan,
        "statistic": test.statistic,
        "p": test.p,
        "test": test.test,
        "rank_biserial": test.rank_biserial,
        "unmatched": len(aligned.unmatched),
        "undefined": aligned.undefined,
        "hidden_ties": 0
        if options.tie_digits is not None
        else same_up_to_rounding(differences, aligned.values),
    }


def _test_note(n: int, nonzero: int, hidden_ties: int, tested: int, alpha: float) -> str:
    if n == 0:
        return "no pair of defined values: nothing to test"
    if nonzero == 0:
        return "all differences are 0"
    notes, reach = [], smallest_p(nonzero)
    if reach >= alpha:
        notes.append(
            f"n too small: {nonzero} non-zero differences cannot give an exact p below {reach:.3g}, "
            f"so {alpha:g} is out of reach"
        )
    elif tested * reach >= alpha:
        notes.append(
            f"n too small for Holm's correction: {nonzero} non-zero differences give at best "
            f"p {reach:.3g}, and {min(1.0, tested * reach):.3g} as the smallest of {tested}"
        )
    if hidden_ties:
        notes.append(f"rounding error breaks {hidden_ties} ties, as in SciPy: tie_digits keeps them")
    return "; ".join(notes)


def rank_table(
    rows: Rows, *, metric: str, unit: Unit | None = None, options: ComparisonOptions | None = None
) -> pd.DataFrame:
    """Rank all methods within each unit; Friedman's test and Nemenyi's critical difference.

    Only units on which every method is defined take part (complete blocks).

    Returns:
        One row per data set, structure, rater and method: ``dataset metric structure rater method mean_rank
        n friedman p critical_difference``; rank 1 is best. Two mean ranks further apart than the critical
        difference differ at the level of ``options.alpha``. Without a complete unit all are nan.

    Raises:
        UnknownNameError: The metric, its direction or the unit is unknown.
        InputError: The table has no rows, or two values for one place.
    """
    options = options or ComparisonOptions()
    checked = rows_of(tidy(rows), metric)
    direction = direction_of(metric, options.directions)
    records: list[dict[str, object]] = []
    for scores in scores_of(checked, choose_unit(checked, unit)):
        blocks = scores.aligned(scores.methods)
        result = compare_ranks(oriented(blocks.values, direction), alpha=options.alpha)
        records += [
            {
                **scores.names,
                "method": method,
                "mean_rank": rank,
                "n": result.n,
                "friedman": result.statistic,
                "p": result.p,
                "critical_difference": result.critical_difference,
            }
            for method, rank in zip(scores.methods, result.mean_ranks, strict=True)
        ]
    return pd.DataFrame(records)
