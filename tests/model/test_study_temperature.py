"""A run's temperature is the minimum of its validation NLL; scaling changes the soft values alone."""

import json
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from sfumato.data import load_case, open_dataset
from sfumato.data.splits import read_splits
from sfumato.errors import DataError, FileFormatError
from sfumato.evaluation import METRICS
from sfumato.evaluation.diagrams import read_points
from sfumato.evaluation.rows import read_rows
from sfumato.model import load
from sfumato.model.temperature import VoxelSample, read_temperature, scaled_case
from sfumato.recipe.recipe import parse_recipe
from sfumato.structures import TARGET_KINDS, Structures
from sfumato.study.run import complete_run, evaluate_run
from tiny_cases import tiny_recipe, write_cases, write_rated_cases


def run(folder, method, axes=2, **changes):
    data = open_dataset(write_cases(folder / "data", axes=axes))
    content = tiny_recipe(axes) | {"method": method, "epochs": 6} | changes
    # Fast enough to learn something: of an untrained network, guessing is the best temperature.
    content["optimizer"]["learning_rate"] = 0.02
    return complete_run(parse_recipe(content, source="test"), data, folder / "run"), data


def scaled(probs, temperature):
    """``p ** (1 / T)``, made to sum to 1 over the first axis."""
    powers = np.maximum(probs.astype(np.float64), np.finfo(np.float32).tiny) ** (1 / temperature)
    return powers / powers.sum(0)


def nll(probs, labels):
    return -np.log(np.take_along_axis(probs, labels[None], 0)).mean()


@pytest.mark.parametrize("axes", [2, 3])
def test_temperature_is_the_minimum_that_scipy_finds_on_the_validation_cases(tmp_path, axes):
    folder, data = run(tmp_path, "ce", axes)
    names = read_splits(folder.path / "splits.json").fold(0).val
    module = load(folder.path)
    cases = [load_case(files, data) for files in data.cases if files.name in names]
    probs = np.concatenate([module.predict(case).soft.flatten(1).numpy() for case in cases], axis=1)
    labels = np.concatenate([case.labels.flatten().numpy() for case in cases])
    best = minimize_scalar(
        lambda log: nll(scaled(probs, np.exp(log)), labels), bounds=(-4, 4), method="bounded"
    )
    found = read_temperature(folder.path / "temperature.json")
    assert found.temperature == pytest.approx(np.exp(best.x), rel=1e-3)
    assert 0.02 < found.temperature < 50
    assert found.nll == pytest.approx(nll(probs, labels), rel=1e-5)
    assert found.nll_scaled == pytest.approx(best.fun, rel=1e-5)
    assert found.nll_scaled < found.nll
    assert found.cases == names
    assert found.voxels == labels.size


def test_twin_has_the_same_decisions_and_its_own_calibration(tmp_path):
    folder, _ = run(tmp_path, "svls", axes=3)
    rows = read_rows(folder.path / "metrics.csv")
    plain = {(row.case, row.structure, row.metric): row for row in rows if row.method == "svls"}
    scaled_rows = {(row.case, row.structure, row.metric): row for row in rows if row.method == "svls+T"}
    assert plain.keys() == scaled_rows.keys()
    assert {row.run for row in scaled_rows.values()} == {"svls-seed0-fold0+T"}
    for key, row in scaled_rows.items():
        if METRICS[key[2]].of_decisions:
            assert (row.value, row.status) == (plain[key].value, plain[key].status)
        else:
            assert METRICS[key[2]].needs in ("maps", "probabilities")
            assert row.value != plain[key].value
    temperature = read_temperature(folder.path / "temperature.json").temperature
    case = rows[0].case
    soft = np.moveaxis(
        nibabel.load(folder.path / "predictions" / f"{case}_soft.nii.gz").get_fdata(), -1, 0
    ).astype(np.float32)
    labels = np.asarray(nibabel.load(tmp_path / "data" / "labelsTr" / f"{case}.nii.gz").dataobj)
    labels = labels.astype(np.int64)
    probs = scaled(soft, temperature)
    assert np.array_equal(probs.argmax(0), soft.argmax(0))
    onehot = np.arange(3)[:, None, None, None] == labels
    assert scaled_rows[case, "all", "nll"].value == pytest.approx(nll(probs, labels), rel=1e-4)
    assert scaled_rows[case, "all", "brier"].value == pytest.approx(
        ((probs - onehot) ** 2).sum(0).mean(), rel=1e-4
    )
    mse = ((probs[1] - onehot[1]) ** 2).mean()
    assert scaled_rows[case, "part1", "mse"].value == pytest.approx(mse, rel=1e-4)


