import math
import shutil

import pytest

from sfumato.errors import FileFormatError
from sfumato.report.runs import load_runs, run_folders


def test_every_file_of_every_run_is_read(runs_folder):
    data = load_runs(runs_folder)
    assert data.title == "Soft labels on made-up"
    assert data.method_names == ("ce", "geols", "singr")
    assert len(data.rows) == 4 * 5 * (2 * 4 + 1)
    assert data.label_names == {0: "background", 1: "head", 2: "tail"}
    history = data.histories["ce-seed1-fold0"]
    assert [epoch["val_dice"] for epoch in history] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert math.isnan(history[1]["val_loss"])
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


def test_files_that_a_run_lacks_are_left_out(runs_folder, tmp_path):
    (tmp_path / "bare-seed0-fold0").mkdir()
    shutil.copy(runs_folder / "ce-seed0-fold0" / "metrics.csv", tmp_path / "bare-seed0-fold0")
    data = load_runs(tmp_path, title="Bare")
    assert (data.title, data.histories, data.recipes, data.label_names) == ("Bare", {}, {}, {})
    assert data.methods == {"bare-seed0-fold0": "ce"} or data.method_names == ("ce",)


def test_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"holds no run with a metrics\.csv"):
        load_runs(tmp_path)
    with pytest.raises(FileFormatError, match="is not a folder"):
        load_runs(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("history.csv", "epoch,train_loss\n0,much\n", "line 2: train_loss is 'much', expected a number"),
        ("history.csv", "loss\n1\n", "lacks the columns epoch"),
        ("values.csv", "low,high,count\n0,1,many\n", "line 2: count is 'many'"),
        ("values.csv", "low,high,count\n0,1,-3\n", "count is '-3', expected a number of voxels"),
        (
            "calibration.csv",
            "set,bin_low,bin_high,count,confidence,accuracy\nskin,0,1,1,1,1\n",
            "set is 'skin', expected one of all, foreground, boundary",
        ),
        ("predictions/prediction.json", "{", "is not JSON"),
        ("predictions/prediction.json", "[1]", "holds list: expected an object"),
        ("metrics.csv", "a,b\n", "lacks the columns run"),
    ],
)
def test_broken_file_is_named_with_the_line(runs_folder, tmp_path, name, text, message):
    run = tmp_path / "ce-seed0-fold0"
    shutil.copytree(runs_folder / "ce-seed0-fold0", run)
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


def test_reliability_of_a_temperature_scaled_twin_goes_by_its_own_name(runs_folder, tmp_path):
    run = tmp_path / "first"
    shutil.copytree(runs_folder / "ce-seed0-fold0", run)
    header = "set,bin_low,bin_high,count,confidence,accuracy\n"
    (run / "calibration.csv").write_text(header + "all,0,1,5,0.9,0.6\n")
    (run / "calibration+T.csv").write_text(header + "all,0,1,5,0.7,0.6\n")
    data = load_runs(tmp_path)
    assert [bins["all"][0].confidence for bins in data.reliability.values()] == [0.9, 0.7]
    assert [data.method_of(name) for name in data.reliability] == ["ce", "ce+T"]
