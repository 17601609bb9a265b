"""A temperature-scaled model is tested where its numbers are its own, and nowhere counted twice."""

import dataclasses

import numpy as np
import pandas as pd

from sfumato.evaluation.rows import Row
from sfumato.statistics import compare_methods

RNG = np.random.default_rng(5)
CASES = 9


def rows_of(method, metric, values):
    run, suffix = method.removesuffix("+T"), "+T" if method.endswith("+T") else ""
    return [
        Row(
            f"{run}-seed0-fold0{suffix}",
            method,
            "d",
            0,
            0,
            f"case{n}",
            "",
            "all",
            metric,
            float(value),
            "fraction",
        )
        for n, value in enumerate(values)
    ]


def tables():
    dice = {name: RNG.random(CASES).round(3) for name in ("ce", "ls", "svls", "ours")}
    ece = {name: RNG.random(CASES).round(3) for name in (*dice, "ce+T", "svls+T", "ours+T")}
    plain = [row for name, values in dice.items() for row in rows_of(name, "dice", values)]
    scaled = [row for name in ("ce", "svls", "ours") for row in rows_of(f"{name}+T", "dice", dice[name])]
    calibration = [row for name, values in ece.items() for row in rows_of(name, "ece", values)]
    return plain, scaled, calibration


def test_scaled_model_with_its_models_numbers_changes_no_p_and_no_rank():
    plain, scaled, calibration = tables()
    alone = compare_methods(plain, proposed="ours", metrics=["dice"])
    found = compare_methods([*plain, *scaled, *calibration], proposed="ours")
    tests = found.tests[found.tests["metric"] == "dice"]
    own = tests[~tests["method"].str.endswith("+T")].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone.tests)
    copied = tests[tests["method"] == "ce+T"].assign(method="ce").reset_index(drop=True)
    pd.testing.assert_frame_equal(copied, own[own["method"] == "ce"].reset_index(drop=True))
    # The proposed method is not tested against itself, nor against its scaled model's same numbers.
    assert set(tests["method"]) == {"ce", "ls", "svls", "ce+T", "svls+T"}
    ranks = found.ranks[found.ranks["metric"] == "dice"].reset_index(drop=True)
    pd.testing.assert_frame_equal(ranks, alone.ranks)
    assert set(found.summary["method"]) >= {"ce+T", "svls+T", "ours+T"}
    assert any(
        "ce+T, svls+T, ours+T: where all numbers are those of ce, svls, ours" in n for n in found.notes
    )


def test_scaled_model_with_numbers_of_its_own_is_a_method_of_its_own():
    plain, scaled, calibration = tables()
    found = compare_methods([*plain, *scaled, *calibration], proposed="ours")
    tests = found.tests[found.tests["metric"] == "ece"]
    assert set(tests["method"]) == {"ce", "ls", "svls", "ce+T", "svls+T", "ours+T"}
    assert len(found.ranks[found.ranks["metric"] == "ece"]) == 7
    changed = [dataclasses.replace(scaled[0], value=0.5), *scaled[1:]]
    found = compare_methods([*plain, *changed], proposed="ours")
    assert {"ce+T"} <= set(found.ranks["method"])


def test_proposed_scaled_model_stays_and_its_model_is_the_repetition():
    plain, scaled, _ = tables()
    found = compare_methods([*plain, *scaled], proposed="ours+T")
    assert found.proposed == "ours+T"
    assert set(found.tests["method"]) == {"ce", "ls", "svls", "ce+T", "svls+T"}
    assert set(found.ranks["method"]) == {"ce", "ls", "svls", "ours+T"}
