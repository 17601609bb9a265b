import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sfumato.errors import InputError, UnknownNameError, ValueRangeError
from sfumato.evaluation.rows import Row
from sfumato.statistics import ComparisonOptions, compare, compare_methods, rank_table, summary_table

# Dice in percent of six trainings, published style. Every number below is worked by hand.
TRAININGS = {
    "Hard-Sig-Dice": (79, 80, 81, 82, 83, 84),
    "Hard-ReLU-Wing": (79, 84, 81, 82, 83, 84),
    "Soft-ReLU-Dice": (80, 82, 84, 86, 88, 90),
    "Soft-Sig-Wing": (81, 80, 87, 82, 93, 84),
    "Soft-ReLU-Wing": (80, 82, 84, 86, 88, 90),
}
BY_HAND = pd.DataFrame(
    {
        # Proposed minus other: 1 2 3 4 5 6, then 1 -2 3 4 5 6, zeros, -1 2 -3 4 -5 6. Of the 64 sums of
        # signed ranks 1, 3 and 27 are at most 0, 2 and 9; p is twice that share.
        "p": [2 / 64, 6 / 64, 1.0, 54 / 64],
        "p_holm": [8 / 64, 18 / 64, 1.0, 1.0],
        "rank_biserial": [1.0, 17 / 21, 0.0, 3 / 21],
        "wins": [6, 5, 0, 3],
        "ties": [0, 0, 6, 0],
        "losses": [0, 1, 0, 3],
        "mean_difference": [3.5, 17 / 6, 0.0, 0.5],
        "median_difference": [3.5, 3.5, 0.0, 0.5],
        "statistic": [0.0, 2.0, 0.0, 9.0],
    },
    index=["Hard-Sig-Dice", "Hard-ReLU-Wing", "Soft-ReLU-Dice", "Soft-Sig-Wing"],
)


def row(method, value, *, seed=0, fold=0, case="c1", rater="", structure="cell", metric="dice", **other):
    status = "ok" if math.isfinite(value) else "empty_prediction"
    fields = {"run": f"{method}-seed{seed}", "dataset": "d", "unit": "fraction", "status": status, **other}
    return Row(
        method=method,
        value=float(value),
        seed=seed,
        fold=fold,
        case=case,
        rater=rater,
        structure=structure,
        metric=metric,
        **fields,
    )


def trainings():
    return [
        row(method, value, seed=seed, case="", unit="%")
        for method, values in TRAININGS.items()
        for seed, value in enumerate(values)
    ]


def cases(seed=0, *, methods=("a", "b", "ours"), n=8, seeds=2, structures=("ET", "TC")):
    rng = np.random.default_rng(seed)
    return [
        row(method, rng.random(), seed=s, case=f"c{c}", structure=structure)
        for method in methods
        for s in range(seeds)
        for c in range(n)
        for structure in structures
    ]


def frame(rows):
    return pd.DataFrame([vars(one) for one in rows])


def test_published_style_table_gives_the_tests_worked_by_hand():
    table = compare(trainings(), proposed="Soft-ReLU-Wing", metric="dice").set_index("method")
    assert list(table.index) == list(BY_HAND.index)
    for name in BY_HAND:
        np.testing.assert_allclose(table[name].astype(float), BY_HAND[name], rtol=1e-12, err_msg=name)
    assert set(table["unit_of_analysis"]) == {"run"}
    assert set(table["test"]) == {"exact"}
    assert not table["significant"].any()


def test_published_style_table_gives_the_summary_worked_by_hand():
    table = summary_table(trainings(), unit="run").set_index("method")
    assert table["mean"].tolist() == pytest.approx([81.5, 493 / 6, 85, 84.5, 85])
    # Squared deviations sum to 17.5, 18.8333, 70, 117.5 and 70; ddof 1 divides by 5.
    expected = [math.sqrt(total / 5) for total in (17.5, 113 / 6, 70, 117.5, 70)]
    assert table["sd"].tolist() == pytest.approx(expected)
    assert table["se"].tolist() == pytest.approx([value / math.sqrt(6) for value in expected])
    assert table["median"].tolist() == [81.5, 82.5, 85, 83, 85]
    assert table["n"].tolist() == [6] * 5
    assert (table["ci_low"] < table["mean"]).all()
    assert (table["mean"] < table["ci_high"]).all()


@given(st.integers(0, 2**31 - 1), st.integers(1, 60))
def test_runs_of_one_value_give_the_p_of_scipy(seed, n):
    rng = np.random.default_rng(seed)
    ours, theirs = rng.random(n).round(3), rng.random(n).round(3)
    rows = [row(name, v, seed=i) for name, vs in (("o", ours), ("t", theirs)) for i, v in enumerate(vs)]
    if (ours == theirs).all():
        return
    table = compare(rows, proposed="o", metric="dice", unit="run")
    scipy = stats.wilcoxon(ours, theirs)
    assert table.loc[0, "p"] == pytest.approx(scipy.pvalue, rel=1e-9)


