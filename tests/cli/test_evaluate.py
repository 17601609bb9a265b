import json
import math
import re

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch

from one_command import runner
from sfumato.cli.evaluate import evaluate
from sfumato.data import load_case, samples, write_volume
from sfumato.errors import (
    DataError,
    FileFormatError,
    InputError,
    OutputExistsError,
    UnknownNameError,
)
from sfumato.evaluation import CaseReference, Origin, Row, evaluate_case, evaluate_folder, read_rows
from sfumato.metrics import dice, expected_calibration_error, mean_rater_agreement, mean_squared_error
from sfumato.statistics import compare_methods, tidy
from sfumato.structures import Structures

run = runner(evaluate)
SHAPE, SPACING = (4, 5, 6), (0.5, 1.0, 2.5)


def label_map(seed, *, shape=SHAPE, num_classes=3):
    return np.random.default_rng(seed).integers(0, num_classes, shape).astype(np.uint8)


def weights(seed, channels, *, shape=SHAPE):
    return np.random.default_rng(seed).dirichlet((1.0,) * channels, shape).astype(np.float32)


def write(path, array, **options):
    write_volume(path, array, **{"spacing": SPACING} | options)


@pytest.fixture
def folders(tmp_path):
    """Two cases ``a`` and ``b``: predictions of seeds 0 and 1, references of seeds 10 and 11."""
    for number, case in enumerate("ab"):
        write(tmp_path / "pred" / f"{case}.nii.gz", label_map(number))
        write(tmp_path / "ref" / f"{case}.nii.gz", label_map(10 + number))
    return tmp_path


def describe(folder, **content):
    (folder / "prediction.json").write_text(json.dumps(content))


def table(folder):
    return {
        (row.case, f"{row.structure}@{row.rater}".rstrip("@"), row.metric): row
        for row in read_rows(folder / "m.csv")
    }


def test_folders_are_matched_by_name_and_scored_as_in_python(folders):
    run(folders / "pred", folders / "ref", "--out", folders / "m.csv", "--method", "mine", "--seed", 3)
    expected = []
    for number, case in enumerate("ab"):
        origin = Origin("mine-seed3", "mine", "ref", 3, None, case)
        reference = CaseReference(Structures.numbered(3), SPACING, origin, label_map(10 + number))
        expected += evaluate_case(label_map(number), reference)
    assert read_rows(folders / "m.csv") == expected


def test_the_public_function_returns_the_rows_that_the_command_writes(folders):
    write(folders / "pred" / "a_soft.nii.gz", weights(4, 3))
    write(folders / "pred" / "b.nii.gz", np.zeros(SHAPE, np.uint8), overwrite=True)
    run(folders / "pred", folders / "ref", "--out", folders / "m.csv", "--method", "mine", "--seed", 3)
    seen = []
    frame = evaluate_folder(
        folders / "pred",
        folders / "ref",
        about={"method": "mine", "seed": 3},
        progress=lambda cases: seen.extend(cases) or cases,
    )
    assert seen == ["a", "b"]
    assert frame["fold"].isna().all()
    rows = [
        Row(*(None if pd.isna(value) and name == "fold" else value for name, value in record.items()))
        for record in frame.to_dict("records")
    ]
    assert repr(rows) == repr(read_rows(folders / "m.csv"))
    assert set(evaluate_folder(folders / "pred", folders / "ref", metrics=["dice"])["metric"]) == {"dice"}
    with pytest.raises(UnknownNameError, match="key of about 'sed'"):
        evaluate_folder(folders / "pred", folders / "ref", about={"sed": 3})


def test_what_the_predictions_say_about_themselves_is_written_into_the_rows(folders):
    describe(
        folders / "pred",
        method="geols",
        kind="classes",
        label_names={"0": "background", "1": "core", "2": "rim"},
        threshold=None,
        seed=5,
        fold=2,
        dataset="made",
        run="geols-seed5-fold2",
    )
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv", "--fold", 4)
    rows = read_rows(folders / "m.csv")
    assert {(r.run, r.method, r.dataset, r.seed, r.fold) for r in rows} == {
        ("geols-seed5-fold2", "geols", "made", 5, 4)
    }
    assert {row.structure for row in rows} == {"core", "rim"}


