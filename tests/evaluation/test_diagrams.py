import dataclasses
import math
import shutil
from pathlib import Path

import pytest

from sfumato.errors import FileFormatError
from sfumato.evaluation import Origin, Row, write_rows
from sfumato.evaluation.diagrams import (
    Point,
    history_points,
    read_points,
    reliability_points,
    threshold_points,
    value_points,
    write_points,
)
from sfumato.evaluation.rows import is_diagram, read_rows
from sfumato.metrics.calibration.reliability import ReliabilityBins

ORIGIN = Origin("ce-seed1-fold0", "ce", "made", 1, 0, "")
STORED = Path(__file__).parents[1] / "stored" / "version-1"


def test_points_come_back_from_the_file_as_they_were_written(tmp_path):
    bins = ReliabilityBins((0, 7, 2), (math.nan, 0.5, 0.875), (math.nan, 0.25, 1.0))
    points = [
        *reliability_points(ORIGIN, "near, the edge", bins),
        *value_points(ORIGIN, (-1.0, 0.020000000000000018, 1.0), (5, 6)),
        *threshold_points(ORIGIN, [(0.05, 0.5), (0.95, 0.25)]),
        *history_points(ORIGIN, [{"epoch": 11.0, "train_loss": 0.5, "val_dice": math.nan, "lr": 1.0}]),
    ]
    write_points(points, tmp_path / "m.csv")
    assert (tmp_path / "diagrams.csv").read_text().splitlines() == [
        "run,method,diagram,series,x,y,count",
        'ce-seed1-fold0,ce,reliability,"near, the edge",nan,nan,0',
        'ce-seed1-fold0,ce,reliability,"near, the edge",0.5,0.25,7',
        'ce-seed1-fold0,ce,reliability,"near, the edge",0.875,1.0,2',
        "ce-seed1-fold0,ce,values,soft,-1.0,0.02,5",
        "ce-seed1-fold0,ce,values,soft,0.02,1.0,6",
        "ce-seed1-fold0,ce,threshold,tuning,0.05,0.5,",
        "ce-seed1-fold0,ce,threshold,tuning,0.95,0.25,",
        "ce-seed1-fold0,ce,history,train_loss,11.0,0.5,",
    ]
    # As text: nan is not equal to itself.
    assert repr(read_points(tmp_path / "m.csv")) == repr(points)


def test_a_table_without_diagrams_has_no_points(tmp_path):
    write_rows([Row("r", "m", "d", 0, 0, "c", "", "s", "dice", 0.5, "fraction")], tmp_path / "m.csv")
    assert read_points(tmp_path / "m.csv") == []


@pytest.mark.parametrize("name", ["geols", "softseg"])
def test_a_stored_older_table_has_the_content_of_the_two_new_ones(name, tmp_path):
    old = STORED / name / "metrics.csv"
    rows, points = read_rows(old), read_points(old)
    assert {row.rater for row in rows} == {"", "rater1", "rater2", "rater3"}
    assert {row.structure for row in rows} == {"part1", "part2", "all"}
    lines = [line.split(",") for line in old.read_text().splitlines()[1:]]
    scores = [line for line in lines if ":" not in line[7]]
    assert [
        [row.run, row.method, f"{row.structure}@{row.rater}".rstrip("@"), row.metric, repr(row.value)]
        for row in rows
    ] == [[line[0], line[1], line[6], line[7], line[8]] for line in scores]
    voxels = {(line[0], *line[6].rsplit(" ", 1)): line for line in lines if line[7] == "reliability:voxels"}
    bins = [point for point in points if point.diagram == "reliability"]
    assert [point.count for point in bins] == [float(line[8]) for line in voxels.values()]
    for quantity, axis in (("confidence", "x"), ("accuracy", "y")):
        values = [line[8] for line in lines if line[7] == f"reliability:{quantity}"]
        assert [repr(getattr(point, axis)) for point in bins] == values
    assert len(bins) + sum(point.diagram != "reliability" for point in points) == len(points)
    assert sum(":" in line[7] for line in lines) == 3 * len(bins) + len(points) - len(bins)
    write_rows(rows, tmp_path / "metrics.csv")
    write_points(points, tmp_path / "metrics.csv")
    assert repr(read_rows(tmp_path / "metrics.csv")) == repr(rows)
    assert repr(read_points(tmp_path / "metrics.csv")) == repr(points)


def test_raters_of_an_older_table_are_named_where_the_settings_beside_it_do(tmp_path):
    shutil.copy(STORED / "geols" / "metrics.csv", tmp_path / "m.csv")
    (tmp_path / "m.json").write_text('{"raters": {"rater1": "Ada", "rater3": "Cy, at noon"}}')
    assert {row.rater for row in read_rows(tmp_path / "m.csv")} == {"", "Ada", "rater2", "Cy, at noon"}


@pytest.mark.parametrize("metric", ["dice", "hd95@voxel-max", "values", "my:score", "histories:dice"])
def test_scores_are_no_diagrams_whatever_marks_their_names_hold(metric):
    assert not is_diagram(metric)


def test_an_older_place_that_is_no_number_is_named(tmp_path):
    columns = [field.name for field in dataclasses.fields(Row) if field.name != "rater"]
    line = "r,m,d,0,0,,soft here..there,values:voxels,1.0,voxels,ok"
    (tmp_path / "m.csv").write_text(f"{','.join(columns)}\n{line}\n")
    with pytest.raises(
        FileFormatError, match=r"line 2: 'soft here\.\.there' of values:voxels names no place"
    ):
        read_points(tmp_path / "m.csv")


def test_a_point_holds_what_the_columns_of_the_file_are():
    assert [field.name for field in dataclasses.fields(Point)] == [
        "run",
        "method",
        "diagram",
        "series",
        "x",
        "y",
        "count",
    ]