def test_reliability_of_the_twin_is_a_diagram_of_its_own(tmp_path):
    folder, _ = run(tmp_path, "ce")
    points = [p for p in read_points(folder.path / "metrics.csv") if p.diagram == "reliability"]
    plain, scaled = ([p for p in points if p.run.endswith("+T") == ends] for ends in (False, True))
    for name in ("all", "foreground", "boundary"):
        counts = [sum(p.count for p in several if p.series == name) for several in (plain, scaled)]
        assert counts[0] == counts[1] > 0
    assert [repr((p.x, p.y)) for p in plain] != [repr((p.x, p.y)) for p in scaled]


def region_maps(module, case):
    soft = module.predict(case).soft.double()
    return ((soft + 1) / 2 if module.method.activation == "tanh" else soft).flatten(1).numpy()


def joint(maps, temperature):
    """Odds of each map to the power 1 / T, beside 1 for the background, made to sum to 1."""
    inside = np.clip(maps, 1e-6, 1 - 1e-6)
    odds = (inside / (1 - inside)) ** (1 / temperature)
    return np.concatenate([np.ones_like(odds[:1]), odds]) / (1 + odds.sum(0))


@pytest.mark.parametrize("method", ["singr", "softseg", "soft-sig-wing"])
def test_regressed_maps_have_one_temperature_for_the_logits_of_all_classes(tmp_path, method):
    folder, data = run(tmp_path, method)
    module, names = load(folder.path), read_splits(folder.path / "splits.json").fold(0).val
    cases = [load_case(files, data) for files in data.cases if files.name in names]
    maps = np.concatenate([region_maps(module, case) for case in cases], axis=1)
    labels = np.concatenate([case.labels.flatten().numpy() for case in cases])
    best = minimize_scalar(
        lambda log: nll(joint(maps, np.exp(log)), labels), bounds=(-4, 4), method="bounded"
    )
    found = read_temperature(folder.path / "temperature.json")
    assert found.temperature == pytest.approx(np.exp(best.x), rel=2e-3)
    assert found.nll == pytest.approx(nll(joint(maps, 1.0), labels), rel=1e-4)
    assert found.nll_scaled == pytest.approx(best.fun, rel=1e-4)
    rows = read_rows(folder.path / "metrics.csv")
    case = next(each for each in data.cases if each.name == rows[0].case)
    case = load_case(case, data)
    probs = joint(region_maps(module, case), found.temperature)
    (row,) = [r for r in rows if (r.method, r.metric) == (f"{method}+T", "nll")]
    assert row.value == pytest.approx(nll(probs, case.labels.flatten().numpy()), rel=1e-4)
    for index, name in enumerate(("part1", "part2")):
        mse = ((probs[index + 1] - (case.labels == index + 1).flatten().numpy()) ** 2).mean()
        (row,) = [r for r in rows if (r.method, r.structure, r.metric) == (f"{method}+T", name, "mse")]
        assert row.value == pytest.approx(mse, rel=1e-4)
    decided = {
        variant: {(r.structure, r.metric): repr(r.value) for r in rows if r.method == method + variant}
        for variant in ("", "+T")
    }
    for key in decided[""]:
        if METRICS[key[1]].of_decisions:
            assert decided[""][key] == decided["+T"][key]


def model(kind, regions=None):
    structures = Structures.numbered(3, regions)
    return SimpleNamespace(method=SimpleNamespace(kind=TARGET_KINDS[kind]), structures=structures)


@pytest.mark.parametrize("kind", ["regions", "signed"])
def test_maps_of_overlapping_regions_are_scaled_each_by_itself(kind):
    soft = torch.tensor([[0.0, 0.25, 0.5, 1.0]]) if kind == "regions" else torch.tensor([[-1.0, -0.5, 0, 1]])
    warm = scaled_case(model(kind, {"whole": (1, 2)}), soft, 2.0)
    odds = 3**-0.5
    far = 1 / (1 + 999999**0.5)
    np.testing.assert_allclose(warm[0].numpy(), [far, odds / (1 + odds), 0.5, 1 - far], atol=1e-6)
    assert warm.dtype == soft.dtype


def test_scaled_maps_of_classes_that_exclude_each_other_are_a_distribution_that_decides_alike():
    maps = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    for temperature in (0.3, 1.0, 4.0):
        probs = scaled_case(model("regions"), maps, temperature)
        assert probs.shape == (4, 4, 5, 6)
        torch.testing.assert_close(probs.sum(0), torch.ones(4, 5, 6))
        expected = torch.where(maps.amax(0) > 0.5, maps.argmax(0) + 1, 0)
        assert torch.equal(probs.argmax(0), expected)