def test_the_means_and_the_undefined_values_are_printed(folders):
    write(folders / "pred" / "a.nii.gz", np.zeros(SHAPE, np.uint8), overwrite=True)
    output = run(
        folders / "pred", folders / "ref", "-o", folders / "m.csv", "--metric", "hd95", "--metric", "dice"
    )
    lines = [line.split("│")[1:-1] for line in output.splitlines() if "label 1" in line]
    cells = {line[1].strip(): [cell.strip() for cell in line] for line in lines}
    rows = table(folders)
    assert rows["a", "label 1", "hd95"].status == "empty_prediction"
    assert cells["hd95"][-2:] == ["1", "1"]
    assert cells["hd95"][2] == f"{rows['b', 'label 1', 'hd95'].value:.4g}"
    assert cells["dice"][-2:] == ["2", "0"]
    assert cells["dice"][2] == f"{rows['b', 'label 1', 'dice'].value / 2:.4g}"
    assert "m.csv" in output


def test_the_settings_lie_beside_the_table_and_take_effect(folders):
    write(folders / "pred" / "a.nii.gz", np.zeros(SHAPE, np.uint8), overwrite=True)
    run(
        folders / "pred",
        folders / "ref",
        "-o",
        folders / "m.csv",
        "--missing",
        "diagonal",
        "--tolerance",
        0.25,
    )
    diagonal = math.hypot(*(side * mm for side, mm in zip(SHAPE, SPACING, strict=True)))
    assert table(folders)["a", "label 1", "hd95"].value == pytest.approx(diagonal)
    notes = json.loads((folders / "m.json").read_text())
    assert (notes["missing"], notes["tolerance_mm"]) == ("diagonal", 0.25)
    assert notes["hausdorff"] == {"weighting": "area", "direction": "max"}


def test_several_raters_give_a_row_each_and_one_for_their_consensus(tmp_path):
    dataset = samples.dataset("cells")
    cases = [load_case(files, dataset) for files in dataset.cases[:2]]
    for case in cases:
        write_volume(
            tmp_path / "pred" / f"{case.name}.nii.gz", case.labels_per_rater[3].numpy(), spacing=(1.0, 1.0)
        )
    output = run(tmp_path / "pred", "sample:cells", "-o", tmp_path / "m.csv", "--metric", "dice")
    rows = table(tmp_path)
    for case in cases:
        assert rows[case.name, "cell@person 4, ImageJ", "dice"].value == 1.0
        for name, labels in zip(dataset.rater_names, case.labels_per_rater, strict=True):
            expected = dice((case.labels_per_rater[3] == 1)[None], (labels == 1)[None])
            assert rows[case.name, f"cell@{name}", "dice"].value == float(expected)
        consensus = float(dice((case.labels_per_rater[3] == 1)[None], (case.labels == 1)[None]))
        assert rows[case.name, "cell", "dice"].value == consensus
    assert len(rows) == 2 * 11
    assert "2 of 26 cases of cells" in output
    assert "ImageJ" not in output


def test_several_raters_together_are_scored_by_default_and_compared(tmp_path):
    dataset = samples.dataset("cells")
    files = dataset.cases[:6]
    tables = {"second": (1, tmp_path / "a.csv"), "mean": (None, tmp_path / "b.csv")}
    for name, (rater, out) in tables.items():
        for each in files:
            case = load_case(each, dataset)
            masks = (case.labels_per_rater == 1).float()
            soft = masks[rater] if rater is not None else masks.mean(0)
            hard = (soft > 0.5).numpy().astype(np.uint8)
            write_volume(tmp_path / name / f"{case.name}.nii.gz", hard, spacing=(1.0, 1.0))
            write_volume(
                tmp_path / name / f"{case.name}_soft.nii.gz", soft[..., None].numpy(), spacing=(1.0, 1.0)
            )
        run(tmp_path / name, "sample:cells", "-o", out, "--method", name)
    rows = {(row.case, row.rater, row.metric): row for row in read_rows(tables["mean"][1])}
    case = files[0].name
    drawn = [(labels == 1)[None] for labels in load_case(files[0], dataset).labels_per_rater]
    agreement = float(mean_rater_agreement(torch.stack(drawn)))
    assert rows[case, "", "rater_dice"].value == pytest.approx(agreement)
    assert rows[case, "", "qubiq"].value == 1.0
    assert rows[case, "", "consensus_dice"].value == 1.0
    assert rows[case, "", "consensus_iou"].value == 1.0
    assert rows[case, "", "dice_raters_max"].value == max(
        rows[case, name, "dice"].value for name in dataset.rater_names
    )
    found = compare_methods(tidy([out for _, out in tables.values()]), proposed="mean")
    tests = found.tests.set_index(["metric", "structure"])
    for metric in ("qubiq", "ged", "consensus_dice", "dice_raters_mean", "dice_raters_max"):
        assert tests.loc[(metric, "cell"), "n"] == 6
    assert tests.loc[("qubiq", "cell"), "wins"] == 6
    assert any(note.startswith("rater_dice is left out") for note in found.notes)


