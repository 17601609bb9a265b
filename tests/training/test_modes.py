"""Raters, slices and regions: what a sample is, and that training on it can be broken off and repeated."""

import itertools
import json

import numpy as np
import pytest
import torch

from sfumato.data import Dataset, load_case, open_dataset
from sfumato.data.preprocess import Preprocessing
from sfumato.errors import DataError, ValueRangeError
from sfumato.labels import one_hot, svls
from sfumato.recipe.dataset import recipe_dataset
from sfumato.recipe.recipe import parse_recipe
from sfumato.structures import REGIONS, Structures, label_regions
from sfumato.training.callbacks import History
from sfumato.training.cases import prepare_case, prepare_cases, prepare_training_case
from sfumato.training.fit import fit
from sfumato.training.module import SegmentationModule
from sfumato.training.patches import Patches
from tiny_cases import slice_recipe, tiny_recipe, tiny_task, write_cases, write_rated_cases

STILL = {
    "flip_axes": [],
    "probability": 0.0,
    "rotation_deg": 0.0,
    "scale": 0.0,
    "translation_fraction": 0.0,
    "intensity_scale": 0.0,
    "intensity_shift": 0.0,
}
SHAPE = (13, 16, 11)


def recipe_of(content, **changes):
    return parse_recipe({**content, **changes}, source="test")


def whole(content):
    """Patches that are the whole image, padded, and not augmented."""
    axes = len(content["patch"]["size"])
    return content | {"augment": STILL, "patch": {"size": [16] * axes, "foreground": 0.0}}


def patches_of(recipe, data, tmp_path):
    data = recipe_dataset(recipe, data)
    cases = prepare_cases(
        recipe, data, data.names, prepare=prepare_training_case, cache=tmp_path / "cache", title="test cases"
    )
    return Patches(cases, recipe, structures=Structures(data.label_names, data.regions))


