import csv

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from sfumato.cli.compare import FILES, compare
from sfumato.errors import InputError, OutputExistsError, UnknownNameError
from sfumato.evaluation.rows import Row, write_rows

app = typer.Typer()
app.command()(compare)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def tables(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for method, base in (("ce[bold]", 0.6), ("geols", 0.7)):
        rows = [
            Row(
                f"{method}-seed{s}-fold0",
                method,
                "d",
                s,
                0,
                f"c{c}",
                "",
                structure,
                metric,
                base + rng.random() / 10,
                unit,
            )
            for s in (0, 1)
            for c in range(6)
            for structure in ("ET", "TC")
            for metric, unit in (("dice", "fraction"), ("hd95", "mm"))
        ]
        paths.append(tmp_path / f"{method[:2]}.csv")
        write_rows(rows, paths[-1])
    return paths


def test_several_tables_are_compared_printed_and_written(tables, tmp_path):
    result = invoke(*tables, "--proposed", "geols", "--unit", "case", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    assert "unit of analysis: case" in result.output
    assert "ce[bold]" in result.output  # a name is no markup
    assert "exact" in result.output
    assert "Nemenyi critical difference" in result.output
    with (tmp_path / "out" / "tests.csv").open() as file:
        records = list(csv.DictReader(file))
    assert [record["p"] for record in records[:3]] == ["0.03125"] * 3
    assert {record["n"] for record in records} == {"6"}
    assert (tmp_path / "out" / "notes.txt").read_text() == ""


def test_agreement_of_volumes_is_printed_and_written(tmp_path):
    volumes = {"a": (2.0, 3.5, 5.0), "ours": (1.0, 1.0, 1.0)}
    rows = [
        Row(f"{method}-seed0", method, "d", 0, 0, f"c{case}", "", "cord", metric, value, unit)
        for method, several in volumes.items()
        for case, volume in enumerate(several)
        for metric, value, unit in (
            ("dice", 0.5 + case / 10, "fraction"),
            ("volume", volume, "ml"),
            ("volume_ref", case + 1.0, "ml"),
        )
    ]
    write_rows(rows, tmp_path / "m.csv")
    result = invoke(tmp_path / "m.csv", "--proposed", "ours", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "d, cord: predicted against reference volume [ml]" in result.output
    # Differences 1, 1.5, 2: mean 1.5, deviation 0.5.
    (line,) = (line for line in result.output.splitlines() if "0.52 to 2.48" in line)
    assert line.split() == ["a", "3", "1.000", "1.5", "0.52", "to", "2.48", "ok"]
    with (tmp_path / "out" / "volumes.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["method"], first["n"], float(first["correlation"])) == ("a", "3", pytest.approx(1.0))
    assert (second["correlation"], second["status"]) == ("nan", "constant_volume")
    assert float(second["mean_difference"]) == -1.0


def test_one_metric_and_unit_may_be_asked_for(tables, tmp_path):
    result = invoke(
        *tables, "--proposed", "geols", "--unit", "run", "--metric", "hd95", "-o", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    with (tmp_path / "out" / "tests.csv").open() as file:
        records = list(csv.DictReader(file))
    assert {(record["metric"], record["n"], record["unit_of_analysis"]) for record in records} == {
        ("hd95", "2", "run")
    }
    notes = (tmp_path / "out" / "notes.txt").read_text()
    assert "n too small: 2 non-zero differences" in notes
    assert "n too small" in result.output


def test_tables_are_not_overwritten_unless_asked(tables, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    refused = invoke(*tables, "--proposed", "geols", "--out", out)
    assert isinstance(refused.exception, OutputExistsError)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    assert invoke(*tables, "--proposed", "geols", "--out", out, "--overwrite").exit_code == 0
    assert (out / "notes.txt").read_text() == ""


def test_direction_of_a_further_metric_is_taken(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(
        "method,metric,value,case\n" + "".join(f"{m},fun,{v},c{v}\n" for v in (1, 2) for m in "ab")
    )
    refused = invoke(path, "--proposed", "a", "--out", tmp_path / "out")
    assert isinstance(refused.exception, UnknownNameError)
    taken = invoke(path, "--proposed", "a", "--out", tmp_path / "out", "--direction", "fun=up")
    assert taken.exit_code == 0, taken.output
    wrong = invoke(path, "--proposed", "a", "--out", tmp_path / "out", "--direction", "fun=left")
    assert isinstance(wrong.exception, InputError)
    assert "write METRIC=up" in str(wrong.exception)


def test_unknown_proposed_method_is_refused_before_anything_is_written(tables, tmp_path):
    result = invoke(*tables, "--proposed", "geolz", "--out", tmp_path / "out")
    assert isinstance(result.exception, UnknownNameError)
    assert "Did you mean 'geols'" in str(result.exception)
    assert not (tmp_path / "out").exists()