def test_graded_class_predictions_add_error_and_calibration(folders):
    probs = weights(4, 3)
    write(folders / "pred" / "a_soft.nii.gz", probs)
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv")
    rows, ref = table(folders), label_map(10).astype(np.int64)
    first = np.moveaxis(probs, -1, 0)
    assert rows["a", "all", "ece"].value == expected_calibration_error(first, ref)
    expected = mean_squared_error(first[1:2], (ref == 1)[None], spatial_axes=3)
    assert rows["a", "label 1", "mse"].value == pytest.approx(float(expected), rel=1e-6)
    assert ("b", "all", "ece") not in rows


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("kind", ["regions", "signed"])
def test_graded_region_predictions_become_class_probabilities(folders, kind, declared):
    maps = np.random.default_rng(2).random((*SHAPE, 2)).astype(np.float32) * 0.7
    write(folders / "pred" / "a_soft.nii.gz", maps if kind == "regions" else 2 * maps - 1)
    if declared:
        describe(folders / "pred", kind=kind)
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv")
    regions = np.moveaxis(maps, -1, 0)
    rest = np.clip(1 - regions.sum(axis=0), 0, None)
    probs = np.concatenate([rest[None], regions / np.maximum(regions.sum(axis=0), 1)])
    rows, ref = table(folders), label_map(10).astype(np.int64)
    assert rows["a", "all", "ece"].value == pytest.approx(expected_calibration_error(probs, ref), abs=1e-6)
    expected = mean_squared_error(regions[1:], (ref == 2)[None], spatial_axes=3)
    assert rows["a", "label 2", "mse"].value == pytest.approx(float(expected), abs=1e-6)


def test_predictions_scaled_to_bytes_are_read_as_fractions(folders):
    probs = weights(4, 3)
    write(folders / "pred" / "a_soft.nii.gz", probs, encoding="uint8")
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv")
    expected = mean_squared_error(np.moveaxis(probs, -1, 0)[1:2], (label_map(10) == 1)[None], spatial_axes=3)
    assert table(folders)["a", "label 1", "mse"].value == pytest.approx(float(expected), abs=2e-3)


def test_overlapping_regions_are_scored_as_the_data_set_defines_them(tmp_path):
    ref, pred = label_map(1), label_map(2)
    (tmp_path / "data").mkdir()
    content = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]}
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(content))
    write(tmp_path / "data" / "a.nii.gz", ref)
    masks = np.stack([pred > 0, pred == 2], axis=-1).astype(np.uint8)
    write(tmp_path / "pred" / "a.nii.gz", masks)
    maps = masks * np.float32(0.5) + np.float32(0.25)
    write(tmp_path / "pred" / "a_soft.nii.gz", maps)
    run(tmp_path / "pred", tmp_path / "data", "-o", tmp_path / "m.csv")
    rows = table(tmp_path)
    assert rows["a", "whole", "dice"].value == float(dice((pred > 0)[None], (ref > 0)[None], spatial_axes=3))
    assert rows["a", "core", "dice"].value == float(dice((pred == 2)[None], (ref == 2)[None], spatial_axes=3))
    two = np.stack([1 - maps[..., 0], maps[..., 0]])
    expected = expected_calibration_error(two, (ref > 0).astype(np.int64))
    assert rows["a", "whole", "ece"].value == pytest.approx(expected, abs=1e-7)


