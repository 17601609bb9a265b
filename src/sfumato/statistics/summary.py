"""Each method's mean, spread and interval over the units of analysis, from checked rows."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sfumato.statistics.ranks import bootstrap_interval
from sfumato.statistics.tidy import Rows, tidy
from sfumato.statistics.units import AVERAGE, Scores, Unit, choose_unit, rows_of, scores_of

COLUMNS = (
    *("dataset", "metric", "structure", "rater", "method", "measure", "unit_of_analysis"),
    *("n", "mean", "sd", "se", "median", "ci_low", "ci_high", "undefined"),
)


def summary_table(
    rows: Rows, *, metric: str | None = None, unit: Unit | None = None, resamples: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Summarise each method over its units: centre, spread, interval, and what is undefined.

    Args:
        rows: As for :func:`~sfumato.statistics.tidy.tidy`.
        metric: Only this metric; None takes all.
        unit: ``case``, ``run`` or ``fold``; None takes cases if the rows name two or more, else runs.
        resamples: Bootstrap resamples of the interval; 0 leaves the intervals out.
        seed: Seed of the bootstrap.

    Returns:
        One row per data set, metric, structure, rater and method: ``dataset metric structure rater method
        measure unit_of_analysis n mean sd se median ci_low ci_high undefined``. ``n`` counts units with a
        value; ``sd`` has ddof 1 and is nan for fewer than two; ``ci_low`` and ``ci_high`` are the 95 %
        bootstrap interval of the mean; ``undefined`` counts the values (not units) without a number.

    Raises:
        UnknownNameError: The metric or unit is unknown.
        InputError: The table has no rows, or two values for one place.
    """
    checked = tidy(rows) if metric is None else rows_of(tidy(rows), metric)
    return pd.DataFrame(
        [
            _summary(scores, method, resamples, seed)
            for scores in scores_of(checked, choose_unit(checked, unit))
            for method in scores.methods
        ],
        columns=list(COLUMNS),
    )


def _summary(scores: Scores, method: str, resamples: int, seed: int) -> dict[str, object]:
    values = scores.of(method).to_numpy()
    n = len(values)
    # Sums are exact before they are rounded: the order of the rows does not matter.
    mean = math.fsum(values) / n if n else math.nan
    deviation = math.sqrt(math.fsum((values - mean) ** 2) / (n - 1)) if n > 1 else math.nan
    low, high = bootstrap_interval(values, resamples=resamples, seed=seed) if resamples else (np.nan, np.nan)
    return {
        **scores.names,
        "method": method,
        "measure": scores.measure,
        "unit_of_analysis": scores.unit,
        "n": n,
        "mean": mean,
        "sd": deviation,
        "se": deviation / math.sqrt(max(n, 1)),
        "median": float(np.median(values)) if n else np.nan,
        "ci_low": low,
        "ci_high": high,
        "undefined": scores.undefined(method),
    }


def overall(table: pd.DataFrame) -> pd.DataFrame:
    """Select one structure per data set and metric: the average over structures, else the only one.

    Args:
        table: Rows with ``dataset metric structure rater``, such as those of :func:`summary_table`.
    """
    table = table[table["rater"] == ""]
    averaged = table["structure"].str.lower() == AVERAGE.lower()
    several = averaged.groupby([table["dataset"], table["metric"]]).transform("any")
    return table[averaged | ~several]