def test_seeds_of_one_case_are_averaged_before_the_test():
    rows = cases(n=7, seeds=3, structures=("cell",))
    means = frame(rows).groupby(["method", "case"])["value"].mean().unstack("method")
    table = compare(rows, proposed="ours", metric="dice", unit="case").set_index("method")
    assert table["n"].tolist() == [7, 7]
    for other in ("a", "b"):
        assert table.loc[other, "p"] == pytest.approx(stats.wilcoxon(means["ours"], means[other]).pvalue)
    assert summary_table(rows, unit="case")["n"].tolist() == [7, 7, 7]


def test_runs_are_means_over_their_cases():
    rows = cases(n=7, seeds=6, structures=("cell",))
    means = frame(rows).groupby(["method", "seed"])["value"].mean().unstack("method")
    table = compare(rows, proposed="ours", metric="dice", unit="run").set_index("method")
    assert table["n"].tolist() == [6, 6]
    assert table.loc["a", "p"] == pytest.approx(stats.wilcoxon(means["ours"], means["a"]).pvalue)
    assert summary_table(rows, unit="run")["mean"].tolist() == pytest.approx(list(means.mean()))


def test_folds_average_seeds_first():
    # Case c1 has two seeds, c2 one: the fold's mean is of the two cases, not of the three values.
    rows = [row("m", 0.2, seed=0), row("m", 0.4, seed=1), row("m", 0.9, seed=0, case="c2")]
    assert summary_table(rows, unit="fold")["mean"].tolist() == pytest.approx([0.6])


def test_unit_is_chosen_by_the_rows_unless_it_is_given():
    assert set(compare(cases(), proposed="ours", metric="dice")["unit_of_analysis"]) == {"case"}
    assert set(compare(trainings(), proposed="Soft-ReLU-Wing", metric="dice")["n"]) == {6}
    one_case = [row(m, s / 10, seed=s, case="all") for m in ("a", "b") for s in range(4)]
    assert compare(one_case, proposed="a", metric="dice")["n"].tolist() == [4]


def test_average_is_the_mean_of_the_structures_within_each_unit():
    rows = cases(n=6)
    table = compare(rows, proposed="ours", metric="dice")
    assert table["structure"].unique().tolist() == ["ET", "TC", "Average"]
    means = frame(rows).groupby(["method", "case"])["value"].mean().unstack("method")
    average = table[table["structure"] == "Average"].set_index("method")
    assert average.loc["a", "p"] == pytest.approx(stats.wilcoxon(means["ours"], means["a"]).pvalue)
    summary = summary_table(rows).pivot_table(index="method", columns="structure", values="mean")
    np.testing.assert_allclose(summary["Average"], (summary["ET"] + summary["TC"]) / 2)


def test_structures_of_single_raters_stay_out_of_the_average():
    rows = cases() + [row(m, 0.0, case="c0", structure="ET", rater="Ada") for m in ("a", "b", "ours")]
    table = summary_table(rows)
    summary = table[table["rater"] == ""].set_index(["structure", "method"])["mean"]
    assert summary["Average"]["a"] == pytest.approx((summary["ET"]["a"] + summary["TC"]["a"]) / 2)


def test_an_average_in_the_rows_is_kept():
    rows = [
        *cases(),
        *(row(m, 0.5, case=f"c{c}", structure="average") for m in ("a", "b", "ours") for c in (0, 1)),
    ]
    assert "Average" not in set(summary_table(rows)["structure"])


def test_undefined_values_are_excluded_in_pairs_and_counted():
    rows = [
        row(m, v, case=f"c{i}", metric="hd95", unit="mm")
        for m, values in (("ours", (1, 2, 3, math.nan, 5, 6, 7)), ("theirs", (2, 4, math.nan, 4, 8, 10, 12)))
        for i, v in enumerate(values)
    ]
    result = compare(rows, proposed="ours", metric="hd95").iloc[0]
    assert (result["n"], result["undefined"], result["unmatched"]) == (5, 2, 0)
    assert result["p"] == pytest.approx(stats.wilcoxon([1, 2, 5, 6, 7], [2, 4, 8, 10, 12]).pvalue)
    assert result["wins"] == 5  # a smaller distance is better
    assert result["mean_difference"] == pytest.approx(-(1 + 2 + 3 + 4 + 5) / 5)
    summary = summary_table(rows).set_index("method")
    assert summary["undefined"].tolist() == [1, 1]
    assert summary.loc["ours", "mean"] == 4.0