def test_pictures_and_volumes_of_one_slice_are_scored_in_two_dimensions(tmp_path):
    ref, pred = label_map(1, shape=(7, 9), num_classes=2), label_map(2, shape=(7, 9), num_classes=2)
    for name, array in (("ref", ref * 255), ("pred", pred)):
        write_volume(tmp_path / name / "a.png", array)
    run(tmp_path / "pred", tmp_path / "ref", "-o", tmp_path / "m.csv", "--metric", "dice", "--metric", "hd95")
    first = table(tmp_path)
    write_volume(tmp_path / "slice" / "a.nii.gz", pred[:, :, None], spacing=(1.0, 1.0, 1.0))
    probs = weights(3, 2, shape=(7, 9))
    write_volume(tmp_path / "slice" / "a_soft.nii.gz", probs, spacing=(1.0, 1.0))
    run(tmp_path / "slice", tmp_path / "ref", "-o", tmp_path / "m.csv", "--overwrite")
    second = table(tmp_path)
    for metric in ("dice", "hd95"):
        assert first["a", "label 1", metric].value == second["a", "label 1", metric].value
    expected = expected_calibration_error(np.moveaxis(probs, -1, 0)[None], ref[None].astype(np.int64))
    assert second["a", "all", "ece"].value == expected


def test_two_single_files_belong_together_whatever_their_names(folders):
    run(
        folders / "pred" / "a.nii.gz",
        folders / "ref" / "b.nii.gz",
        "-o",
        folders / "m.csv",
        "--metric",
        "dice",
    )
    expected = dice((label_map(0) == 1)[None], (label_map(11) == 1)[None], spatial_axes=3)
    assert table(folders)["b", "label 1", "dice"].value == float(expected)


def test_every_problem_of_every_case_is_listed_and_nothing_is_written(folders):
    write(folders / "pred" / "b.nii.gz", label_map(0, shape=(4, 5, 7)), overwrite=True)
    write(folders / "pred" / "c.nii.gz", label_map(0), affine=np.diag([0.5, 1, 2.5, 1.0]))
    write(folders / "ref" / "c.nii.gz", label_map(0), affine=np.diag([-0.5, 1, 2.5, 1.0]))
    write(folders / "ref" / "d.nii.gz", label_map(0))
    write(folders / "pred" / "e.nii.gz", label_map(0))
    (folders / "ref" / "f.nii.gz").write_bytes((folders / "ref" / "a.nii.gz").read_bytes()[:60])
    write(folders / "pred" / "f.nii.gz", label_map(0))
    with pytest.raises(DataError) as caught:
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv")
    problems = caught.value.problems
    assert len(problems) == 5
    for text in (
        "case b: .*shape \\(4, 5, 6\\) and \\(4, 5, 7\\)",
        "case c: .*affine .*-0.5.* and .*0.5.*mm apart",
        "case d: reference .*d.nii.gz has no prediction; --partial",
        "case e: prediction .*e.nii.gz has no reference",
        "case f: .*f.nii.gz .*(truncated|damaged)",
    ):
        assert any(re.search(text, problem) for problem in problems), (text, problems)
    assert not (folders / "m.csv").exists()
    assert not (folders / "m.json").exists()


def test_a_folder_of_masks_may_be_scored_in_part_when_told(folders):
    (folders / "pred" / "a.nii.gz").unlink()
    with pytest.raises(DataError, match=r"a\.nii\.gz has no prediction; --partial leaves it out"):
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv")
    output = run(folders / "pred", folders / "ref", "-o", folders / "m.csv", "--partial")
    assert "1 of 2 cases" in output
    assert {row.case for row in read_rows(folders / "m.csv")} == {"b"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.full(SHAPE, 0.5, np.float32), "no whole numbers"),
        (np.full(SHAPE, 9, np.uint8), "holds values 9 outside the declared labels"),
        (np.zeros((*SHAPE, 5), np.uint8), "5 channels: expected labels, or one mask for each of core, rim"),
        (np.full((*SHAPE, 2), 3, np.uint8), "other values than 0 and 1"),
    ],
)
def test_a_wrong_hard_prediction_is_named(folders, content, message):
    describe(folders / "pred", label_names={"0": "background", "1": "core", "2": "rim"})
    write(folders / "pred" / "a.nii.gz", content, overwrite=True)
    with pytest.raises(DataError, match=rf"case a: .*a\.nii\.gz.*{message}"):
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (weights(0, 5), "5 channels: expected 3 classes"),
        (np.full((*SHAPE, 3), 7.0, np.float32), r"7: a soft prediction lies in \[0, 1\]"),
        (np.full((*SHAPE, 3), np.nan, np.float32), "NaN or infinite"),
        (np.full((*SHAPE, 3), 0.9, np.float32), "sum to 2.7"),
        (weights(0, 3, shape=(4, 5, 7)), "not on one grid"),
    ],
)
def test_a_wrong_graded_prediction_is_named(folders, content, message):
    write(folders / "pred" / "a_soft.nii.gz", content)
    with pytest.raises(DataError, match=rf"case a: .*{message}"):
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv")


