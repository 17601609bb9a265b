"""The main job on a data set whose reference is class weights alone."""

import json

import numpy as np
import pytest
import torch
import yaml

from sfumato.cli.app import run
from sfumato.data import load_case, open_dataset, write_volume
from sfumato.evaluation.rows import read_rows
from sfumato.report.assemble import assemble
from tiny_cases import tiny_recipe
from weight_cases import write_weights


def write_predictions(folder, data, *, softened):
    """The true classes but for one plane, and as soft prediction what ``softened`` makes of the weights."""
    folder.mkdir()
    for files in data.cases:
        case = load_case(files, data)
        labels = case.labels.numpy().astype(np.uint8)
        labels[:7] = 0
        about = {"affine": case.affine, "spacing": case.spacing}
        write_volume(folder / f"{case.name}.nii.gz", labels, **about)
        maps = np.moveaxis(softened(case.soft.numpy()), 0, -1)
        write_volume(folder / f"{case.name}_soft.nii.gz", maps.astype(np.float32), **about)


def test_from_check_to_report_without_any_mask(tmp_path, capsys):
    root, answers = write_weights(tmp_path / "data", count=6, classes=3)
    assert run(["check", str(root)]) == 0
    assert "class weights and no mask in 6 of 6 cases" in " ".join(capsys.readouterr().out.split())
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(tiny_recipe() | {"method": "softseg", "epochs": 1}))
    assert run(["train", "--no-report", str(recipe), "--data", str(root), "--out", str(out)]) == 0
    assert "the target is the data set's own class weights" in (out / "log.txt").read_text()
    assert 0 < json.loads((out / "finished.json").read_text())["threshold"] < 1
    (shown,) = assemble(out, source=str(root)).cases
    assert torch.equal(shown.predictions["softseg"].target, answers[shown.name].soft[1:])
    assert run(["predict", str(out), str(root), "--out", str(tmp_path / "pred"), "--soft"]) == 0
    assert run(["evaluate", str(tmp_path / "pred"), str(root), "--out", str(tmp_path / "t.csv")]) == 0
    rows = read_rows(tmp_path / "t.csv")
    assert {row.structure for row in rows} >= {"core", "rim"}
    assert len({row.case for row in rows}) == 6


@pytest.mark.parametrize("one_file", [True, False])
def test_graded_scores_compare_with_the_weights_and_the_others_with_their_classes(tmp_path, capsys, one_file):
    root, answers = write_weights(tmp_path / "data", count=2, classes=3, one_file=one_file)
    data = open_dataset(root)
    write_predictions(tmp_path / "pred", data, softened=lambda soft: 0.9 * soft + 0.1 / 3)
    table, metrics = tmp_path / "t.csv", ("dice", "mse", "soft_dice", "brier")
    chosen = [word for metric in metrics for word in ("--metric", metric)]
    assert run(["evaluate", str(tmp_path / "pred"), str(root), "--out", str(table), *chosen]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "2 of 2 references are class weights: MSE, soft Dice and soft IoU compare with the weights" in said
    found = {(row.case, row.structure, row.metric): row.value for row in read_rows(table)}
    for name, truth in answers.items():
        soft = truth.soft.double().numpy()
        labels, softened = soft.argmax(0), 0.9 * soft + 0.1 / 3
        for label, structure in ((1, "core"), (2, "rim")):
            one, inside = softened[label], labels == label
            expected = {
                "mse": np.mean((one - soft[label]) ** 2),
                "soft_dice": 1 - np.abs(one - soft[label]).sum() / (one + soft[label]).sum(),
                "dice": 2 * inside[7:].sum() / (inside[7:].sum() + inside.sum()),
            }
            for metric, value in expected.items():
                assert found[name, structure, metric] == pytest.approx(value, rel=1e-4), (structure, metric)
        hard = np.stack([labels == label for label in range(3)])
        brier = ((softened - hard) ** 2).sum(0).mean()
        assert found[name, "all", "brier"] == pytest.approx(brier, rel=1e-4)


def test_beside_a_mask_every_score_compares_with_the_mask(tmp_path, capsys):
    root, _ = write_weights(tmp_path / "data", count=1, masks=True)
    data = open_dataset(root)
    write_predictions(tmp_path / "pred", data, softened=lambda soft: soft)
    table = tmp_path / "t.csv"
    assert run(["evaluate", str(tmp_path / "pred"), str(root), "--out", str(table), "--metric", "mse"]) == 0
    assert "class weights" not in capsys.readouterr().err
    case = load_case(data.cases[0], data)
    expected = np.mean((case.soft[1].numpy() - (case.labels.numpy() == 1)) ** 2)
    (row,) = read_rows(table)
    assert row.value == pytest.approx(expected)
    assert row.value > 0
