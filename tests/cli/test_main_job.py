"""The main job through the command line, and every way in which it says no."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from sfumato.cli.app import run
from sfumato.evaluation.metrics_table import default_metrics
from sfumato.evaluation.rows import read_rows
from sfumato.methods import METHODS
from tiny_cases import tiny_recipe, write_cases


def recipe_file(folder, **changes):
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe() | {"method": "ce", "epochs": 1} | changes))
    return str(path)


def said(capsys):
    lines = capsys.readouterr().err.splitlines()
    assert not any("Traceback" in line for line in lines)
    return "\n".join(lines)


def test_from_recipe_to_report(tmp_path, capsys):
    data = str(write_cases(tmp_path / "data"))
    out = tmp_path / "runs" / "ce-seed0-fold0"
    assert run(["train", "--no-report", recipe_file(tmp_path), "--data", data, "--out", str(out)]) == 0
    assert run(["predict", str(out), data, "--out", str(tmp_path / "pred"), "--soft"]) == 0
    table = tmp_path / "metrics.csv"
    assert run(["evaluate", str(tmp_path / "pred"), data, "--out", str(table)]) == 0
    assert len({row.case for row in read_rows(table)}) == 6
    page = tmp_path / "report.html"
    assert run(["report", str(tmp_path / "runs"), "--out", str(page)]) == 0
    assert not re.search(r"""(src|href)=["']https?://""", page.read_text())
    assert "ce" in capsys.readouterr().out


def test_training_leaves_a_page_of_its_own_results(tmp_path):
    data, recipe, out = str(write_cases(tmp_path / "data", axes=2)), tmp_path / "2d.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(tiny_recipe(2) | {"method": "ce", "epochs": 1}))
    arguments = ["train", str(recipe), "--data", data, "--out", str(out)]
    assert run([*arguments, "--no-report"]) == 0
    page = out / "report.html"
    assert not page.exists()
    assert run([*arguments, "--resume"]) == 0
    assert 'id="viewer"' in page.read_text()
    assert "wrote report.html" in (out / "log.txt").read_text()
    written = page.stat().st_mtime_ns
    assert run([*arguments, "--resume"]) == 0
    assert page.stat().st_mtime_ns == written
    (out / "metrics.csv").unlink()
    assert run([*arguments, "--resume"]) == 0
    assert page.stat().st_mtime_ns > written


def test_page_needs_the_report_extra_and_the_log_says_so(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("sfumato.report", "sfumato.cli.report"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    data, out = str(write_cases(tmp_path / "data")), tmp_path / "run"
    assert run(["train", recipe_file(tmp_path), "--data", data, "--out", str(out)]) == 0
    assert (
        "no report.html: jinja2 is not installed, which this needs: pip install"
        in (out / "log.txt").read_text()
    )
    assert (out / "metrics.csv").exists()
    assert not (out / "report.html").exists()


def test_run_and_evaluate_command_agree_on_every_value(tmp_path):
    data = str(write_cases(tmp_path / "data"))
    out = tmp_path / "run"
    assert (
        run(
            [
                "train",
                "--no-report",
                recipe_file(tmp_path, method="softseg"),
                "--data",
                data,
                "--out",
                str(out),
            ]
        )
        == 0
    )
    arguments = ["evaluate", str(out / "predictions"), data, "--out", str(tmp_path / "again.csv")]
    assert run([*arguments, "--tolerance", "1.0"]) == 0

    def values(path):
        # A run also has its temperature-scaled scores, and its diagrams' points, which belong to no case.
        rows = [row for row in read_rows(path) if row.case and not row.method.endswith("+T")]
        return {(row.case, row.structure, row.metric): row.value for row in rows}

    first, second = values(out / "metrics.csv"), values(tmp_path / "again.csv")
    # Lesions are in every run's table, and in that of evaluate when they are asked for.
    assert {key[2] for key in first.keys() - second.keys()} == set(default_metrics(of_runs=True)) - set(
        default_metrics()
    )
    for key, value in second.items():
        np.testing.assert_allclose(value, first[key], rtol=1e-5, atol=1e-6, err_msg=str(key))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metod": "ce"}, "unknown key 'metod' (did you mean 'method'?)"),
        ({"method": "svsl"}, "Did you mean 'svls'?"),
        ({"accelerator": "gpu"}, "accelerator: gpu"),
    ],
)
def test_wrong_recipe_is_one_line_and_status_two(tmp_path, capsys, changes, message):
    if changes.get("accelerator") == "gpu" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    data = str(write_cases(tmp_path / "data"))
    arguments = [
        "train",
        "--no-report",
        recipe_file(tmp_path, **changes),
        "--data",
        data,
        "--out",
        str(tmp_path / "run"),
    ]
    assert run(arguments) == 2
    assert message in said(capsys)
    assert not (tmp_path / "run").exists()