def test_predictions_of_other_labels_than_the_reference_are_refused(folders):
    describe(folders / "pred", label_names={"0": "background", "1": "x"})
    (folders / "ref" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "a": 1, "b": 2}}))
    with pytest.raises(InputError, match=r"made for labels \[0, 1\], but ref declares \[0, 1, 2\]"):
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv")


def test_an_existing_table_is_kept_unless_told_otherwise(folders):
    (folders / "m.csv").write_text("mine")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv")
    assert (folders / "m.csv").read_text() == "mine"
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv", "--overwrite")
    assert len(read_rows(folders / "m.csv")) > 0


def test_missing_folders_unknown_metrics_and_damaged_notes_are_named(folders):
    (folders / "empty").mkdir()
    for pred, ref, error, message in (
        ("none", "ref", FileFormatError, "prediction .*none does not exist"),
        ("pred", "none", FileFormatError, "reference .*none does not exist"),
        ("empty", "ref", FileFormatError, "holds no image file"),
        ("pred", "empty", FileFormatError, "holds no image file"),
    ):
        with pytest.raises(error, match=message):
            run(folders / pred, folders / ref, "-o", folders / "m.csv")
    with pytest.raises(UnknownNameError, match="Did you mean 'hd95'"):
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv", "--metric", "hd9")
    (folders / "pred" / "prediction.json").write_text("{")
    with pytest.raises(FileFormatError, match="not readable JSON"):
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv")
    describe(folders / "pred", kind="clases")
    with pytest.raises(UnknownNameError, match="Did you mean 'classes'"):
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv")


def test_two_files_of_one_case_are_refused(folders):
    write_volume(folders / "pred" / "a.nii", label_map(0), spacing=SPACING)
    with pytest.raises(FileFormatError, match="a is there twice"):
        run(folders / "pred", folders / "ref", "-o", folders / "m.csv")


def test_a_case_whose_name_ends_in_soft_is_a_case(folders):
    write(folders / "pred" / "c_soft.nii.gz", label_map(0))
    write(folders / "ref" / "c_soft.nii.gz", label_map(0))
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv", "--metric", "dice")
    assert table(folders)["c_soft", "label 1", "dice"].value == 1.0


def test_uncertainty_maps_are_no_predictions(folders):
    write(folders / "pred" / "a_uncertainty-entropy.nii.gz", weights(0, 2)[..., 0])
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv", "--metric", "dice")
    assert {row.case for row in read_rows(folders / "m.csv")} == {"a", "b"}


def test_values_do_not_depend_on_the_stored_type(folders):
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv")
    expected = read_rows(folders / "m.csv")
    for case in "ab":
        for side in ("pred", "ref"):
            path = folders / side / f"{case}.nii.gz"
            image = nibabel.load(path)
            array = np.asarray(image.dataobj).astype(np.float64 if side == "ref" else ">i2")
            nibabel.save(nibabel.Nifti1Image(array, image.affine), path)
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv", "--overwrite")
    assert read_rows(folders / "m.csv") == expected


def test_labels_that_no_file_holds_are_no_structures(folders):
    for side in ("pred", "ref"):
        for case in "ab":
            write(folders / side / f"{case}.nii.gz", label_map(0) * 3, overwrite=True)
    run(folders / "pred", folders / "ref", "-o", folders / "m.csv", "--metric", "dice")
    assert {row.structure for row in read_rows(folders / "m.csv")} == {"label 3", "label 6"}
