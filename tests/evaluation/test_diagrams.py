import math

import pytest

from sfumato.errors import FileFormatError
from sfumato.evaluation import Origin, Row, aggregate, read_rows, write_rows
from sfumato.evaluation.diagrams import history_rows, points, reliability_rows, threshold_rows, value_rows
from sfumato.evaluation.rows import is_diagram
from sfumato.metrics.calibration.reliability import ReliabilityBins

ORIGIN = Origin("ce-seed1-fold0", "ce", "made", 1, 0, "")


def test_points_come_back_from_the_file_as_they_were_written(tmp_path):
    bins = ReliabilityBins((0, 7, 2), (math.nan, 0.5, 0.875), (math.nan, 0.25, 1.0))
    rows = [
        *reliability_rows(ORIGIN, "near the edge", bins),
        *value_rows(ORIGIN, (-1.0, 0.019999999552965164, 1.0), (5, 6)),
        *threshold_rows(ORIGIN, [(0.05, 0.5), (0.95, 0.25)]),
        *history_rows(ORIGIN, [{"epoch": 11.0, "train_loss": 0.5, "val_dice": math.nan, "lr": 1.0}]),
    ]
    write_rows(rows, tmp_path / "m.csv")
    read = read_rows(tmp_path / "m.csv")
    found = [
        (p.series, round(p.low, 9), round(p.high, 9), p.quantity, p.value)
        for p in points(read, "reliability")
    ]
    third = round(1 / 3, 9), round(2 / 3, 9)
    assert found[3:6] == [
        ("near the edge", *third, "voxels", 7.0),
        ("near the edge", *third, "confidence", 0.5),
        ("near the edge", *third, "accuracy", 0.25),
    ]
    assert [row.status for row in read[:3]] == ["ok", "no_voxel", "no_voxel"]
    assert [(p.low, p.high, p.value) for p in points(read, "values")] == [
        (-1.0, pytest.approx(0.02), 5.0),
        (pytest.approx(0.02), 1.0, 6.0),
    ]
    assert [(p.low, p.value) for p in points(read, "threshold")] == [(0.05, 0.5), (0.95, 0.25)]
    assert [(p.quantity, p.low, p.value) for p in points(read, "history")] == [("train_loss", 11.0, 0.5)]
    assert {row.case for row in read} == {""}
    assert all(is_diagram(row.metric) for row in read)


def test_diagrams_are_in_no_mean():
    score = Row("ce-seed1-fold0", "ce", "made", 1, 0, "one", "part", "dice", 0.5, "fraction")
    # As text, since the deviation of one score is NaN, which equals nothing.
    assert str(aggregate([*threshold_rows(ORIGIN, [(0.5, 0.1)]), score])) == str(aggregate([score]))


@pytest.mark.parametrize("metric", ["dice", "hd95@voxel-max", "values", "my:score", "histories:dice"])
def test_scores_are_no_diagrams_whatever_marks_their_names_hold(metric):
    assert not is_diagram(metric)


def test_a_place_that_is_no_number_is_named():
    row = Row("r", "m", "d", 0, 0, "", "soft here..there", "values:voxels", 1.0, "voxels")
    with pytest.raises(
        FileFormatError, match=r"run r: structure 'soft here\.\.there' of values:voxels names no"
    ):
        list(points([row], "values"))
