"""A sweep counts what thresholding each map by itself would give, case by case."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sfumato.data import load_case, open_dataset
from sfumato.data.splits import read_splits
from sfumato.decode import THRESHOLDS, tune_threshold
from sfumato.errors import DataError, InputError, ShapeError
from sfumato.methods import METHODS
from sfumato.metrics import dice, relative_volume_difference
from sfumato.model import Model, load
from sfumato.model.threshold import (
    EVERY,
    SweepCounts,
    threshold_sweep,
    tuned_threshold,
    voxels_above,
)
from sfumato.recipe.recipe import parse_recipe
from sfumato.training.fit import fit
from tiny_cases import slice_recipe, tiny_recipe, tiny_task, write_cases, write_rated_cases


def untrained(method, axes, *, regions=None, threshold=None):
    content = tiny_recipe(axes) | {"method": method}
    torch.manual_seed(3)
    task = tiny_task("part1", "part2", regions=regions)
    return Model(parse_recipe(content, source="test"), task, threshold=threshold)


@pytest.fixture(scope="module", params=[2, 3])
def data(request, tmp_path_factory):
    return open_dataset(write_cases(tmp_path_factory.mktemp("data"), axes=request.param, count=3))


@pytest.mark.parametrize("method", METHODS)
def test_sweep_is_that_of_thresholding_each_map_by_itself(data, method):
    cases = [load_case(files, data) for files in data.cases]
    module = untrained(method, len(cases[0].spacing))
    sweep = threshold_sweep(module, data, data.names)
    assert sweep.thresholds == THRESHOLDS
    assert list(sweep.curves) == ["part1", "part2", EVERY]
    maps, masks = [], []
    for case in cases:
        soft = module.predict(case).soft
        if METHODS[method].kind.joint:
            soft = soft[1:]
        maps.append((soft + 1) / 2 if METHODS[method].activation == "tanh" else soft)
        masks.append(torch.stack([case.labels == 1, case.labels == 2]))
    axes = len(cases[0].spacing)
    for index, value in enumerate(THRESHOLDS):
        hard = [each > value for each in maps]
        scores = torch.stack([dice(a, b, spatial_axes=axes) for a, b in zip(hard, masks, strict=True)])
        biases = torch.stack(
            [relative_volume_difference(a, b, spatial_axes=axes) for a, b in zip(hard, masks, strict=True)]
        )
        for place, name in enumerate(("part1", "part2")):
            curve = sweep.curves[name]
            assert curve.dice[index] == pytest.approx(float(scores[:, place].mean()), abs=1e-5)
            assert curve.rvd[index] == pytest.approx(float(biases[:, place].nanmean()), abs=1e-5)
        assert sweep.curves[EVERY].dice[index] == pytest.approx(float(scores.mean()), abs=1e-5)
        assert sweep.curves[EVERY].rvd[index] == pytest.approx(float(biases.nanmean()), abs=1e-5)
    # The last case lacks the last class: its volume difference is undefined, and counted as such.
    assert [curve.undefined for curve in sweep.curves.values()] == [0, 1, 1]
    assert sweep.chosen == tune_threshold(maps, masks)
    assert sweep.at(sweep.chosen)[0] == max(sweep.curves[EVERY].dice)


def dice_of_predictions(module, data, names):
    """Mean Dice per threshold of what predicting each case gives, against the case's own mask."""
    found = torch.zeros(len(names), 2, len(THRESHOLDS), dtype=torch.float64)
    for row, name in zip(found, names, strict=True):
        case = load_case(data.cases[data.names.index(name)], data)
        soft = module.predict(case).soft
        for channel, values in enumerate(soft):
            truth = case.labels == channel + 1
            for place, value in enumerate(THRESHOLDS):
                hard = values > value
                total = int(hard.sum()) + int(truth.sum())
                row[channel, place] = 2 * int((hard & truth).sum()) / total if total else 1.0
    return found.mean(dim=(0, 1)).numpy()


@pytest.mark.parametrize(
    ("content", "axes"),
    [(tiny_recipe(2), 2), (tiny_recipe(3), 3), (slice_recipe(1), 3)],
    ids=["2d", "3d", "slices"],
)
def test_threshold_is_tuned_on_the_grids_that_predictions_are_scored_on(tmp_path, content, axes):
    data = open_dataset(write_cases(tmp_path / "data", axes=axes, count=4))
    # The crop loses part of every structure, which the native grid still has.
    changes = {"spacing": [1.5, 1.1, 1.2][:axes], "crop_size": [6, 9, 6][:axes]}
    content = content | {"method": "softseg", "epochs": 1, "preprocess": content["preprocess"] | changes}
    run = fit(parse_recipe(content, source="test"), data, tmp_path / "run")
    split = read_splits(run.path / "splits.json").fold(0)
    curve = np.loadtxt(run.path / "threshold.csv", delimiter=",", skiprows=1)
    module = load(run.path)
    expected = dice_of_predictions(module, data, [*split.train, *split.val])
    np.testing.assert_allclose(curve[:, 1], expected, atol=1e-6)
    assert expected[THRESHOLDS.index(module.threshold)] == pytest.approx(expected.max())
    assert expected.max() < 0.95, "what the crop cut off must be missed"


