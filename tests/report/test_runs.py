import re
import shutil

import pandas as pd
import pytest

from sfumato.errors import FileFormatError, UnknownNameError
from sfumato.evaluation.diagrams import reliability_points, write_points
from sfumato.evaluation.rows import Origin, write_rows
from sfumato.metrics.calibration.reliability import ReliabilityBins
from sfumato.report.document import write_report
from sfumato.report.figures import pooled_bins
from sfumato.report.runs import load_runs, run_folders


def test_every_file_of_every_run_is_read(runs_folder):
    data = load_runs(runs_folder)
    assert data.title == "Soft labels on made-up"
    assert data.method_names == ("ce", "geols", "singr")
    assert len(data.rows) == 4 * 5 * (2 * 4 + 1)
    assert data.label_names == {0: "background", 1: "head", 2: "tail"}
    history = data.histories["ce-seed1-fold0"]
    assert [epoch["val_dice"] for epoch in history] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert ["val_loss" in epoch for epoch in history] == [True, False] * 3
    assert data.reliability["ce-seed1-fold0"]["foreground"][1].count == 200
    assert set(data.reliability["ce-seed1-fold0"]) == {"all", "foreground"}
    assert [(v.low, v.high, v.count) for v in data.values["singr-seed0-fold0"]] == [
        (-1.0, 0.5, 30),
        (0.5, 1.0, 10),
    ]
    assert data.thresholds == {"geols-seed0-fold0": ((0.25, 0.6), (0.5, 0.7), (0.75, 0.65))}
    assert data.recipes["geols-seed0-fold0"].startswith("method: geols")
    assert data.method_of("ce-seed1-fold0") == "ce"


def test_run_folder_itself_is_the_only_run(runs_folder):
    assert run_folders(runs_folder / "ce-seed0-fold0") == (runs_folder / "ce-seed0-fold0",)


def test_runs_that_are_left_out_are_in_no_part(runs_folder):
    folders = run_folders(runs_folder)
    first = folders[0].name
    assert run_folders(runs_folder, without={first}) == folders[1:]
    data = load_runs(runs_folder, without={first})
    assert first in load_runs(runs_folder).methods
    assert first not in data.methods
    assert {row.run for row in data.rows}.isdisjoint({first})
    with pytest.raises(FileFormatError, match="holds no run"):
        run_folders(runs_folder, without={folder.name for folder in folders})


def test_files_that_a_run_lacks_are_left_out(runs_folder, tmp_path):
    (tmp_path / "bare-seed0-fold0").mkdir()
    shutil.copy(runs_folder / "ce-seed0-fold0" / "metrics.csv", tmp_path / "bare-seed0-fold0")
    data = load_runs(tmp_path, title="Bare")
    assert (data.title, data.environments, data.recipes, data.label_names) == ("Bare", {}, {}, {})
    assert data.methods == {"bare-seed0-fold0": "ce"} or data.method_names == ("ce",)


def test_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"holds no run with a metrics\.csv"):
        load_runs(tmp_path)
    with pytest.raises(FileFormatError, match="is not a folder"):
        load_runs(tmp_path / "absent")


OLD_COLUMNS = "run,method,dataset,seed,fold,case,structure,metric,value,unit,status"
COLUMNS = "run,method,diagram,series,x,y,count"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "metrics.csv",
            f"{OLD_COLUMNS}\nr,m,d,0,0,,epoch last,history:val_dice,1,fraction,ok\n",
            "'epoch last' of history:val_dice names no place",
        ),
        (
            "metrics.csv",
            f"{OLD_COLUMNS}\nr,m,d,0,0,,soft 0..1,values:voxels,-3,voxels,ok\n",
            "values:voxels is -3: expected a number of voxels",
        ),
        (
            "metrics.csv",
            f"{OLD_COLUMNS}\nr,m,d,0,0,,skin 0..1,reliability:voxels,1,voxels,ok\n",
            "reliability bins of 'skin': expected one of all, foreground, boundary",
        ),
        ("diagrams.csv", f"{COLUMNS}\nr,m,values,soft,0,1,-3\n", "line 2: count is -3: expected a number of"),
        ("diagrams.csv", f"{COLUMNS}\nr,m,history,val_dice,last,1,\n", "line 2: could not convert .*'last'"),
        ("predictions/prediction.json", "{", "is not readable JSON"),
        ("predictions/prediction.json", "[1]", "holds a list: expected an object"),
        ("metrics.csv", "a,b\n", "lacks the columns run"),
    ],
)
def test_broken_file_is_named_with_the_line(runs_folder, tmp_path, name, text, message):
    run = tmp_path / "ce-seed0-fold0"
    shutil.copytree(runs_folder / "ce-seed0-fold0", run)
    if text.startswith(OLD_COLUMNS):
        (run / "diagrams.csv").unlink()
    (run / name).write_text(text)
    with pytest.raises(FileFormatError, match=message) as raised:
        load_runs(tmp_path)
    assert str(run / name) in str(raised.value)