def test_stored_temperature_is_used_again_and_a_damaged_one_named(tmp_path):
    folder, data = run(tmp_path, "ce")
    path = folder.path / "temperature.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": 50.0}))
    rows = evaluate_run(folder, data)
    (nearly_even,) = {row.value for row in rows if (row.method, row.metric) == ("ce+T", "nll")}
    assert nearly_even == pytest.approx(np.log(3), abs=0.05)
    path.write_text("{}")
    with pytest.raises(FileFormatError, match=r"temperature\.json is damaged"):
        evaluate_run(folder, data)


def test_sample_keeps_every_voxel_that_fits_and_no_more_than_it_may():
    generator = torch.Generator().manual_seed(1)
    cases = {
        f"case{n}": (torch.rand(2, 5, n, generator=generator), torch.full((5, n), n)) for n in (3, 40, 200)
    }

    def sampled(names, most):
        sample = VoxelSample(most=most)
        for name in names:
            sample.update(name, *cases[name])
        return sample.batch

    probs, labels = sampled(cases, most=5 * 243)
    assert torch.equal(probs, torch.cat([each[0].flatten(1) for each in cases.values()], dim=1))
    assert torch.equal(labels, torch.cat([each[1].flatten() for each in cases.values()]))
    probs, labels = sampled(cases, most=400)
    assert probs.shape == (2, 400)
    # Each case has its share: 200 of 243 columns, give or take four standard deviations.
    assert abs((labels == 200).sum() / 400 - 200 / 243) < 0.08
    again, _ = sampled(reversed(cases), most=400)
    assert torch.equal(probs[0].sort().values, again[0].sort().values)
    for value, label in zip(probs.T, labels, strict=True):
        offered = cases[f"case{int(label)}"][0].flatten(1).T
        assert (offered == value).all(1).any()


def test_cases_of_one_size_are_sampled_at_different_voxels():
    places = torch.arange(100.0).repeat(2, 1)
    sample = VoxelSample(most=100)
    for label, name in enumerate(("first", "second")):
        sample.update(name, places, torch.full((100,), label))
    probs, labels = sample.batch
    first, second = (set(probs[0, labels == label].tolist()) for label in (0, 1))
    assert 30 < len(first) < 70
    assert first != second


def test_cases_in_pieces_give_the_same_as_in_one(monkeypatch):
    probs = torch.rand(3, 7, 11, generator=torch.Generator().manual_seed(2)).softmax(0)
    labels = probs.argmax(0)
    whole = scaled_case(model("classes"), probs, 2.5)
    np.testing.assert_allclose(whole.numpy(), scaled(probs.numpy(), 2.5), rtol=1e-5)
    one = VoxelSample(most=30)
    one.update("a", probs, labels)
    monkeypatch.setattr("sfumato.model.temperature._PIECE", 10)
    assert torch.equal(scaled_case(model("classes"), probs, 2.5), whole)
    assert torch.equal(scaled_case(model("classes"), probs.mT, 2.5).mT, whole)
    many = VoxelSample(most=30)
    many.update("a", probs, labels)
    assert all(torch.equal(*pair) for pair in zip(one.batch, many.batch, strict=True))


def test_nothing_to_fit_on_is_an_error():
    with pytest.raises(DataError, match="no labelled validation voxel"):
        VoxelSample().batch  # noqa: B018 - the property raises


def test_temperature_is_fitted_on_the_consensus_also_where_one_rater_trains(tmp_path):
    data = open_dataset(write_rated_cases(tmp_path / "data", axes=2))
    content = tiny_recipe(2) | {"method": "ce", "epochs": 1, "raters": "mask_rater3"}
    folder = complete_run(parse_recipe(content, source="test"), data, tmp_path / "run")
    found, module = read_temperature(folder.path / "temperature.json"), load(folder.path)
    cases = [load_case(files, data) for files in data.cases if files.name in found.cases]
    probs = np.concatenate([module.predict(case).soft.flatten(1).numpy() for case in cases], axis=1)
    consensus, third = (
        np.concatenate([pick(case).flatten().numpy() for case in cases])
        for pick in (lambda case: case.labels, lambda case: case.labels_per_rater[2])
    )
    assert found.nll == pytest.approx(nll(probs, consensus), rel=1e-5)
    assert found.nll != pytest.approx(nll(probs, third), rel=1e-3)
