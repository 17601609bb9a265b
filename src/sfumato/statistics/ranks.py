"""Tests and intervals on plain arrays: Wilcoxon, Holm, rank-biserial, Friedman, Nemenyi, bootstrap.

Nothing here knows of methods, cases or files. ``sfumato.statistics.tests`` brings the numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from sfumato.checks import require_choice
from sfumato.errors import ShapeError, ValueRangeError

TestName = Literal["auto", "exact", "approx"]
Floats = npt.NDArray[np.float64]

EXACT_UP_TO = 50  # SciPy's "auto": the exact null distribution up to here, without ties and zeros
PERMUTED_UP_TO = 13  # SciPy's "auto": with ties or zeros, all 2^n signs up to here
_SIGNIFICANT_DIGITS = 12


@dataclass(frozen=True)
class SignedRankTest:
    """Outcome of a Wilcoxon signed-rank test on paired differences."""

    statistic: float  # the smaller of the two rank sums; nan without differences
    p: float  # two-sided; nan without differences
    test: str  # how p was computed: "exact", "exact (ties)" or "approx"; "none" without differences
    n: int  # number of differences
    zeros: int  # how many of them are 0
    rank_biserial: float  # (rank sum above 0 - rank sum below 0) / their sum; 0 where all are 0


def signed_rank_test(differences: npt.ArrayLike, *, test: TestName = "auto") -> SignedRankTest:
    """Test differences with Wilcoxon's signed ranks, two-sided: do they scatter symmetrically about 0?

    Zero differences are dropped before ranking (Wilcoxon's rule, SciPy's ``zero_method="wilcox"``); equal
    magnitudes share their mean rank. ``p`` is

    - ``exact``: from the distribution of the rank sum over all ``2^n`` signs of the ranks that came. Without
      ties it is SciPy's ``exact``; with ties SciPy rounds the rank sum, ours counts the mean ranks
      themselves and is called ``exact (ties)``.
    - ``approx``: from the normal distribution, variance corrected for ties, no continuity correction: SciPy's
      ``approx`` or ``asymptotic``.
    - ``auto``: SciPy's choice. Up to 50 differences without ties or zeros, or up to 13 with them: exact.
      Otherwise the normal approximation.

    Args:
        differences: One number per pair, ``(n,)``, finite.
        test: Which of the three.

    Returns:
        The outcome. No difference at all: ``p`` nan. All zero: ``p`` 1 and effect 0.

    Raises:
        ShapeError: The differences are not one axis of numbers.
        ValueRangeError: A difference is nan or infinite.
        UnknownNameError: There is no such test.

    Example:
        >>> signed_rank_test([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).p
        0.03125

    References:
        Wilcoxon (1945), Individual comparisons by ranking methods, doi:10.2307/3001968.
        Kerby (2014), The simple difference formula, doi:10.2466/11.IT.3.1 (matched-pairs rank-biserial).
    """
    require_choice("test", test, ("auto", "exact", "approx"))
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise ShapeError(f"differences has shape {values.shape}: give one axis, one number per pair")
    if not np.isfinite(values).all():
        raise ValueRangeError("differences holds nan or infinite values: leave such pairs out")
    nonzero = values[values != 0]
    zeros = len(values) - len(nonzero)
    if len(values) == 0:
        return SignedRankTest(math.nan, math.nan, "none", 0, 0, math.nan)
    ranks = np.asarray(stats.rankdata(np.abs(nonzero)), dtype=np.float64)
    above, below = float(ranks[nonzero > 0].sum()), float(ranks[nonzero < 0].sum())
    ties = len(np.unique(ranks)) < len(ranks)
    if test == "auto":
        limit = PERMUTED_UP_TO if ties or zeros else EXACT_UP_TO
        test = "exact" if len(values) <= limit else "approx"
    name = "exact (ties)" if test == "exact" and ties else test
    if len(nonzero) == 0:
        return SignedRankTest(0.0, 1.0, name, len(values), zeros, 0.0)
    if name == "exact (ties)":
        p = _exact_p_with_ties(ranks, min(above, below))
    else:
        p = float(stats.wilcoxon(nonzero, method=test).pvalue)
    return SignedRankTest(min(above, below), p, name, len(values), zeros, (above - below) / (above + below))


def _exact_p_with_ties(ranks: Floats, smaller: float) -> float:
    """Return the share of all sign patterns with a rank sum as extreme, two-sided, at most 1.

    SciPy has no such test: its ``exact`` rounds the rank sum, and its permutations are too many from about 20
    differences on.
    """
    # Mean ranks are multiples of a half, so doubled ranks are whole and sums can be counted in an array.
    doubled = np.rint(2 * ranks).astype(np.int64)
    share = np.zeros(int(doubled.sum()) + 1)
    share[0] = 1.0
    for rank in doubled:
        shifted = np.zeros_like(share)
        shifted[rank:] = share[: len(share) - rank]
        share = (share + shifted) / 2
    return min(1.0, 2 * float(share[: round(2 * smaller) + 1].sum()))


def smallest_p(n: int) -> float:
    """Return the smallest two-sided p of ``n`` non-zero differences, all of one sign: ``2 / 2^n``."""
    return min(1.0, 2.0 ** (1 - n))


def same_up_to_rounding(differences: npt.ArrayLike, scale: npt.ArrayLike) -> int:
    """Count ties and zeros that rounding error hides, as in ``0.3 - 0.1`` and ``0.2``.

    Args:
        differences: The paired differences, ``(n,)``.
        scale: The numbers that were subtracted; their largest magnitude sets the rounding error.

    Returns:
        How many distinct magnitudes coincide with another one, or with 0, once differences are rounded to
        12 significant digits of the largest number. 0 for no differences.
    """
    values = np.unique(np.append(np.abs(np.asarray(differences, dtype=np.float64)), 0.0))
    largest = float(np.max(np.abs(np.asarray(scale, dtype=np.float64)), initial=0.0))
    if largest == 0:
        return 0
    step = 10.0 ** (math.floor(math.log10(largest)) + 1 - _SIGNIFICANT_DIGITS)
    return int((np.diff(values) <= step).sum())


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjust p-values for the number of tests, step down (Holm).

    The i-th smallest of m is multiplied by ``m - i + 1``, kept in order, and at most 1. A nan is no test: it
    stays nan and does not count in m.

    Returns:
        The adjusted p-values, ``(m,)``, in the order that came; empty for none.

    References:
        Holm (1979), A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


@dataclass(frozen=True)
class RankComparison:
    """Mean ranks of k methods over n units, with Friedman's test and Nemenyi's critical difference."""

    mean_ranks: tuple[float, ...]  # 1 is best; nan without units
    n: int
    statistic: float  # Friedman's chi-squared, corrected for ties
    p: float
    critical_difference: float  # mean ranks further apart than this differ at level alpha


def compare_ranks(scores: npt.ArrayLike, *, alpha: float = 0.05) -> RankComparison:
    """Rank k methods within each unit; test the mean ranks (Friedman) and find the gap that counts (Nemenyi).

    Args:
        scores: ``(n, k)``, one row per unit, larger is better, finite. Equal scores share their mean rank.
        alpha: Level of the critical difference ``q sqrt(k (k + 1) / (6 n))``.

    Returns:
        The comparison. One method or no unit: ``p`` and critical difference nan. All scores equal: ``p`` 1.

    Raises:
        ShapeError: The scores do not have two axes.

    References:
        Demšar (2006), Statistical comparisons of classifiers over multiple data sets, JMLR 7.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2:
        raise ShapeError(f"scores has shape {table.shape}: give two axes, units and methods")
    n, k = table.shape
    if n == 0 or k == 0:
        return RankComparison((math.nan,) * k, n, math.nan, math.nan, math.nan)
    ranks = np.asarray(stats.rankdata(-table, axis=1), dtype=np.float64)
    means = ranks.mean(axis=0)
    if k == 1:
        return RankComparison((float(means[0]),), n, math.nan, math.nan, math.nan)
    # SciPy's friedmanchisquare is the same, but refuses two methods and gives nan where all scores are tied.
    # The spread within units is n k (k^2 - 1) / 12 without ties, less with them, 0 if every unit is all ties.
    spread = float(((ranks - (k + 1) / 2) ** 2).sum())
    between = (k - 1) * n * n * float(((means - (k + 1) / 2) ** 2).sum())
    statistic = between / spread if spread > 0 else 0.0
    q = float(stats.studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2)
    difference = q * math.sqrt(k * (k + 1) / (6 * n))
    p = float(stats.chi2.sf(statistic, k - 1))
    return RankComparison(tuple(float(mean) for mean in means), n, statistic, p, difference)


def bootstrap_interval(
    values: npt.ArrayLike, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of the mean: resample with replacement, take the quantiles.

    Args:
        values: ``(n,)``, one per independent unit, finite.
        level: Share of the resampled means inside the interval.
        resamples: How many times to resample.
        seed: The same seed gives the same interval, whatever was computed before.

    Returns:
        Lower and upper end; nan for fewer than two values.

    References:
        Efron (1979), Bootstrap methods: another look at the jackknife, doi:10.1214/aos/1176344552.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2:
        return math.nan, math.nan
    interval = stats.bootstrap(
        (sample,),
        np.mean,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
        # About a million draws at a time, so that many units do not fill the memory.
        batch=max(1, 1_000_000 // len(sample)),
    ).confidence_interval
    return float(interval.low), float(interval.high)
