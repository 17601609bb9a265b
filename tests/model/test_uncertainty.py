"""Uncertainty is that of the definition, streamed; each kind samples what it says; files fit the input."""

import dataclasses
import json
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy

from sfumato.data import load_case, open_dataset
from sfumato.errors import CheckpointError, InputError, OutputExistsError, UnknownNameError, ValueRangeError
from sfumato.model import Model, load
from sfumato.model.uncertainty import (
    SampleMean,
    Sampling,
    predict_uncertain,
    predict_with_uncertainty,
    require_sampling,
)
from sfumato.recipe.recipe import parse_recipe
from tiny_cases import slice_recipe, store_checkpoint, tiny_recipe, tiny_task, write_cases

REGIONS = {"whole": [1, 2], "core": [2]}


def untrained(method="ce", axes=3, *, seed=0, regions=None, dropout=0.3, flip_axes=None, channels=1):
    """A network with random weights: enough to be uncertain."""
    content = tiny_recipe(axes) | {"method": method, "seed": seed}
    content["network"]["options"]["dropout"] = dropout
    if flip_axes is not None:
        content["augment"]["flip_axes"] = flip_axes
    torch.manual_seed(seed)
    task = tiny_task("part1", "part2", channels=channels, regions=regions)
    return Model(parse_recipe(content, source="test"), task)


@pytest.fixture(scope="module", params=[2, 3])
def data(request, tmp_path_factory):
    return open_dataset(write_cases(tmp_path_factory.mktemp("data"), axes=request.param, count=3))


def axes_of(data):
    return len(load_case(data.cases[0], data).spacing)


def distributions(softs, module):
    """Every sample as class probabilities by the slow way: (samples, K, *S)."""
    if module.method.kind.joint:
        return np.stack(softs)
    maps = [(soft + 1) / 2 if module.method.activation == "tanh" else soft for soft in softs]
    sums = [each.sum(0).clip(1) for each in maps]
    return np.stack(
        [
            np.concatenate([(1 - each.sum(0)).clip(0)[None], each / s])
            for each, s in zip(maps, sums, strict=True)
        ]
    )


@pytest.mark.parametrize("method", ["ce", "softseg", "singr"])
def test_entropy_and_information_are_those_that_scipy_gives(data, method):
    modules = [untrained(method, axes_of(data), seed=seed) for seed in (1, 2, 3)]
    case = load_case(data.cases[1], data)
    softs = [module.predict(case).soft.numpy().astype(np.float64) for module in modules]
    found = predict_uncertain(modules, case, Sampling("ensemble"))
    probs = distributions(softs, modules[0])
    total = scipy_entropy(probs.mean(0), axis=0)
    information = total - scipy_entropy(probs, axis=1).mean(0)
    assert found.samples == 3
    np.testing.assert_allclose(found.prediction.soft.numpy(), np.mean(softs, 0), atol=1e-6)
    np.testing.assert_allclose(found.entropy.numpy(), total, atol=1e-5)
    np.testing.assert_allclose(found.mutual_information.numpy(), information, atol=1e-5)
    assert found.entropy.shape == found.mutual_information.shape == case.shape
    assert 0 < found.entropy.max() <= np.log(3) + 1e-6
    assert found.mutual_information.min() >= 0
    assert found.mutual_information.max() > 1e-4


def test_regions_that_overlap_sum_the_entropy_of_each_against_the_rest():
    module = untrained("hard-sig-dice", regions=REGIONS)
    mean = SampleMean(module)
    # The two samples of the first region agree on 0.2, those of the second contradict each other.
    for second in (0.0, 1.0):
        mean.update(torch.tensor([0.2, second]).reshape(2, 1, 1))
    _, total, information = mean.compute()
    assert total.item() == pytest.approx(scipy_entropy([0.2, 0.8]) + np.log(2))
    assert information.item() == pytest.approx(np.log(2))


def test_signed_regions_that_overlap_are_read_as_halves():
    mean = SampleMean(untrained("singr", regions=REGIONS))
    mean.update(torch.tensor([0.0, -1.0]).reshape(2, 1, 1))
    soft, total, information = mean.compute()
    assert soft.flatten().tolist() == [0.0, -1.0]
    assert total.item() == pytest.approx(np.log(2))
    assert information.item() == 0


