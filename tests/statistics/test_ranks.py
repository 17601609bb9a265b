import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from sfumato.errors import ShapeError, UnknownNameError, ValueRangeError
from sfumato.statistics.ranks import (
    bootstrap_interval,
    compare_ranks,
    holm,
    same_up_to_rounding,
    signed_rank_test,
    smallest_p,
)

whole_numbers = st.lists(st.integers(-6, 6), min_size=1, max_size=60)
fractions = st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=1, max_size=60)


def enumerated_p(differences):
    """The definition: the share of the 2^n sign patterns whose smaller tail is as small, twice."""
    nonzero = [value for value in differences if value != 0]
    ranks = stats.rankdata(np.abs(nonzero))
    observed = sum(rank for rank, value in zip(ranks, nonzero, strict=True) if value > 0)
    sums = [sum(itertools.compress(ranks, signs)) for signs in itertools.product((0, 1), repeat=len(ranks))]
    below = sum(total <= observed + 1e-9 for total in sums)
    above = sum(total >= observed - 1e-9 for total in sums)
    return min(1.0, 2 * min(below, above) / len(sums))


def scipy_test(differences, method="auto"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SciPy divides 0 by 0 where all differences are 0
        return stats.wilcoxon(differences, method=method)


@settings(max_examples=50)
@given(st.one_of(whole_numbers, fractions))
def test_default_test_gives_the_statistic_and_p_of_scipy(differences):
    if not any(differences):
        return
    ours, scipy = signed_rank_test(differences), scipy_test(differences)
    assert ours.p == pytest.approx(scipy.pvalue, rel=1e-9)
    assert ours.statistic == scipy.statistic


@given(whole_numbers)
def test_approximation_is_the_one_of_scipy_without_continuity_correction(differences):
    if not any(differences):
        return
    ours = signed_rank_test(differences, test="approx")
    assert ours.test == "approx"
    assert ours.p == pytest.approx(scipy_test(differences, "approx").pvalue, rel=1e-9)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_exact_test_counts_all_sign_patterns_with_ties_too(differences):
    ours = signed_rank_test(differences, test="exact")
    assert ours.p == pytest.approx(enumerated_p(differences), rel=1e-12)
    magnitudes = [abs(value) for value in differences if value]
    assert ours.test == ("exact (ties)" if len(set(magnitudes)) < len(magnitudes) else "exact")


def test_test_by_hand():
    # Ranks 1..6, rank 2 below 0: three of 64 sums are at most 2 ({}, {1}, {2}), twice that is 6 / 64.
    outcome = signed_rank_test([1, -2, 3, 4, 5, 6])
    assert (outcome.statistic, outcome.p, outcome.test) == (2.0, 6 / 64, "exact")
    assert outcome.rank_biserial == pytest.approx((19 - 2) / 21)


def test_automatic_choice_is_exact_up_to_fifty_and_approximate_beyond():
    values = np.arange(1.0, 52) * np.where(np.arange(51) % 3, 1, -1)
    assert signed_rank_test(values[:50]).test == "exact"
    assert signed_rank_test(values).test == "approx"


def test_automatic_choice_with_ties_is_exact_up_to_thirteen():
    values = [1.0, 1.0, *range(2, 14)]
    assert signed_rank_test(values[:13]).test == "exact (ties)"
    assert signed_rank_test(values).test == "approx"


def test_zeros_are_dropped_and_counted():
    with_zeros, without = signed_rank_test([0, 1, 0, -2, 3]), signed_rank_test([1, -2, 3])
    assert with_zeros.zeros == 2
    assert (with_zeros.n, without.n) == (5, 3)
    assert (with_zeros.p, with_zeros.statistic) == (without.p, without.statistic)


@pytest.mark.parametrize("test", ["auto", "exact", "approx"])
def test_all_zero_gives_p_one_and_no_effect(test):
    outcome = signed_rank_test([0.0] * 20, test=test)
    assert (outcome.p, outcome.rank_biserial, outcome.zeros) == (1.0, 0.0, 20)


def test_no_difference_gives_nan():
    outcome = signed_rank_test([])
    assert math.isnan(outcome.p)
    assert math.isnan(outcome.rank_biserial)
    assert outcome.test == "none"


@given(whole_numbers)
def test_exchanging_the_methods_turns_the_effect_and_keeps_p(differences):
    there, back = signed_rank_test(differences), signed_rank_test([-value for value in differences])
    assert there.p == pytest.approx(back.p, rel=1e-12)
    assert there.rank_biserial == pytest.approx(-back.rank_biserial)
    assert -1 <= there.rank_biserial <= 1


@given(whole_numbers)
def test_p_never_falls_below_the_smallest_within_reach(differences):
    outcome = signed_rank_test(differences, test="exact")
    assert outcome.p >= smallest_p(outcome.n - outcome.zeros) * (1 - 1e-12)


def test_five_differences_cannot_reach_one_in_twenty_and_six_can():
    assert smallest_p(5) == signed_rank_test([1, 2, 3, 4, 5]).p == 0.0625
    assert smallest_p(6) == signed_rank_test([1, 2, 3, 4, 5, 6]).p == 0.03125
    assert smallest_p(0) == 1.0


def test_wrong_differences_are_named():
    with pytest.raises(ShapeError, match=r"shape \(2, 2\)"):
        signed_rank_test(np.zeros((2, 2)))
    with pytest.raises(ValueRangeError, match="nan or infinite"):
        signed_rank_test([1.0, math.nan])
    with pytest.raises(UnknownNameError, match="Did you mean 'exact'"):
        signed_rank_test([1.0], test="exakt")  # type: ignore[arg-type]  # the mistake is the test


def test_holm_agrees_with_statsmodels():
    for tests in (1, 4, 9):
        p_values = np.random.default_rng(tests).beta(0.3, 1.0, tests).round(2)
        np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], rtol=1e-12)
    assert holm([]).shape == (0,)


