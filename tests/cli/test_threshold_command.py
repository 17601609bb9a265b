"""``sfumato threshold``: tables and figure of real runs, and what it refuses."""

import csv

import pytest

from sfumato.cli.app import run
from sfumato.data import open_dataset
from sfumato.recipe.recipe import parse_recipe
from sfumato.study.run import complete_run
from tiny_cases import tiny_recipe, write_cases


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two runs of softseg and one of ce and singr each, on one data set."""
    folder = tmp_path_factory.mktemp("threshold")
    data = open_dataset(write_cases(folder / "data", axes=2))
    content = tiny_recipe(2) | {"epochs": 1}
    content["preprocess"] |= {"spacing": [1.5, 1.0], "crop_size": [6, 12]}
    for method, seed in (("softseg", 0), ("softseg", 1), ("ce", 0), ("singr", 0)):
        recipe = parse_recipe(content | {"method": method, "seed": seed}, source="test")
        complete_run(recipe, data, folder / f"{method}{seed}")
    return folder


def sweep(place, out, *runs, **options):
    extra = [text for name, value in options.items() for text in (f"--{name}", value)]
    return run(
        [
            "threshold",
            *(str(place / each) for each in runs),
            "--data",
            str(place / "data"),
            "-o",
            str(out),
            *extra,
        ]
    )


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_sweep_of_several_runs_is_written_and_printed(place, tmp_path, capsys):
    assert sweep(place, tmp_path / "out", "softseg0", "softseg1", "ce0", "singr0") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "thresholds.csv",
        "chosen.csv",
        "thresholds.svg",
        "thresholds.png",
    }
    rows = table(tmp_path / "out" / "thresholds.csv")
    assert len(rows) == 4 * 3 * 19
    assert {row["set"] for row in rows} == {"validation"}
    chosen = {row["run"]: row for row in table(tmp_path / "out" / "chosen.csv")}
    for name, row in chosen.items():
        mine = [each for each in rows if each["run"] == name and each["structure"] == "Average"]
        assert float(row["dice"]) == max(float(each["dice"]) for each in mine)
        assert row["threshold"] in {each["threshold"] for each in mine if each["dice"] == row["dice"]}
    assert (chosen["ce-seed0-fold0"]["stored"], chosen["singr-seed0-fold0"]["stored"]) == ("", "0.5")
    printed = capsys.readouterr().out
    assert "argmax" in printed
    assert "4 sweeps written" in printed


def test_training_and_validation_together_give_the_threshold_of_the_training(place, tmp_path):
    out = tmp_path / "out"
    arguments = ["threshold", str(place / "softseg0"), "--data", str(place / "data"), "-o", str(out)]
    assert run([*arguments, "--set", "train", "--set", "validation"]) == 0
    (chosen,) = table(out / "chosen.csv")
    assert chosen["threshold"] == chosen["stored"]
    trained = {row["threshold"]: float(row["dice"]) for row in table(place / "softseg0" / "threshold.csv")}
    swept = {
        f"{float(row['threshold']):.2f}": float(row["dice"])
        for row in table(out / "thresholds.csv")
        if row["structure"] == "Average"
    }
    assert swept == pytest.approx(trained)


def test_what_cannot_be_swept_is_refused_in_one_line(place, tmp_path, capsys):
    assert sweep(place, tmp_path / "out", "data") == 2
    assert "is no finished run" in capsys.readouterr().err
    assert sweep(place, tmp_path / "out", "ce0", set="valid") == 2
    assert "unknown --set 'valid'. Did you mean 'validation'?" in capsys.readouterr().err
    assert sweep(place, tmp_path / "out", "ce0", "ce0") == 2
    assert "give every run once" in capsys.readouterr().err
    write_cases(tmp_path / "other", axes=2, count=2)
    assert sweep(place, tmp_path / "out", "ce0", data=str(tmp_path / "other")) == 2
    assert "give the data set that it was trained on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_existing_tables_are_kept(place, tmp_path, capsys):
    assert sweep(place, tmp_path, "ce0", set="test") == 0
    before = (tmp_path / "thresholds.csv").read_bytes()
    assert sweep(place, tmp_path, "ce0") == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "thresholds.csv").read_bytes() == before
    figure = (tmp_path / "thresholds.svg").read_bytes()
    arguments = ["threshold", str(place / "ce0"), "--data", str(place / "data"), "-o", str(tmp_path)]
    assert run([*arguments, "--set", "test", "--overwrite"]) == 0
    assert (tmp_path / "thresholds.svg").read_bytes() == figure