def test_broken_test_case_is_found_before_training(tmp_path, capsys):
    write_cases(tmp_path / "data")
    for index in (0, 3, 5):
        path = tmp_path / "data" / "imagesTr" / f"case{index}_0000.nii.gz"
        path.write_bytes(path.read_bytes()[:200])
    arguments = [
        "train",
        recipe_file(tmp_path),
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "run"),
    ]
    assert run(arguments) == 2
    message = said(capsys)
    assert "3 problems" in message
    assert all(f"case{index}_0000" in message for index in (0, 3, 5))
    assert not (tmp_path / "run").exists()


def test_checked_data_are_not_all_read_again(tmp_path, monkeypatch):
    def refuse(_):
        raise AssertionError("the data set was read once more")

    monkeypatch.setattr("sfumato.study.run.check_dataset", refuse)
    data = str(write_cases(tmp_path / "data"))
    arguments = ["train", "--no-report", recipe_file(tmp_path), "--data", data, "--out"]
    assert run([*arguments, str(tmp_path / "first"), "--checked"]) == 0
    assert run([*arguments, str(tmp_path / "second")]) == 1


def test_existing_run_needs_a_word(tmp_path, capsys):
    data = str(write_cases(tmp_path / "data"))
    arguments = [
        "train",
        "--no-report",
        recipe_file(tmp_path),
        "--data",
        data,
        "--out",
        str(tmp_path / "run"),
    ]
    assert run(arguments) == 0
    capsys.readouterr()
    assert run(arguments) == 2
    assert "--resume" in said(capsys)
    assert run([*arguments, "--resume"]) == 0
    recipe_file(tmp_path, seed=4)
    assert run([*arguments, "--resume"]) == 2
    assert "another recipe" in said(capsys)
    assert run([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "absent.ckpt", "sample:cells", "--out", "x"], "absent.ckpt does not exist"),
        (["train", "absent.yaml", "--data", "sample:cells", "--out", "x"], "absent.yaml does not exist"),
        (["train", "absent.yaml", "--data", "sample:cells"], "out"),
        (["demo", "--out"], "--out"),
        (["trian"], "Did you mean 'train'"),
        (["methods", "--colour"], "--colour"),
    ],
)
def test_wrong_command_line_is_one_line_and_status_two(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    text = said(capsys)
    assert message in text
    assert len(text.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_methods_prints_every_name_whole(capsys):
    assert run(["methods"]) == 0
    words = capsys.readouterr().out.split()
    assert set(METHODS) <= set(words)


def test_demo_never_replaces_what_no_demo_wrote(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("precious")
    assert run(["demo", "--quick", "--out", str(tmp_path)]) == 2
    assert "exists already" in said(capsys)
    assert run(["demo", "--quick", "--out", str(tmp_path), "--overwrite"]) == 2
    assert "thesis.tex" in said(capsys)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


@pytest.mark.slow
def test_quick_demo_compares_six_methods_and_ten_raters(tmp_path, capsys):
    assert run(["demo", "--quick", "--out", str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr().out
    page = tmp_path / "demo" / "report.html"
    assert printed.rstrip().endswith(f"report: {page}")
    for name in ("ce", "ls", "svls", "geols", "singr", "softseg"):
        assert read_rows(tmp_path / "demo" / "runs" / f"{name}-seed0-fold0" / "metrics.csv")
        assert name in printed
    assert "rater" in page.read_text()


@pytest.mark.slow
def test_two_processes_train_one_run(tmp_path):
    data = str(write_cases(tmp_path / "data"))
    out = tmp_path / "run"
    arguments = ["train", "--no-report", recipe_file(tmp_path, devices=2), "--data", data, "--out", str(out)]
    command = [sys.executable, "-m", "sfumato", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300)
    assert json.loads((out / "finished.json").read_text())["best_epoch"] == 0
    assert len((out / "history.csv").read_text().splitlines()) == 2
    assert read_rows(out / "metrics.csv")
