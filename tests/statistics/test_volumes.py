import math

import numpy as np
import pytest
from scipy import stats

from sfumato.errors import InputError
from sfumato.evaluation.rows import Row
from sfumato.statistics.comparison import compare_methods
from sfumato.statistics.volumes import volume_table


def row(metric, value, *, case, method="a", seed=0, structure="head", unit="ml", status="ok"):
    return Row(f"{method}-seed{seed}", method, "d", seed, 0, case, "", structure, metric, value, unit, status)


def pair(predicted, reference, **place):
    return [row("volume", predicted, **place), row("volume_ref", reference, **place)]


def test_agreement_is_that_of_numpy_and_scipy_with_seeds_of_a_case_averaged():
    draw = np.random.default_rng(4)
    reference = draw.gamma(3, 10, 11)
    predicted = {
        method: reference * factor + draw.normal(0, 2, (2, 11))
        for method, factor in {"a": 1.2, "b": 0.7}.items()
    }
    rows = [
        found
        for method, seeds in predicted.items()
        for seed, values in enumerate(seeds)
        for case in range(11)
        for found in pair(values[case], reference[case], case=f"c{case}", method=method, seed=seed)
    ]
    table = volume_table(rows).set_index("method")
    assert list(table.index) == ["a", "b"]
    for method, values in predicted.items():
        mean, line = values.mean(axis=0), table.loc[method]
        gaps = mean - reference
        assert (line["n"], line["left_out"], line["unit"], line["status"]) == (11, 0, "ml", "ok")
        assert line["correlation"] == pytest.approx(stats.pearsonr(mean, reference).statistic, rel=1e-12)
        assert line["correlation"] == pytest.approx(np.corrcoef(mean, reference)[0, 1], rel=1e-12)
        assert line["mean_difference"] == pytest.approx(gaps.mean(), rel=1e-12)
        assert line["deviation"] == pytest.approx(gaps.std(ddof=1), rel=1e-12)
        limits = gaps.mean() + np.array([-1.96, 1.96]) * gaps.std(ddof=1)
        assert [line["lower"], line["upper"]] == pytest.approx(limits, rel=1e-12)


def test_structures_stand_apart_and_have_no_average():
    rows = [
        found
        for structure, gap in {"head": 1.0, "tail": -2.0}.items()
        for case in range(4)
        for found in pair(case + gap, float(case), case=f"c{case}", structure=structure)
    ]
    table = volume_table(rows)
    assert table["structure"].tolist() == ["head", "tail"]
    assert table["mean_difference"].tolist() == [1.0, -2.0]
    assert table["correlation"].tolist() == pytest.approx([1.0, 1.0])


def test_status_says_why_numbers_are_missing():
    undefined = row("volume", math.nan, case="c0", status="no_voxel")
    (none,) = volume_table([undefined, row("volume_ref", 1.0, case="c0")]).to_dict("records")
    assert (none["n"], none["left_out"], none["status"]) == (0, 1, "no_case")
    assert math.isnan(none["mean_difference"])
    (one,) = volume_table(pair(3.0, 1.0, case="c0")).to_dict("records")
    assert (one["n"], one["mean_difference"], one["status"]) == (1, 2.0, "one_case")
    assert math.isnan(one["lower"])
    flat = [found for case in range(3) for found in pair(float(case), 0.1, case=f"c{case}")]
    (constant,) = volume_table(flat).to_dict("records")
    assert (constant["n"], constant["status"]) == (3, "constant_volume")
    assert math.isnan(constant["correlation"])
    assert constant["upper"] == pytest.approx(0.9 + 1.96)


def test_case_without_both_volumes_is_left_out_and_counted():
    rows = [found for case in range(3) for found in pair(case + 1.0, float(case), case=f"c{case}")]
    rows.append(row("volume", 99.0, case="c9"))
    (line,) = volume_table(rows).to_dict("records")
    assert (line["n"], line["left_out"], line["mean_difference"]) == (3, 1, 1.0)


def test_tables_without_volumes_or_of_one_kind_give_no_line():
    assert volume_table([row("dice", 0.5, case="c0", unit="fraction")]).empty
    assert volume_table([row("volume", 0.5, case="c0")]).empty


def test_volumes_in_two_units_are_refused():
    rows = [row("volume", 0.5, case="c0"), row("volume_ref", 500.0, case="c0", unit="mm3")]
    with pytest.raises(InputError, match="volume of head comes in 'ml', volume_ref in 'mm3'"):
        volume_table(rows)


def test_comparison_brings_the_volumes_and_does_not_call_them_left_out():
    rows = [
        found
        for method in ("a", "b")
        for case in range(3)
        for found in (
            *pair(case + 1.0, float(case), case=f"c{case}", method=method),
            row("dice", 0.5 + case / 10, case=f"c{case}", method=method, unit="fraction"),
        )
    ]
    found = compare_methods(rows, proposed="b", metrics=["dice"])
    assert found.volumes["method"].tolist() == ["a", "b"]
    whole = compare_methods(rows, proposed="b")
    assert not [note for note in whole.notes if "is left out: whether up" in note]
    assert set(whole.summary["metric"]) == {"dice"}


def test_a_volume_that_is_there_twice_is_named_with_its_method():
    rows = [*pair(1.0, 2.0, case="c"), *pair(1.5, 2.0, case="c")]
    with pytest.raises(InputError, match="a second value of volume for a, head, seed 0"):
        volume_table(rows)
