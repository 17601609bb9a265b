import dataclasses
import math
import random

import numpy as np
import pytest

from sfumato.errors import InputError
from sfumato.evaluation import Row
from sfumato.statistics import summary_table

PLAIN = Row("ce-seed0-fold1", "ce", "cells", 0, 1, "P01", "", "cell", "dice", 0.875, "fraction", "ok")


def test_the_summary_has_mean_deviation_and_both_counts():
    values = [0.5, 0.75, 0.875]
    rows = [dataclasses.replace(PLAIN, case=str(i), value=v) for i, v in enumerate(values)]
    rows.append(dataclasses.replace(PLAIN, value=math.nan, status="both_empty"))
    rows.append(dataclasses.replace(PLAIN, method="ls"))
    first, second = summary_table(rows).to_dict("records")
    names = ("method", "rater", "structure", "metric", "measure")
    assert [first[name] for name in names] == ["ce", "", "cell", "dice", "fraction"]
    assert first["mean"] == pytest.approx(np.mean(values))
    assert first["sd"] == pytest.approx(np.std(values, ddof=1))
    assert (first["n"], first["undefined"]) == (3, 1)
    assert (second["method"], second["mean"], second["n"]) == ("ls", 0.875, 1)
    assert math.isnan(second["sd"])


def test_the_summary_of_undefined_values_only_is_undefined_and_counted():
    lost = dataclasses.replace(PLAIN, value=math.nan, status="empty_prediction")
    (line,) = summary_table([lost, dataclasses.replace(lost, case="P02")]).to_dict("records")
    assert math.isnan(line["mean"])
    assert (line["n"], line["undefined"]) == (0, 2)


def test_the_summary_does_not_depend_on_the_order_of_the_rows():
    rng = random.Random(0)
    rows = [
        dataclasses.replace(PLAIN, case=str(n), value=rng.random() * 10 ** rng.randint(-9, 9))
        for n in range(200)
    ]
    expected = summary_table(rows, resamples=0)
    for _ in range(5):
        rng.shuffle(rows)
        assert summary_table(rows, resamples=0).equals(expected)


def test_one_metric_in_two_units_is_refused():
    with pytest.raises(InputError, match="several units \\('fraction', 'mm'\\)"):
        summary_table([PLAIN, dataclasses.replace(PLAIN, case="P02", unit="mm")])