def padded(array, size=16):
    """``(C, *S)`` in the middle of a cube, as background."""
    result = torch.zeros(len(array), *[size] * (array.ndim - 1), dtype=array.dtype)
    result[0] = 1
    window = tuple(slice((size - side) // 2, (size - side) // 2 + side) for side in array.shape[1:])
    result[(slice(None), *window)] = array
    return result


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    return open_dataset(write_rated_cases(tmp_path_factory.mktemp("rated"), count=4))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    return open_dataset(write_cases(tmp_path_factory.mktemp("volumes"), count=4))


# What a sample is: raters


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_all_raters_are_samples_of_their_own(rated, tmp_path, moment, cache):
    recipe = recipe_of(whole(tiny_recipe()), method="ce", raters="all", when=moment, cache=cache)
    patches = patches_of(recipe, rated, tmp_path)
    assert len(patches) == 4 * 3
    for index, (case, rater) in enumerate(itertools.product(range(4), range(3))):
        masks = load_case(rated.cases[case], rated).labels_per_rater
        expected = padded(one_hot(masks[rater], num_classes=3))
        assert torch.equal(patches[(0, index)]["target"], expected)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_random_rater_is_drawn_per_sample_and_epoch(rated, tmp_path, moment):
    recipe = recipe_of(whole(tiny_recipe()), method="ce", raters="random", when=moment)
    patches = patches_of(recipe, rated, tmp_path)
    assert len(patches) == 4
    possible = [
        [padded(one_hot(mask, num_classes=3)) for mask in load_case(files, rated).labels_per_rater]
        for files in rated.cases
    ]
    drawn = []
    for epoch, index in itertools.product(range(25), range(4)):
        target = patches[(epoch, index)]["target"]
        fitting = [rater for rater, label in enumerate(possible[index]) if torch.equal(target, label)]
        assert len(fitting) == 1
        drawn += fitting
        assert torch.equal(patches[(epoch, index)]["target"], target)
    # 100 draws of three: a share of 1/3 has a standard deviation of 0.047.
    assert all(0.15 < drawn.count(rater) / 100 < 0.52 for rater in range(3))
    other = patches_of(recipe.replace(seed=1), rated, tmp_path)
    assert any(
        not torch.equal(patches[(0, index)]["target"], other[(0, index)]["target"]) for index in range(4)
    )


def test_one_rater_alone_trains_and_validates(rated, tmp_path):
    recipe = recipe_of(whole(tiny_recipe()), method="ce", raters="mask_rater2")
    patches = patches_of(recipe, rated, tmp_path)
    assert len(patches) == 4
    for index, files in enumerate(rated.cases):
        mask = load_case(files, rated).labels_per_rater[1]
        assert torch.equal(patches[(0, index)]["target"], padded(one_hot(mask, num_classes=3)))
        validation = prepare_case(recipe, rated, files)
        assert torch.equal(validation.labels, mask)
        assert torch.equal(validation.target, one_hot(mask, num_classes=3))
        assert validation.labels_per_rater is None


@pytest.mark.parametrize("raters", ["consensus", "all", "random"])
def test_several_raters_validate_on_their_consensus(rated, raters):
    recipe = recipe_of(tiny_recipe(), method="ce", raters=raters)
    case = prepare_case(recipe, rated, rated.cases[0])
    reference = load_case(rated.cases[0], rated).labels
    assert torch.equal(case.labels, reference)
    assert torch.equal(case.target, one_hot(reference, num_classes=3))


def test_consensus_leaves_all_raters_to_the_label(rated, tmp_path):
    content = whole(tiny_recipe())
    patches = patches_of(recipe_of(content, method="moh", raters="consensus"), rated, tmp_path)
    masks = load_case(rated.cases[0], rated).labels_per_rater
    expected = torch.stack([one_hot(mask, num_classes=3) for mask in masks]).mean(0)
    torch.testing.assert_close(patches[(0, 0)]["target"], padded(expected))


@pytest.mark.parametrize("method", ["softseg", "singr"])
def test_labels_made_before_augmentation_are_each_raters_own(rated, tmp_path, method):
    preprocess = tiny_recipe()["preprocess"] | {"spacing": [1.3, 0.8, 1.5]}
    content = whole(tiny_recipe()) | {"method": method, "preprocess": preprocess}
    found = patches_of(recipe_of(content, raters="all"), rated, tmp_path)
    for rater in range(3):
        alone = patches_of(recipe_of(content, raters=f"mask_rater{rater + 1}"), rated, tmp_path)
        for case in range(4):
            one, other = found[(0, 3 * case + rater)], alone[(0, case)]
            assert torch.equal(one["target"], other["target"])
            assert torch.equal(one["image"], other["image"])


def test_foreground_is_the_sampled_raters_own(rated, tmp_path):
    content = tiny_recipe() | {"augment": STILL, "patch": {"size": [4, 4, 4], "foreground": 1.0}}
    patches = patches_of(recipe_of(content, method="ce", raters="mask_rater3"), rated, tmp_path)
    for epoch, index in itertools.product(range(10), range(4)):
        # The centre voxel of the patch was drawn among the rater's own foreground, unless the rim was near.
        assert patches[(epoch, index)]["target"][1:].sum() > 0


# What a sample is: slices


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_every_slice_of_every_case_is_a_sample(volumes, tmp_path, axis, cache):
    recipe = recipe_of(whole(slice_recipe(axis)), method="ce", cache=cache)
    patches = patches_of(recipe, volumes, tmp_path)
    assert len(patches) == 4 * SHAPE[axis]
    index = 0
    for files in volumes.cases:
        case = Preprocessing(intensity="zscore").apply(load_case(files, volumes))
        for position in range(SHAPE[axis]):
            found = patches[(0, index)]
            labels = case.labels.select(axis, position)
            assert torch.equal(found["target"], padded(one_hot(labels, num_classes=3)))
            window = tuple(slice((16 - n) // 2, (16 - n) // 2 + n) for n in labels.shape)
            assert torch.equal(found["image"][(slice(None), *window)], case.image.select(axis + 1, position))
            index += 1


@pytest.mark.parametrize("moment", ["before", "after"])
def test_labels_of_slices_are_made_of_slices(volumes, tmp_path, moment):
    recipe = recipe_of(slice_recipe(0) | {"augment": STILL}, method="svls", when=moment)
    recipe = recipe.replace(patch={"size": [16, 12], "foreground": 0.0})
    case = load_case(volumes.cases[1], volumes)
    expected = torch.stack([svls(labels, num_classes=3) for labels in case.labels], dim=1)
    prepared = prepare_case(recipe, volumes, volumes.cases[1])
    torch.testing.assert_close(prepared.target, expected)
    patches = patches_of(recipe, volumes, tmp_path)
    sample = patches[(0, 13 + 5)]["target"][:, :, :11]
    torch.testing.assert_close(sample[:, 1:-1, 1:-1], expected[:, 5, 1:-1, 1:-1])


def test_masks_that_move_are_resampled_with_their_volume(volumes):
    content = slice_recipe(2)
    content["preprocess"] = content["preprocess"] | {"spacing": [1.0, 0.8, 1.1]}
    case = load_case(volumes.cases[0], volumes)
    prepared = prepare_case(recipe_of(content, method="softseg"), volumes, volumes.cases[0])
    weights = one_hot(case.labels, num_classes=3)[1:]
    expected = Preprocessing(spacing=(1.0, 0.8, 1.1)).apply_soft(weights, case, kind=REGIONS)
    torch.testing.assert_close(prepared.target, expected)
    between = (prepared.target > 0.01) & (prepared.target < 0.99)
    assert between.any(), "slices between two stored ones hold fractions"


def test_slices_and_raters_multiply(rated, tmp_path):
    recipe = recipe_of(whole(slice_recipe(1)), method="ce", raters="all")
    patches = patches_of(recipe, rated, tmp_path)
    assert len(patches) == 4 * 3 * SHAPE[1]
    masks = load_case(rated.cases[2], rated).labels_per_rater
    index = (2 * 3 + 1) * SHAPE[1] + 7
    expected = padded(one_hot(masks[1].select(1, 7), num_classes=3))
    assert torch.equal(patches[(0, index)]["target"], expected)


def network_of(content, method, **changes):
    task = tiny_task("a", "b")
    torch.manual_seed(0)
    return SegmentationModule(recipe_of(content, method=method, **changes), task).eval()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [1, 4])
@torch.inference_mode()
def test_a_volume_is_predicted_slice_by_slice(axis, batch_size):
    module = network_of(slice_recipe(axis), "softseg", batch_size=batch_size).model
    image = torch.randn(1, 13, 16, 11)
    logits = module.logits(image)
    assert logits.shape == (1, 2, 13, 16, 11)
    prediction = module.activated(logits)
    flat = network_of(tiny_recipe(axes=2), "softseg").model
    flat.network.load_state_dict(module.network.state_dict())
    for position in range(image.shape[axis + 1]):
        alone = flat.logits(image.select(axis + 1, position))
        torch.testing.assert_close(logits.select(axis + 2, position), alone, rtol=1e-4, atol=1e-5)
        expected = flat.activated(alone)
        found = prediction.select(axis + 1, position)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        # NormReLU's maximum is the slice's own.
        assert set(found.flatten(1).amax(1).tolist()) <= {0.0, 1.0}


@torch.inference_mode()
def test_validation_loss_of_slices_is_the_mean_over_them(monkeypatch):
    module = network_of(slice_recipe(1), "softseg")
    logged = {}
    monkeypatch.setattr(module, "log", lambda name, value, **_: logged.update({name: float(value)}))
    image, target = torch.randn(1, 13, 16, 11), torch.rand(2, 13, 16, 11)
    labels = torch.randint(0, 3, (13, 16, 11))
    module.validation_step({"image": image, "target": target, "labels": labels}, 0)
    logits = module.model.logits(image)
    losses = [module.loss(logits[:, :, :, j], target[None, :, :, j]) for j in range(image.shape[2])]
    assert logged["val_loss"] == pytest.approx(float(torch.stack(losses).mean()), rel=1e-5)


# Whole trainings

MODES = {
    "slices of random raters": (slice_recipe(2), {"method": "softseg", "raters": "random"}),
    "all raters from disk": (tiny_recipe(), {"method": "geols", "raters": "all", "cache": "disk"}),
    "slices with late labels": (slice_recipe(2), {"method": "svls", "cache": "disk"}),
    "regions": (tiny_recipe(), {"method": "singr", "regions": {"whole": [1, 2], "core": [2]}}),
}


def weights(run, name="last"):
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    for key in first:
        assert torch.equal(first[key], second[key]), key


class Killed(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("mode", MODES)
def test_a_broken_off_run_of_any_mode_resumes_to_the_same_bits(rated, tmp_path, monkeypatch, mode):
    content, changes = MODES[mode]
    recipe = recipe_of(content, **changes, epochs=2)
    fit(recipe, rated, tmp_path / "whole")
    write = History._write

    def breaks_off(self):
        write(self)
        if len(self.rows) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(History, "_write", breaks_off)
        with pytest.raises(Killed):
            fit(recipe, rated, tmp_path / "broken")
    assert not (tmp_path / "broken" / "finished.json").exists()
    torch.manual_seed(99)
    folder = fit(recipe, rated, tmp_path / "broken", resume=True)
    for name in ("last", "best"):
        assert_same_weights(weights(tmp_path / "whole", name), weights(folder.path, name))
    reports = [
        json.loads((tmp_path / run / "finished.json").read_text()) | {"seconds": 0}
        for run in ("whole", "broken")
    ]
    assert reports[0] == reports[1]


def test_worker_processes_do_not_change_which_raters_and_slices_train(rated, tmp_path):
    recipe = recipe_of(slice_recipe(2), method="ce", raters="random", epochs=1)
    for workers in (0, 2):
        fit(recipe.replace(workers=workers), rated, tmp_path / str(workers))
    assert_same_weights(weights(tmp_path / "0"), weights(tmp_path / "2"))


def test_regions_of_the_recipe_replace_the_data_sets_own(volumes, tmp_path):
    own = Dataset(**{**vars(volumes), "regions": {"each": (1,), "other": (2,)}})
    regions = {"whole": [1, 2], "core": [2], "rim": [1]}
    recipe = recipe_of(tiny_recipe(), method="singr", regions=regions, epochs=1)
    folder = fit(recipe, own, tmp_path / "run")
    content = torch.load(folder.best_checkpoint, weights_only=True)["sfumato"]
    assert content["task"]["regions"] == regions
    case = prepare_case(recipe, recipe_dataset(recipe, own), own.cases[0])
    masks = label_regions(case.labels, values=[(1, 2), (2,), (1,)])
    assert torch.equal(case.target > 0, masks)
    assert recipe_dataset(recipe.replace(regions=None), own).regions == own.regions


def test_the_log_says_that_counts_were_taken_in_proportion(volumes, tmp_path):
    split = tiny_recipe()["split"] | {"counts": [260, 26, 75]}
    folder = fit(recipe_of(tiny_recipe(), method="ce", split=split, epochs=1), volumes, tmp_path / "run")
    assert "counts [260, 26, 75] sum to 361, but" in (folder.path / "log.txt").read_text()
    names = json.loads((folder.path / "splits.json").read_text())["splits"][0]
    assert [len(names[part]) for part in ("train", "val", "test")] == [2, 1, 1]


# Recipes that do not fit the data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"raters": "mask_ratr2"}, r"unknown rater 'mask_ratr2'. Did you mean 'mask_rater2'\?"),
        ({"regions": {"whole": [1, 2], "far": [3]}}, r"region 'far' has label 3, but .* labels 0 background"),
        ({"patch": {"size": [8, 12], "foreground": 0}, "augment": STILL}, "3-D, .* slice_axis trains a 2-D"),
        ({"split": {"by": "centre"}}, "case case0 states no centre"),
    ],
)
def test_a_recipe_that_does_not_fit_the_data_is_refused_before_training(rated, tmp_path, changes, message):
    content = tiny_recipe()
    if "split" in changes:
        changes = {"split": content["split"] | changes["split"]}
    with pytest.raises(DataError, match=message):
        fit(recipe_of(content, **changes), rated, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_misfit_is_listed_at_once(rated):
    recipe = recipe_of(tiny_recipe(axes=2), raters="someone", regions={"far": [7]})
    with pytest.raises(DataError) as caught:
        recipe_dataset(recipe, rated)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("raters", ["all", "random", "anyone"])
def test_raters_where_there_is_one_mask_are_refused(volumes, raters):
    with pytest.raises(DataError, match=rf"raters is '{raters}', but .* has one mask per case"):
        recipe_dataset(recipe_of(tiny_recipe(), raters=raters), volumes)


def test_slices_of_pictures_are_refused(tmp_path):
    pictures = open_dataset(write_cases(tmp_path / "data", axes=2, count=2))
    with pytest.raises(DataError, match=r"are 2-D, but the recipe's slice_axis 1 cuts volumes"):
        recipe_dataset(recipe_of(slice_recipe(1)), pictures)


@pytest.mark.parametrize("raters", ["all", "random", "mask_rater1"])
def test_cases_without_the_raters_masks_are_all_listed(tmp_path, raters):
    data = open_dataset(write_rated_cases(tmp_path / "data", spared=("case1", "case4")))
    split = tiny_recipe()["split"] | {"fractions": [0.8, 0.2, 0.0]}
    recipe = recipe_of(tiny_recipe(), method="ce", raters=raters, split=split)
    with pytest.raises(DataError) as caught:
        prepare_cases(
            recipe,
            data,
            data.names,
            prepare=prepare_training_case,
            cache=tmp_path / "cache",
            title="cases",
        )
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["case1", "case4"]


def test_an_impossible_split_does_not_cost_an_existing_run(volumes, tmp_path):
    fit(recipe_of(tiny_recipe(), method="ce", epochs=1), volumes, tmp_path / "run")
    split = tiny_recipe()["split"] | {"folds": 5, "fold": 4}
    with pytest.raises(ValueRangeError, match="folds is 5"):
        fit(recipe_of(tiny_recipe(), split=split), volumes, tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "finished.json").exists()


# What lies beyond the image


def test_beyond_the_volume_the_image_goes_on_as_prediction_continues_it(tmp_path):
    data = open_dataset(write_cases(tmp_path / "data", channels=2, count=4))
    patches = patches_of(recipe_of(whole(tiny_recipe()), method="ce"), data, tmp_path)
    before = [(16 - side) // 2 for side in SHAPE]
    # What prediction's windows do; another continuation cost the demo ten points of Dice.
    sides = [(first, 16 - side - first) for first, side in zip(before, SHAPE, strict=True)]
    for index, files in enumerate(data.cases):
        prepared = Preprocessing(intensity="zscore").apply(load_case(files, data)).image
        expected = np.pad(prepared.numpy(), [(0, 0), *sides], mode="edge")
        np.testing.assert_array_equal(patches[(0, index)]["image"].numpy(), expected)