def test_overlapping_regions_name_the_classes_in_their_order(runs_folder, tmp_path):
    run = tmp_path / "ce-seed0-fold0"
    shutil.copytree(runs_folder / "ce-seed0-fold0", run)
    (run / "predictions" / "prediction.json").write_text(
        '{"method": "ce", "regions": {"whole": [1, 2], "core": [2]}}'
    )
    assert load_runs(tmp_path).label_names == {0: "background", 1: "whole", 2: "core"}


def test_unknown_kind_of_prediction_is_refused(runs_folder, tmp_path):
    run = tmp_path / "ce-seed0-fold0"
    shutil.copytree(runs_folder / "ce-seed0-fold0", run)
    (run / "predictions" / "prediction.json").write_text('{"method": "ce", "kind": "sorted"}')
    with pytest.raises(UnknownNameError, match="kind of prediction 'sorted'"):
        load_runs(tmp_path)


def test_reliability_of_a_temperature_scaled_twin_goes_by_its_own_name(tmp_path):
    points = []
    for suffix, confidence in (("", 0.9), ("+T", 0.7)):
        origin = Origin(f"ce-seed0-fold0{suffix}", f"ce{suffix}", "d", 0, 0, "")
        points += reliability_points(origin, "all", ReliabilityBins((5,), (confidence,), (0.6,)))
    (tmp_path / "first").mkdir()
    write_rows([], tmp_path / "first" / "metrics.csv")
    write_points(points, tmp_path / "first" / "metrics.csv")
    data = load_runs(tmp_path)
    assert [bins["all"][0].confidence for bins in data.reliability.values()] == [0.9, 0.7]
    assert [data.method_of(name) for name in data.reliability] == ["ce", "ce+T"]
    assert data.methods["first"] == "ce"


def test_table_of_scores_alone_has_no_diagrams(tmp_path, made_up):
    (tmp_path / "a").mkdir()
    write_rows([made_up.row()], tmp_path / "a" / "metrics.csv")
    data = load_runs(tmp_path)
    assert (data.histories, data.reliability, data.values, data.thresholds) == ({}, {}, {}, {})


def test_numbers_of_the_report_come_from_the_two_tables_alone(runs_folder, tmp_path):
    """Beside ``metrics.csv`` and ``diagrams.csv`` only texts are left: numbers and plots do not change."""
    shutil.copytree(runs_folder, tmp_path / "runs")
    for path in (tmp_path / "runs").glob("*"):
        (path / "history.csv").write_text("epoch,val_dice\n0,0.99\n")
    full = load_runs(tmp_path / "runs")
    for path in (tmp_path / "runs").rglob("*.csv"):
        if path.name not in ("metrics.csv", "diagrams.csv"):
            path.unlink()
    bare = load_runs(tmp_path / "runs")
    # Compared as text: nan is not equal to itself.
    assert repr(bare) == repr(full)
    pages = [write_report(data, tmp_path / name / "report.html") for name, data in (("a", full), ("b", bare))]
    written = re.compile(r"Written by Sfumato .*? UTC")
    one, two = (written.sub("", page.read_text()) for page in pages)
    assert one == two
    assert (tmp_path / "a" / "figures" / "reliability-all.svg").read_bytes() == (
        tmp_path / "b" / "figures" / "reliability-all.svg"
    ).read_bytes()


def test_diagrams_can_be_drawn_again_from_the_csv_with_pandas(runs_folder):
    data = load_runs(runs_folder)
    frame = pd.concat([pd.read_csv(path) for path in sorted(runs_folder.glob("*/diagrams.csv"))])
    bins = frame[(frame["diagram"] == "reliability") & (frame["series"] == "foreground")]
    bins = bins[(bins["method"] == "ce") & (bins["count"] > 0)]
    accuracy = (bins["y"] * bins["count"]).sum() / bins["count"].sum()
    last = pooled_bins(data, "foreground")["ce"][-1]
    assert (last.count, last.accuracy) == (bins["count"].sum(), pytest.approx(accuracy))
    curve = frame[(frame["series"] == "val_dice") & (frame["run"] == "ce-seed1-fold0")]
    assert curve["y"].tolist() == [epoch["val_dice"] for epoch in data.histories["ce-seed1-fold0"]]