def test_samples_that_agree_have_no_information_and_are_not_changed():
    mean, soft = SampleMean(untrained()), torch.rand(3, 4, 5, dtype=torch.float64).softmax(0)
    before = soft.clone()
    for _ in range(7):
        mean.update(soft)
    averaged, total, information = mean.compute()
    assert torch.equal(soft, before)
    torch.testing.assert_close(averaged, before.float())
    assert total.min() > 0
    assert information.max() < 1e-6
    with pytest.raises(InputError, match="there is no sample"):
        SampleMean(untrained()).compute()


def test_flips_average_every_combination_of_the_axes_that_training_flipped(data):
    axes = axes_of(data)
    module = untrained(axes=axes, flip_axes=[0, axes - 1])
    case = load_case(data.cases[0], data)
    expected = []
    for flips in ([], [0], [axes - 1], [0, axes - 1]):
        image = case.image.flip([axis + 1 for axis in flips])
        # Preprocessing commutes with flips here: the recipe neither resamples nor crops.
        flipped = type(case)(**{**vars(case), "image": image, "labels": None})
        expected.append(module.predict(flipped).soft.flip([axis + 1 for axis in flips]))
    found = predict_uncertain([module], case, Sampling("tta"))
    assert found.samples == 4
    torch.testing.assert_close(found.prediction.soft, torch.stack(expected).mean(0), atol=1e-5, rtol=1e-5)
    assert found.mutual_information.max() > 0


def test_dropout_depends_on_seed_and_case_alone(data):
    module = untrained(axes=axes_of(data))
    first, second = (load_case(files, data) for files in data.cases[:2])
    state = torch.get_rng_state()
    found = predict_uncertain([module], first, Sampling("mcdropout", samples=3, seed=4))
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(each.training for each in module.network.modules())
    predict_uncertain([module], second, Sampling("mcdropout", samples=2, seed=4))
    torch.rand(5)
    again = predict_uncertain([module], first, Sampling("mcdropout", samples=3, seed=4))
    assert torch.equal(found.prediction.soft, again.prediction.soft)
    assert torch.equal(found.mutual_information, again.mutual_information)
    other = predict_uncertain([module], first, Sampling("mcdropout", samples=3, seed=5))
    assert not torch.equal(found.prediction.soft, other.prediction.soft)
    assert found.mutual_information.max() > 1e-4
    # Dropout is off again: a plain prediction is as it was.
    assert torch.equal(module.predict(first).soft, module.predict(first).soft)


def test_ensemble_is_decoded_at_the_mean_of_the_thresholds(data):
    modules = [untrained("softseg", axes_of(data), seed=seed) for seed in (1, 2)]
    modules[0].threshold, modules[1].threshold = 0.2, 0.5
    case = load_case(data.cases[0], data)
    found = predict_uncertain(modules, case, Sampling("ensemble")).prediction
    largest, channel = found.soft.max(0)
    assert torch.equal(found.labels, torch.where(largest > 0.35, channel + 1, 0))


def test_what_cannot_be_sampled_is_refused():
    plain = untrained()
    with pytest.raises(InputError, match="ensemble takes two or more checkpoints, found 1"):
        require_sampling([plain], Sampling("ensemble"))
    with pytest.raises(InputError, match="tta takes exactly one checkpoint, found 2"):
        require_sampling([plain, plain], Sampling("tta"))
    with pytest.raises(InputError, match="flip_axes is empty"):
        require_sampling([untrained(flip_axes=[])], Sampling("tta"))
    with pytest.raises(InputError, match="'unet' was trained without: set a dropout above 0"):
        require_sampling([untrained(dropout=0.0)], Sampling("mcdropout"))
    with pytest.raises(CheckpointError, match="method of the first is ce, of number 2 svls"):
        require_sampling([plain, untrained("svls")], Sampling("ensemble"))
    with pytest.raises(CheckpointError, match="number of channels of the first is 1, of number 2 2"):
        require_sampling([plain, untrained(channels=2)], Sampling("ensemble"))
    with pytest.raises(UnknownNameError, match="Did you mean 'ensemble'"):
        Sampling("ensembel")
    with pytest.raises(ValueRangeError, match="samples is 1"):
        Sampling("mcdropout", samples=1)


