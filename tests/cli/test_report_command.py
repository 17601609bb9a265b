"""``sfumato report`` on a made-up data set and runs that predict it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import typer

from sfumato.cli.report import report
from sfumato.data import write_volume
from sfumato.errors import FileFormatError, GeometryError, OutputExistsError, SfumatoError, ValueRangeError
from sfumato.evaluation.rows import Row, write_rows
from sfumato.report import assemble
from sfumato.structures import REGIONS as REGION_MAPS
from sfumato.structures import SIGNED

SHAPE, SPACING = (8, 10, 4), (1.0, 1.5, 3.0)
AFFINE = np.diag([*SPACING, 1.0])
CASES = {"p1": 0.9, "p2": 0.3, "p3": 0.6, "p4": 0.7}


def mask(shift=0):
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[1 + shift : 4 + shift, 2:6, 1:3] = 1
    return labels


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, array, affine=AFFINE, spacing=SPACING, overwrite=True)


@pytest.fixture
def data_set(tmp_path) -> Path:
    root = tmp_path / "data"
    draw = np.random.default_rng(0)
    for name in CASES:
        save(root / "imagesTr" / f"{name}_0000.nii.gz", draw.normal(size=SHAPE).astype(np.float32))
        save(root / "labelsTr" / f"{name}.nii.gz", mask())
    (root / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "T1"},
                "labels": {"background": 0, "cord": 1},
                "numTraining": len(CASES),
                "file_ending": ".nii.gz",
            }
        )
    )
    return root


@pytest.fixture
def runs(tmp_path, data_set) -> Path:
    folder = tmp_path / "runs"
    for method, kind in {"svls": "classes", "singr": "signed"}.items():
        run = folder / f"{method}-seed0-fold0"
        hot = mask(1).astype(np.float32)
        soft = (
            np.stack([1 - hot, hot], axis=-1)
            if kind == "classes"
            else (2 * hot - 1)[..., None].repeat(1, axis=-1)
        )
        for name in CASES:
            save(run / "predictions" / f"{name}.nii.gz", mask(1))
            save(run / "predictions" / f"{name}_soft.nii.gz", soft)
        save(run / "predictions" / "p1_uncertainty-entropy.nii.gz", hot * 0.5)
        rows = [
            Row(run.name, method, "cords", 0, 0, name, "", "cord", "dice", value, "fraction")
            for name, value in CASES.items()
        ]
        write_rows(rows, run / "metrics.csv")
        (run / "environment.json").write_text(json.dumps({"data": str(data_set)}))
        (run / "predictions" / "prediction.json").write_text(
            json.dumps({"method": method, "kind": kind, "label_names": {"0": "background", "1": "cord"}})
        )
    return folder


def test_page_is_written_with_the_cases_of_the_data_set(runs, tmp_path, capsys):
    out = tmp_path / "report.html"
    report(runs, out)
    text = out.read_text()
    assert re.match(rf"report: {out} \(\d\.\d MB\)", capsys.readouterr().out)
    found = json.loads(re.search(r'id="viewer-data">(.*?)</script>', text).group(1))
    assert [entry["name"] for entry in found["cases"]] == ["p2", "p3", "p4", "p1"]
    assert set(found["cases"][0]["methods"]) == {"svls", "singr"}
    assert found["labels"]["1"]["name"] == "cord"


def test_cases_carry_predictions_soft_maps_targets_and_uncertainty(runs):
    cases = {case.name: case for case in assemble(runs).cases}
    said = cases["p1"].predictions
    assert np.array_equal(np.asarray(said["svls"].labels), mask(1))
    assert np.array_equal(np.asarray(cases["p1"].reference), mask())
    assert tuple(said["svls"].soft.shape) == (2, *SHAPE)
    assert tuple(said["singr"].soft.shape) == (1, *SHAPE)
    assert said["singr"].kind is SIGNED
    assert float(said["svls"].uncertainty.max()) == 0.5
    assert said["singr"].uncertainty is not None
    assert cases["p2"].predictions["svls"].uncertainty is None
    target = np.asarray(said["singr"].target)
    assert np.array_equal(target[0] > 0, mask() > 0), "the soft label of SiNGR is above 0 in the mask"


def test_soft_label_of_the_viewer_follows_the_run_s_recipe(runs):
    run = runs / "svls-seed0-fold0"
    (run / "recipe.yaml").write_text("method: svls\nlabel: {sigma: 0.3}\npatch: {size: [32, 32, 32]}\n")
    narrow = assemble(runs, max_cases=1).cases[0].predictions["svls"].target
    (run / "recipe.yaml").write_text("method: svls\npatch: {size: [32, 32, 32]}\n")
    wide = assemble(runs, max_cases=1).cases[0].predictions["svls"].target
    assert float((narrow - wide).abs().max()) > 0.01
    (run / "recipe.yaml").write_text(
        "method: svls\nlabel: {unknown_option: 1}\npatch: {size: [32, 32, 32]}\n"
    )
    assert assemble(runs, max_cases=1).cases[0].predictions["svls"].target is None


def test_code_that_a_run_s_recipe_names_is_not_run(runs, tmp_path):
    run, trace = runs / "svls-seed0-fold0", tmp_path / "trace"
    (run / "planted.py").write_text(f"open({str(trace)!r}, 'w').close()\nMETHOD = LABEL = None\n")
    for own in ("method: planted:METHOD", "method: svls\nlabel: planted:LABEL"):
        (run / "recipe.yaml").write_text(f"{own}\npatch: {{size: [32, 32, 32]}}\n")
        assert assemble(runs, max_cases=1).cases[0].predictions["svls"].target is None
    assert not trace.exists()


def test_soft_label_of_a_named_run_is_that_of_its_recipes_method_and_regions(runs):
    run = runs / "singr-seed0-fold0"
    described = run / "predictions" / "prediction.json"
    described.write_text(described.read_text().replace('"method": "singr"', '"method": "SiNG (0.5)"'))
    (run / "recipe.yaml").write_text(
        "method: singr\nname: SiNG (0.5)\nlabel: {}\nregions: {a: [1], b: [1]}\npatch: {size: [32, 32, 32]}\n"
    )
    (titled,) = (said for said in assemble(runs).cases[0].predictions.values() if said.kind is SIGNED)
    target = titled.target
    assert target.shape == (2, *SHAPE)
    assert np.array_equal(np.asarray(target[1]) > 0, mask() > 0)


REGIONS = {"whole": [1, 2], "core": [2]}


@pytest.fixture
def softmax_of_regions(runs, data_set) -> Path:
    """Three labels, whose softmax is reported as two overlapping regions that the data set does not know."""
    for name in CASES:
        labels = mask()
        labels[1, 2:4, 1] = 2
        save(data_set / "labelsTr" / f"{name}.nii.gz", labels)
    declared = json.loads((data_set / "dataset.json").read_text())
    declared["labels"] = {"background": 0, "edema": 1, "tumour": 2}
    (data_set / "dataset.json").write_text(json.dumps(declared))
    run = runs / "svls-seed0-fold0" / "predictions"
    soft = np.broadcast_to(np.array([0.5, 0.3, 0.2], dtype=np.float32), (*SHAPE, 3))
    for name in CASES:
        save(run / f"{name}.nii.gz", np.stack([mask(1), np.zeros(SHAPE, dtype=np.uint8)], axis=-1))
        save(run / f"{name}_soft.nii.gz", np.ascontiguousarray(soft))
    names = {"0": "background", "1": "edema", "2": "tumour"}
    said = {"method": "svls", "kind": "classes", "label_names": names, "regions": REGIONS}
    (run / "prediction.json").write_text(json.dumps(said))
    other = runs / "singr-seed0-fold0" / "predictions" / "prediction.json"
    other.write_text(json.dumps({"method": "singr", "kind": "signed", "label_names": names, "regions": None}))
    return runs


def test_soft_values_of_labels_are_added_up_to_the_regions_of_the_run(softmax_of_regions):
    for run in (softmax_of_regions / "singr-seed0-fold0").rglob("*.json"):
        run.unlink()
    data = assemble(softmax_of_regions)
    case = data.cases[0]
    said = case.predictions["svls"]
    assert data.label_names == {0: "background", 1: "whole", 2: "core"}
    assert said.kind is REGION_MAPS
    assert said.soft[:, 0, 0, 0].tolist() == pytest.approx([0.5, 0.2])
    reference = np.asarray(case.reference)
    assert np.array_equal(reference > 0, mask() > 0)
    assert (reference == 2).sum() == 2, "the core lies on top of the whole"
    assert said.target.shape == (2, *SHAPE)
    inside = said.target[:, 2, 3, 1]
    assert inside[0] > 0.5 > inside[1] > 0, "blurred label 1 is of the whole alone"


def test_run_of_other_regions_than_the_legend_is_left_out_of_the_viewer_by_name(softmax_of_regions):
    data = assemble(softmax_of_regions)
    # Folders come in the order of their names: singr, of plain labels, gives the legend.
    assert data.label_names[1] == "edema"
    assert set(data.cases[0].predictions) == {"singr"}
    assert "svls-seed0-fold0 predicts other regions: it is not in the case viewer." in data.notes
    assert (np.asarray(data.cases[0].reference) == 2).sum() == 2


def test_soft_prediction_stored_as_bytes_keeps_its_values(runs):
    files = runs / "svls-seed0-fold0" / "predictions"
    path = files / "p1_soft.nii.gz"
    soft = np.zeros((*SHAPE, 2), dtype=np.float32)
    soft[..., 0], soft[0, 0, 0] = 0.4, (0.0, 1.0)
    write_volume(path, soft, affine=AFFINE, spacing=SPACING, encoding="uint8", overwrite=True)
    said = json.loads((files / "prediction.json").read_text())
    (files / "prediction.json").write_text(json.dumps(said | {"soft": "uint8"}))
    cases = {case.name: case for case in assemble(runs).cases}
    found = cases["p1"].predictions["svls"].soft
    assert found[:, 0, 0, 0].tolist() == pytest.approx([0.0, 1.0])
    assert found[:, 3, 3, 3].tolist() == pytest.approx([0.4, 0.0])


def test_worst_and_best_cases_are_read_first(runs):
    assert [case.name for case in assemble(runs, max_cases=2).cases] == ["p2", "p1"]
    assert assemble(runs, max_cases=0).cases == ()


def test_data_that_moved_away_leave_the_viewer_out_with_a_note(runs, data_set, tmp_path):
    data_set.rename(tmp_path / "elsewhere")
    out = tmp_path / "report.html"
    report(runs, out)
    text = out.read_text()
    assert "There is no case viewer, because the images could not be read" in text
    assert 'id="viewer"' not in text
    report(runs, out, data=str(tmp_path / "elsewhere"), overwrite=True)
    assert 'id="viewer"' in out.read_text()


def test_data_given_by_name_and_not_there_are_an_error(runs, tmp_path):
    with pytest.raises(SfumatoError, match="does not exist"):
        report(runs, tmp_path / "report.html", data=str(tmp_path / "nowhere"))
    assert not (tmp_path / "report.html").exists()


def test_runs_that_do_not_say_where_the_data_lie_get_a_note(runs):
    for path in runs.glob("*/environment.json"):
        path.unlink()
    data = assemble(runs)
    assert data.cases == ()
    assert "give --data" in data.notes[0]


def test_prediction_on_another_grid_is_named(runs, data_set):
    save(runs / "svls-seed0-fold0" / "predictions" / "p2.nii.gz", np.zeros((3, 4, 5), dtype=np.uint8))
    with pytest.raises(GeometryError, match=r"prediction of p2 in .* has shape \(3, 4, 5\)"):
        assemble(runs, source=str(data_set))


def test_existing_page_is_refused_before_any_work(tmp_path):
    out = tmp_path / "report.html"
    out.write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        report(tmp_path / "no-runs", out)
    assert out.read_text() == "mine"


def test_wrong_input_is_one_of_our_errors(tmp_path):
    with pytest.raises(FileFormatError, match="is not a folder"):
        report(tmp_path / "no-runs", tmp_path / "report.html")
    with pytest.raises(ValueRangeError, match="--max-cases is -1"):
        report(tmp_path, tmp_path / "report.html", max_cases=-1)


def test_tests_against_the_proposed_method_stand_with_each_structure(runs, tmp_path):
    out = tmp_path / "report.html"
    report(runs, out, max_cases=0, proposed="singr")
    text = out.read_text()
    assert "Wilcoxon signed-rank against singr, unit case" in text
    assert "Tests: cord</summary>" in text
    with pytest.raises(SfumatoError, match="unknown method 'singer'"):
        report(runs, out, max_cases=0, proposed="singer", overwrite=True)


def test_command_line_reads_its_options(runs, tmp_path):
    app = typer.Typer()
    app.command()(report)
    out = tmp_path / "sub" / "page.html"
    app([str(runs), "-o", str(out), "--title", "My cords", "--max-cases", "1"], standalone_mode=False)
    assert "<h1>My cords</h1>" in out.read_text()