def test_a_case_undefined_for_one_structure_has_no_average():
    rows = [
        row(m, v, case=f"c{i}", structure=s)
        for m in ("a", "b")
        for s in ("ET", "TC")
        for i, v in enumerate((0.1, math.nan if s == "ET" else 0.2, 0.3))
    ]
    summary = summary_table(rows).set_index(["structure", "method"])
    assert summary.loc[("Average", "a"), "n"] == 2
    assert summary.loc[("Average", "a"), "undefined"] == 1


def test_values_that_a_method_lacks_are_listed_and_left_out():
    rows = [one for one in cases(structures=("cell",)) if not (one.method == "a" and one.case == "c3")]
    result = compare_methods(rows, proposed="ours")
    table = result.tests.set_index("method")
    assert table.loc["a", ["n", "unmatched"]].tolist() == [7, 2]  # two seeds
    assert table.loc["b", ["n", "unmatched"]].tolist() == [8, 0]
    assert result.unmatched[["lacks", "has", "seed", "case"]].values.tolist() == [
        ["a", "ours", "0", "c3"],
        ["a", "ours", "1", "c3"],
    ]
    assert "a lacks 2 values that ours has: they are in neither test nor ranks" in result.notes


def test_a_seed_that_one_method_lacks_does_not_enter_the_pairs_of_its_case():
    rows = [row("ours", 0.5), row("ours", 0.9, seed=1), row("theirs", 0.4)]
    result = compare(rows, proposed="ours", metric="dice", unit="case").iloc[0]
    assert result["mean_difference"] == pytest.approx(0.1)
    assert result["unmatched"] == 1


def test_methods_without_a_common_case_are_not_tested():
    rows = [row("ours", 0.5, case="c1"), row("theirs", 0.4, case="c2")]
    result = compare(rows, proposed="ours", metric="dice").iloc[0]
    assert (result["n"], result["test"], result["unmatched"]) == (0, "none", 2)
    assert math.isnan(result["p"])
    assert not result["significant"]
    assert "nothing to test" in result["note"]


def test_one_method_alone_is_summarised_and_not_tested():
    result = compare_methods(cases(methods=("ours",)), proposed="ours")
    assert result.tests.empty
    assert len(result.summary) == 3
    assert "ours is the only method: nothing to test" in result.notes


def test_too_few_pairs_are_noted():
    few = compare(cases(n=5, structures=("cell",)), proposed="ours", metric="dice")
    assert few["note"].str.startswith("n too small: 5 non-zero differences cannot give").all()
    seven = compare(cases(n=6, structures=("cell",)), proposed="ours", metric="dice")
    assert seven["note"].str.startswith("n too small for Holm's correction").all()
    enough = compare(cases(n=7, structures=("cell",)), proposed="ours", metric="dice")
    assert (enough["note"] == "").all()


def test_equal_methods_tie_everywhere():
    rows = [row(m, 0.1 * c, case=f"c{c}") for m in ("a", "b") for c in range(8)]
    result = compare(rows, proposed="a", metric="dice").iloc[0]
    assert (result["p"], result["ties"], result["rank_biserial"]) == (1.0, 8, 0.0)
    assert result["note"] == "all differences are 0"


def test_ties_that_rounding_breaks_are_noted_and_kept_on_request():
    pairs = ((0.3, 0.1), (0.5, 0.3), (0.9, 0.1), (0.4, 0.7), (0.8, 0.3), (0.6, 0.2), (0.95, 0.2))
    rows = [row(m, pair[i], case=f"c{c}") for c, pair in enumerate(pairs) for i, m in enumerate(("o", "t"))]
    raw = compare(rows, proposed="o", metric="dice").iloc[0]
    kept = compare(rows, proposed="o", metric="dice", options=ComparisonOptions(tie_digits=6)).iloc[0]
    assert (raw["test"], kept["test"]) == ("exact", "exact (ties)")
    assert "rounding error breaks 1 ties" in raw["note"]
    assert kept["note"] == ""
    assert kept["p"] == pytest.approx(stats.wilcoxon([0.2, 0.2, 0.8, -0.3, 0.5, 0.4, 0.75]).pvalue)


def test_relative_volume_difference_is_best_at_zero():
    rows = [
        row(m, v, case=f"c{i}", metric="rvd")
        for m, values in (("ours", (0.1, -0.1, 0.2)), ("theirs", (-0.5, 0.3, -0.4)))
        for i, v in enumerate(values)
    ]
    assert compare(rows, proposed="ours", metric="rvd").iloc[0]["wins"] == 3
    assert rank_table(rows, metric="rvd")["mean_rank"].tolist() == [1.0, 2.0]


def test_kind_of_test_is_chosen_and_named():
    rows = cases(n=12, structures=("cell",))
    means = frame(rows).groupby(["method", "case"])["value"].mean().unstack("method")
    result = compare(rows, proposed="ours", metric="dice", options=ComparisonOptions(test="approx")).iloc[0]
    assert result["test"] == "approx"
    assert result["p"] == pytest.approx(stats.wilcoxon(means["ours"], means["a"], method="approx").pvalue)