def test_holm_by_hand_with_a_test_that_could_not_be_done():
    # Three tests: 0.01 * 3, then max(0.03, 0.02 * 2), then max(0.04, 0.03 * 1).
    np.testing.assert_allclose(holm([0.03, math.nan, 0.01, 0.02]), [0.04, math.nan, 0.03, 0.04])


@given(st.integers(1, 12), st.integers(3, 6), st.integers(0, 2**31 - 1))
def test_friedman_agrees_with_scipy(n, k, seed):
    table = np.random.default_rng(seed).integers(0, 5, (n, k)).astype(float)
    ours = compare_ranks(table)
    if np.ptp(table, axis=1).max() == 0:
        assert (ours.statistic, ours.p) == (0.0, 1.0)
        return
    scipy = stats.friedmanchisquare(*table.T)
    assert ours.statistic == pytest.approx(scipy.statistic, abs=1e-9)
    assert ours.p == pytest.approx(scipy.pvalue, abs=1e-9)


def test_mean_ranks_by_hand_share_ties_and_put_the_best_first():
    ours = compare_ranks([[0.9, 0.8, 0.8], [0.7, 0.9, 0.1]])
    assert ours.mean_ranks == (1.5, 1.75, 2.75)


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_critical_difference_uses_the_printed_table_of_demsar(methods, q):
    table = np.random.default_rng(0).normal(size=(14, methods))
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 14))
    assert compare_ranks(table).critical_difference == pytest.approx(expected, rel=3e-4)


def test_mean_ranks_of_nothing_are_nan():
    assert math.isnan(compare_ranks(np.zeros((0, 3))).mean_ranks[0])
    assert math.isnan(compare_ranks(np.zeros((5, 1))).p)
    assert compare_ranks(np.zeros((5, 1))).mean_ranks == (1.0,)
    with pytest.raises(ShapeError, match="units and methods"):
        compare_ranks(np.zeros(3))


def test_interval_agrees_with_scipys_percentile_bootstrap():
    values = np.random.default_rng(3).gamma(2.0, size=40)
    scipy = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    low, high = bootstrap_interval(values, resamples=20_000)
    assert low == pytest.approx(scipy.confidence_interval.low, abs=0.02 * values.std())
    assert high == pytest.approx(scipy.confidence_interval.high, abs=0.02 * values.std())


def test_interval_of_two_values_is_their_range():
    # Each extreme mean has probability 1/4, far above the 2.5 % cut off at either end.
    assert bootstrap_interval([1.0, 3.0]) == (1.0, 3.0)


def test_interval_is_repeated_by_its_seed_and_changed_by_another():
    values = np.random.default_rng(4).normal(size=30)
    assert bootstrap_interval(values, seed=7) == bootstrap_interval(values, seed=7)
    assert bootstrap_interval(values, seed=7) != bootstrap_interval(values, seed=8)


def test_interval_of_many_values_is_drawn_in_pieces():
    values = np.random.default_rng(5).normal(size=3000)
    low, high = bootstrap_interval(values, resamples=1000)
    standard_error = values.std(ddof=1) / math.sqrt(3000)
    assert high - low == pytest.approx(2 * 1.96 * standard_error, rel=0.15)


def test_interval_of_one_value_is_undefined():
    assert all(math.isnan(end) for end in bootstrap_interval([0.5]))


def test_ties_hidden_by_rounding_are_counted():
    ours, theirs = np.array([0.3, 0.5, 0.9]), np.array([0.1, 0.3, 0.1])
    assert (ours - theirs)[0] != (ours - theirs)[1]  # both are 0.2 on paper
    assert same_up_to_rounding(ours - theirs, np.stack([ours, theirs])) == 1
    assert same_up_to_rounding([0.1, 0.2, 0.4], [1.0]) == 0
    assert same_up_to_rounding([0.1, 0.1, 0.1 - 0.1], [1.0]) == 0  # ties that are there need no note
    assert same_up_to_rounding([0.1 + 0.2 - 0.3], [0.3]) == 1  # a zero that rounding hides
    assert same_up_to_rounding([0.0], [0.0]) == same_up_to_rounding([], []) == 0