def test_files_lie_on_the_inputs_grid_and_say_what_they_are(data, tmp_path):
    axes = axes_of(data)
    paths = [store_checkpoint(untrained(axes=axes, seed=seed), tmp_path / f"{seed}.ckpt") for seed in (1, 2)]
    out = tmp_path / "out"
    sampling = Sampling("ensemble")
    (hard,) = predict_with_uncertainty(paths, data, out, sampling=sampling, soft="float32", names=["case1"])
    assert sorted(path.name for path in out.iterdir()) == [
        "case1.nii.gz",
        "case1_soft.nii.gz",
        "case1_uncertainty-ensemble.nii.gz",
        "case1_uncertainty-ensemble_mutual-information.nii.gz",
        "prediction.json",
    ]
    found = predict_uncertain([load(path) for path in paths], load_case(data.cases[1], data), sampling)
    source = nibabel.load(data.cases[1].images[0])
    for ending, values in (("", found.entropy), ("_mutual-information", found.mutual_information)):
        image = nibabel.load(out / f"case1_uncertainty-ensemble{ending}.nii.gz")
        assert image.get_data_dtype() == np.float32
        np.testing.assert_array_equal(image.affine, source.affine)
        np.testing.assert_allclose(image.get_fdata().reshape(values.shape), values.numpy(), rtol=1e-6)
    soft = nibabel.load(out / "case1_soft.nii.gz").get_fdata()
    labels = np.asarray(nibabel.load(hard).dataobj)
    assert np.array_equal(soft.argmax(-1).reshape(labels.shape), labels)
    described = json.loads((out / "prediction.json").read_text())
    assert (described["method"], described["run"], described["seed"]) == ("ce+ensemble", "ce+ensemble", None)
    assert described["uncertainty"]["members"] == ["ce-seed1-fold0", "ce-seed2-fold0"]
    with pytest.raises(OutputExistsError, match="case1"):
        predict_with_uncertainty(paths, data, out, sampling=sampling)
    assert not (out / "case0.nii.gz").exists()


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_flips_of_a_network_of_slices_are_flips_within_the_slice(tmp_path, slice_axis):
    volumes = open_dataset(write_cases(tmp_path, count=1))
    case = load_case(volumes.cases[0], volumes)
    flat = untrained("softseg", axes=2, flip_axes=[1])
    content = slice_recipe(slice_axis) | {
        "method": "softseg",
        "augment": dataclasses.asdict(flat.recipe.augment),
    }
    content["network"] = flat.recipe.network.model_dump()
    module = Model(parse_recipe(content, source="test"), flat.task)
    module.network.load_state_dict(flat.network.state_dict())
    found = predict_uncertain([module], case, Sampling("tta"))
    # The slice's second axis is the last of the volume's that is not cut through.
    flipped = 1 if slice_axis == 2 else 2
    image = torch.flip(case.image, [flipped + 1])
    mirrored = module.predict(replace(case, image=image)).soft.flip([flipped + 1])
    expected = (module.predict(case).soft + mirrored) / 2
    torch.testing.assert_close(found.prediction.soft, expected)
    assert found.samples == 2
    assert found.entropy.shape == case.shape


def test_dropout_of_a_network_of_slices_repeats_and_differs_per_sample(tmp_path):
    volumes = open_dataset(write_cases(tmp_path, count=1))
    case = load_case(volumes.cases[0], volumes)
    flat = untrained("ce", axes=2)
    content = slice_recipe(0) | {"method": "ce", "network": flat.recipe.network.model_dump()}
    module = Model(parse_recipe(content, source="test"), flat.task)
    first, second = (predict_uncertain([module], case, Sampling("mcdropout", samples=3)) for _ in range(2))
    assert torch.equal(first.prediction.soft, second.prediction.soft)
    assert first.mutual_information.max() > 0