def test_ranks_agree_with_friedman_of_scipy_on_complete_units():
    rows = cases(n=9, structures=("cell",))
    rows = [one for one in rows if not (one.method == "b" and one.case == "c0")]
    means = frame(rows).groupby(["method", "case"])["value"].mean().unstack("method").dropna()
    ranks = rank_table(rows, metric="dice").set_index("method")
    assert set(ranks["n"]) == {8}
    np.testing.assert_allclose(ranks["mean_rank"], means.rank(axis=1, ascending=False).mean())
    scipy = stats.friedmanchisquare(*(means[name] for name in means))
    np.testing.assert_allclose(ranks["friedman"], scipy.statistic)
    np.testing.assert_allclose(ranks["p"], scipy.pvalue)


def test_data_sets_are_compared_apart():
    second = [
        row(one.method, one.value / 2, seed=one.seed, case=one.case, structure=one.structure, dataset="e")
        for one in cases(1)
    ]
    alone = compare(cases(0), proposed="ours", metric="dice")
    both = compare(cases(0) + second, proposed="ours", metric="dice")
    pd.testing.assert_frame_equal(both[both["dataset"] == "d"], alone)
    assert len(both) == 2 * len(alone)


@given(st.integers(0, 2**31 - 1), st.randoms(use_true_random=False))
def test_order_of_the_rows_does_not_matter(seed, random):
    rows = cases(seed, n=4)
    shuffled = list(rows)
    random.shuffle(shuffled)
    keys = ["structure", "method"]
    first = compare(rows, proposed="ours", metric="dice").set_index(keys).sort_index()
    second = compare(shuffled, proposed="ours", metric="dice").set_index(keys).sort_index()
    names = ["n", "wins", "ties", "losses", "p", "statistic", "rank_biserial"]
    pd.testing.assert_frame_equal(first[names], second[names], check_exact=True)


def test_metric_of_unknown_direction_is_noted_and_refused_by_name():
    rows = [
        *cases(),
        *(row(m, 1.0, case=f"c{c}", metric="volume", unit="ml") for m in ("a", "ours") for c in (0, 1)),
    ]
    result = compare_methods(rows, proposed="ours")
    assert set(result.summary["metric"]) == {"dice"}
    assert "volume is left out: whether up, down or zero is better is not known" in result.notes
    with pytest.raises(UnknownNameError, match="say whether up, down or zero"):
        compare_methods(rows, proposed="ours", metrics=["volume"])
    given_one = ComparisonOptions(directions={"Volume": "down"})
    assert set(compare_methods(rows, proposed="ours", options=given_one).tests["metric"]) == {
        "dice",
        "volume",
    }


def test_wrong_names_are_refused_with_a_suggestion():
    with pytest.raises(UnknownNameError, match=r"unknown method 'our'\. Did you mean 'ours'"):
        compare(cases(), proposed="our", metric="dice")
    with pytest.raises(UnknownNameError, match=r"unknown metric 'dicee'\. Did you mean 'dice'"):
        compare(cases(), proposed="ours", metric="dicee")
    with pytest.raises(UnknownNameError, match="unknown metric 'hd'"):
        compare_methods(cases(), proposed="ours", metrics=["hd"])
    with pytest.raises(UnknownNameError, match=r"unit of analysis 'cases'\. Did you mean 'case'"):
        compare(cases(), proposed="ours", metric="dice", unit="cases")  # type: ignore[arg-type]  # the mistake is the test
    with pytest.raises(ValueRangeError, match="alpha is 2"):
        ComparisonOptions(alpha=2)


def test_a_unit_that_no_row_states_is_refused():
    with pytest.raises(InputError, match="no row names a case: choose run"):
        compare(trainings(), proposed="Soft-ReLU-Wing", metric="dice", unit="case")
    bare = pd.DataFrame({"method": ["a"], "metric": ["dice"], "value": [0.5], "case": ["c"]})
    with pytest.raises(InputError, match="no row has a fold"):
        summary_table(bare, unit="fold")
    with pytest.raises(InputError, match="no row has a seed, a fold or a run"):
        summary_table(bare, unit="run")


def test_two_values_for_one_place_are_refused():
    with pytest.raises(InputError, match=r"row 1: a second value of dice for m, cell, seed 0 fold 0 case c1"):
        summary_table([row("m", 0.5), row("m", 0.6)])


def test_two_units_of_one_metric_are_refused():
    with pytest.raises(InputError, match="dice comes in several units \\('%', 'fraction'\\)"):
        summary_table([row("m", 0.5), row("n", 60, unit="%")])
