"""``sfumato predict --uncertainty``: its options, and that the other commands understand its folder."""

import json

import pytest
import torch

from sfumato.cli.app import run
from sfumato.evaluation.rows import read_rows
from sfumato.model import Model
from sfumato.recipe.recipe import parse_recipe
from tiny_cases import store_checkpoint, tiny_recipe, tiny_task, write_cases


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data set and two checkpoints of networks with random weights."""
    folder = tmp_path_factory.mktemp("uncertainty")
    write_cases(folder / "data", count=2)
    for seed in (1, 2):
        torch.manual_seed(seed)
        recipe = parse_recipe(tiny_recipe() | {"method": "ls", "seed": seed}, source="test")
        store_checkpoint(Model(recipe, tiny_task("part1", "part2")), folder / f"{seed}.ckpt")
    return folder


def predict(place, out, *options):
    return run(["predict", str(place / "1.ckpt"), str(place / "data"), "-o", str(out), *options])


def test_each_kind_writes_its_maps_and_says_what_it_did(place, tmp_path):
    for kind, options, samples in (
        ("tta", [], 8),
        ("mcdropout", ["--samples", "3", "--seed", "7"], 3),
        ("ensemble", ["--member", str(place / "2.ckpt")], 2),
    ):
        out = tmp_path / kind
        assert predict(place, out, "--uncertainty", kind, "--case", "case0", *options) == 0
        assert sorted(path.name for path in out.iterdir()) == [
            "case0.nii.gz",
            f"case0_uncertainty-{kind}.nii.gz",
            f"case0_uncertainty-{kind}_mutual-information.nii.gz",
            "prediction.json",
        ]
        described = json.loads((out / "prediction.json").read_text())
        assert described["method"] == f"ls+{kind}"
        assert described["uncertainty"]["samples"] == samples
        assert described["uncertainty"].get("seed") == (7 if kind == "mcdropout" else None)


def test_predictions_with_uncertainty_are_evaluated_under_a_name_of_their_own(place, tmp_path):
    out, reference = tmp_path / "out", place / "data" / "labelsTr"
    assert predict(place, out, "--uncertainty", "tta", "--soft") == 0
    assert run(["evaluate", str(out), str(reference), "--out", str(tmp_path / "m.csv")]) == 0
    rows = read_rows(tmp_path / "m.csv")
    assert {row.case for row in rows} == {"case0", "case1"}
    assert {(row.method, row.run) for row in rows} == {("ls+tta", "ls-seed1-fold0+tta")}


def test_options_that_do_not_fit_together_are_refused(place, tmp_path, capsys):
    member = ["--member", str(place / "2.ckpt")]
    for options, message in (
        (member, "--member names a further member of --uncertainty ensemble"),
        (["--uncertainty", "tta", *member], "--member names a further member of --uncertainty ensemble"),
        (["--uncertainty", "ensemble"], "ensemble takes two or more checkpoints, found 1"),
        (["--uncertainty", "mcdropout", "--samples", "1"], "samples is 1"),
        (["--uncertainty", "flips"], "'flips' is not one of"),
    ):
        assert predict(place, tmp_path / "out", *options) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
