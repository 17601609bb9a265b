"""A folder of made-up runs: three methods, one of them with two seeds, on small anisotropic volumes."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sfumato.evaluation.diagrams import (
    history_points,
    reliability_points,
    threshold_points,
    value_points,
    write_points,
)
from sfumato.evaluation.rows import Origin, Row, write_rows
from sfumato.metrics.calibration.reliability import ReliabilityBins
from sfumato.report import Overlay, RaterPanel, ReportCase, load_runs, write_report
from sfumato.structures import CLASSES, SIGNED

SHAPE, SPACING = (9, 12, 5), (1.0, 0.8, 3.0)
CASES = ("case_01", "case_02", "case_03", "case_04", "case_05")
NAMES = {0: "background", 1: "head", 2: "tail"}
RUNS = {"ce-seed0-fold0": ("ce", 0), "ce-seed1-fold0": ("ce", 1), "geols-seed0-fold0": ("geols", 0)}
RUNS["singr-seed0-fold0"] = ("singr", 0)


def row(
    run="a-seed0-fold0",
    method="a",
    *,
    seed=0,
    case="c1",
    rater="",
    structure="head",
    metric="dice",
    value=0.5,
):
    unit = {"hd95": "mm", "volume": "ml", "volume_ref": "ml"}.get(metric, "fraction")
    status = "empty_prediction" if math.isnan(value) else "ok"
    return Row(run, method, "made-up", seed, 0, case, rater, structure, metric, value, unit, status)


def made_up_rows(run, method, seed):
    draw = np.random.default_rng([*method.encode(), seed])
    rows = []
    for index, case in enumerate(CASES):
        for structure in ("head", "tail"):
            base = {"run": run, "method": method, "seed": seed, "case": case, "structure": structure}
            dice = float(0.7 + 0.04 * index + 0.05 * draw.random())
            lost = method == "ce" and case == "case_01" and structure == "tail"
            rows.append(row(**base, metric="dice", value=0.0 if lost else dice))
            rows.append(row(**base, metric="hd95", value=math.nan if lost else float(1 + draw.random())))
            rows.append(row(**base, metric="rvd", value=float(draw.normal() * 0.1)))
            rows.append(row(**base, metric="volume", value=float(2 + draw.random())))
        rows.append(row(run, method, seed=seed, case=case, structure="all", metric="ece", value=0.01 * index))
    return rows


def made_up_diagrams(run, method, seed):
    origin = Origin(run, method, "made-up", seed, 0, "")
    bins = ReliabilityBins((0, 100 * (seed + 1)), (math.nan, 0.9), (math.nan, 0.8))
    epochs = [
        {
            "epoch": float(epoch),
            "train_loss": 1 / (epoch + 1),
            "val_loss": math.nan if epoch % 2 else 0.5,
            "val_dice": epoch / 10,
        }
        for epoch in range(6)
    ]
    points = [point for name in ("all", "foreground") for point in reliability_points(origin, name, bins)]
    points += value_points(origin, (-1.0 if method == "singr" else 0.0, 0.5, 1.0), (30, 10))
    points += history_points(origin, epochs)
    if method == "geols":
        points += threshold_points(origin, [(0.25, 0.6), (0.5, 0.7), (0.75, 0.65)])
    return points


def write_run(folder, run, method, seed):
    (folder / "predictions").mkdir(parents=True)
    write_rows(made_up_rows(run, method, seed), folder / "metrics.csv")
    write_points(made_up_diagrams(run, method, seed), folder / "metrics.csv")
    (folder / "recipe.yaml").write_text(f"method: {method}  # <one> & only\nseed: {seed}\n")
    (folder / "environment.json").write_text(json.dumps({"python": "3.11", "cores": 2}))
    kind = "signed" if method == "singr" else "classes"
    (folder / "predictions" / "prediction.json").write_text(
        json.dumps({"method": method, "kind": kind, "label_names": NAMES, "threshold": None})
    )


def made_up_case(name, *, shape=SHAPE, spacing=SPACING, seed=0):
    """A block of two structures in noise, predicted one voxel off; nothing in it is symmetric."""
    draw = np.random.default_rng(seed)
    reference = np.zeros(shape, dtype=np.int64)
    reference[tuple(slice(length // 5, length // 5 + 3) for length in shape)] = 1
    reference[
        tuple(slice(length // 5 + (axis == 0) * 3, length // 5 + 4) for axis, length in enumerate(shape))
    ] = 2
    labels = np.roll(reference, 1, axis=1)
    hot = np.stack([labels == label for label in range(3)]).astype(np.float32)
    soft = hot * 0.8 + 0.2 / 3
    image = torch.from_numpy(draw.normal(size=(1, *shape)).astype(np.float32))
    entropy = draw.random(shape).astype(np.float32)
    predictions = {
        "ce": Overlay(torch.from_numpy(labels), torch.from_numpy(soft), CLASSES, torch.from_numpy(entropy)),
        "geols": Overlay(torch.from_numpy(labels), None, CLASSES),
        "singr": Overlay(
            torch.from_numpy(reference),
            torch.from_numpy(hot[1:] * 2 - 1),
            SIGNED,
            target=torch.from_numpy(hot[1:]),
        ),
    }
    return ReportCase(name, image, torch.from_numpy(reference), spacing, predictions)


def made_up_panel():
    draw = np.random.default_rng(3)
    masks = np.zeros((3, 24, 30), dtype=np.int64)
    for rater, shift in enumerate((0, 2, 5)):
        masks[rater, 6 : 14 + shift, 5:20] = 1
    mean = masks.mean(axis=0, dtype=np.float32)
    soft = {"moh": torch.from_numpy(np.stack([1 - mean, mean]))}
    image = torch.from_numpy(draw.random((1, 24, 30)).astype(np.float32))
    return RaterPanel("cell", image, torch.from_numpy(masks), ("Ada", "Bo", "Cy"), soft)


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for run, (method, seed) in RUNS.items():
        write_run(folder / run, run, method, seed)
    return folder


@pytest.fixture(scope="session")
def data(runs_folder):
    """Everything that a report can show."""
    return replace(
        load_runs(runs_folder),
        cases=tuple(made_up_case(name, seed=index) for index, name in enumerate(CASES)),
        raters=(made_up_panel(),),
        agreement=({"pair": "Ada – Bo", "Dice": 0.91},),
        comparisons=(
            {"metric": "dice", "structure": "Average", "method": "ce", "p": 0.000012, "wins": 3},
            {"metric": "dice", "structure": "Average", "method": "singr", "p": None, "wins": 0},
            {"metric": "dice", "structure": "head", "method": "ce", "p": 0.034, "wins": 3},
        ),
        notes=("One thing is missing.",),
    )


@pytest.fixture(scope="session")
def page(data, tmp_path_factory):
    return write_report(data, tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="session")
def made_up():
    return SimpleNamespace(row=row, case=made_up_case, panel=made_up_panel, write_run=write_run, cases=CASES)