def test_threshold_is_tuned_on_the_one_rater_that_trains(tmp_path):
    data = open_dataset(write_rated_cases(tmp_path / "data", count=2))
    case = load_case(data.cases[0], data)
    curves = {}
    for rater in ("consensus", "mask_rater1", "mask_rater3"):
        module = untrained("softseg", 3)
        module.recipe = module.recipe.replace(raters=rater)
        curves[rater] = list(tuned_threshold(module, data, ["case0"]).mean_dice().values())
        labels = case.labels if rater == "consensus" else case.labels_per_rater[int(rater[-1]) - 1]
        masks = torch.stack([labels == 1, labels == 2])
        soft = module.predict(case).soft
        hard = [soft > value for value in THRESHOLDS]
        wanted = [float(dice(each, masks, spatial_axes=3).mean()) for each in hard]
        assert curves[rater] == pytest.approx(wanted, abs=1e-6)
    assert len({tuple(curve) for curve in curves.values()}) == 3


def test_a_structure_that_is_predicted_nowhere_is_named(data, caplog):
    module = untrained("softseg", len(load_case(data.cases[0], data).spacing))
    module.network.register_forward_hook(
        lambda network, inputs, logits: torch.stack(
            [torch.ones_like(logits[:, 0]), -logits[:, 0].abs()], dim=1
        )
    )
    tuned_threshold(module, data, ["case0", "case1"])
    assert [entry.getMessage() for entry in caplog.records] == [
        "part2 is predicted 0 everywhere in all 2 cases: no threshold finds it"
    ]


def test_tuning_shows_its_progress_case_by_case(data):
    seen = []

    def progress(names):
        for name in names:
            seen.append(name)
            yield name

    tuned_threshold(
        untrained("softseg", len(load_case(data.cases[0], data).spacing)),
        data,
        ["case1", "case0"],
        progress=progress,
    )
    assert seen == ["case1", "case0"]


def test_threshold_in_use_is_on_the_scale_of_the_sweep(data):
    axes = len(load_case(data.cases[0], data).spacing)
    found = {
        (method, tuned): threshold_sweep(untrained(method, axes, threshold=tuned), data, ["case0"]).stored
        for method, tuned in (("ce", None), ("singr", None), ("softseg", None), ("softseg", 0.35))
    }
    assert list(found.values()) == [None, 0.5, 0.5, 0.35]


def test_regions_that_overlap_are_swept_as_regions(data):
    axes, regions = len(load_case(data.cases[0], data).spacing), {"whole": (1, 2), "core": (2,)}
    data = replace(data, regions=regions)
    for method in ("ce", "singr"):
        module = untrained(method, axes, regions=regions)
        sweep = threshold_sweep(module, data, ["case0", "case1"])
        assert list(sweep.curves) == ["whole", "core", EVERY]
        if method == "ce":
            soft = module.predict(load_case(data.cases[0], data)).soft
            torch.testing.assert_close(module.maps(soft)[0], soft[1] + soft[2])


def test_voxels_equal_to_a_threshold_are_not_above_it():
    values = torch.tensor([[0.0, 0.05, 0.1], [0.1, 0.5, 1.0]])
    assert voxels_above(values, (0.05, 0.1, 0.5, 0.95)).tolist() == [4, 2, 1, 1]
    assert voxels_above(values[:, ::2], (0.05, 0.1, 0.5)).tolist() == [3, 1, 1]
    assert voxels_above(torch.zeros(0), (0.5,)).tolist() == [0]


def test_structure_that_no_case_has_leaves_its_bias_undefined():
    counts = SweepCounts(["here", "nowhere"], (0.25, 0.75))
    for _ in range(2):
        counts.update(
            torch.tensor([[[0.5, 0.0]], [[0.0, 0.0]]]), torch.tensor([[[True, True]], [[False, False]]])
        )
    curves = counts.curves()
    assert curves["here"].dice == pytest.approx((2 / 3, 0.0))
    assert curves["here"].rvd == (0.5, 1.0)
    assert curves["nowhere"].dice == (1.0, 1.0)
    assert all(math.isnan(value) for value in curves["nowhere"].rvd)
    assert (curves["nowhere"].cases, curves["nowhere"].undefined) == (2, 2)
    assert curves[EVERY].rvd == (0.5, 1.0)
    np.testing.assert_allclose(curves[EVERY].dice, (5 / 6, 0.5))
    assert counts.best() == 0.25
    with pytest.raises(ShapeError):
        counts.update(torch.zeros(2, 1, 2), torch.zeros(2, 2, 2, dtype=torch.bool))


def test_nothing_to_sweep_is_an_error(data):
    module = untrained("ce", len(load_case(data.cases[0], data).spacing))
    with pytest.raises(DataError, match="has no case 'case9'"):
        threshold_sweep(module, data, ["case9"])
    bare = replace(data, cases=tuple(replace(files, mask=None) for files in data.cases))
    with pytest.raises(DataError, match="no case with a mask to sweep the threshold of ce-seed0-fold0 on"):
        threshold_sweep(module, bare, ["case0"])
    with pytest.raises(InputError, match="no case was counted"):
        SweepCounts(["a"]).best()
