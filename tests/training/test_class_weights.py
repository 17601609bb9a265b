"""Training on a data set's own class weights: the target is what is stored, moved but never rounded."""

import itertools
import logging

import numpy as np
import pytest
import torch

from sfumato.data import load_case, open_dataset
from sfumato.errors import DataError
from sfumato.labels import one_hot, svls
from sfumato.recipe.dataset import recipe_dataset
from sfumato.recipe.recipe import parse_recipe
from sfumato.structures import Structures
from sfumato.training.cases import prepare_case, prepare_cases, prepare_training_case
from sfumato.training.patches import Patches
from tiny_cases import tiny_recipe, write_rated_cases
from tiny_data import write_nifti
from weight_cases import write_weights

CLASSES = ("ce", "dice-ce", "focal", "nacl", "moh")
REGIONS = ("softseg", "soft-sig-wing", "soft-relu-dice", "dice-bce")
STILL = {"rotation_deg": 0.0, "scale": 0.0, "translation_fraction": 0.0, "flip_axes": []}


def recipe(method, *, axes=3, **changes):
    content = tiny_recipe(axes) | {"method": method}
    content["preprocess"] |= changes.pop("preprocess", {})
    content["augment"] |= changes.pop("augment", {})
    content["patch"] |= changes.pop("patch", {})
    return parse_recipe(content | changes, source="test")


def linear(array, old, new):
    """Resample ``(*S)`` linearly about its centre, one axis after the other."""
    for axis, (step, other) in enumerate(zip(old, new, strict=True)):
        side = array.shape[axis]
        count = round(side * step / other)
        places = (np.arange(count) - (count - 1) / 2) * other / step + (side - 1) / 2
        array = np.apply_along_axis(lambda row, p=places: np.interp(p, np.arange(len(row)), row), axis, array)
    return array


@pytest.mark.parametrize(("shape", "classes"), [((13, 16, 11), 3), ((13, 16), 2)])
def test_the_target_is_the_stored_map_to_the_bit(tmp_path, shape, classes):
    root, answers = write_weights(tmp_path, count=1, classes=classes, shape=shape)
    data = open_dataset(root)
    truth = answers["sub-00"]
    assert ((truth.soft > 0.1) & (truth.soft < 0.9)).any()
    for method in (*CLASSES, *REGIONS):
        found = prepare_case(recipe(method, axes=len(shape)), data, data.cases[0])
        expected = truth.soft if method in CLASSES else truth.soft[1:]
        assert torch.equal(found.target, expected), method
        assert torch.equal(found.labels, truth.soft.argmax(0))
        assert found.target_from_soft
        assert found.labels_from_soft


def test_resampling_is_linear_and_rounds_nothing(tmp_path):
    root, answers = write_weights(tmp_path, count=1, classes=3)
    data, soft, new = open_dataset(root), answers["sub-00"].soft.double().numpy(), (0.7, 1.3, 1.5)
    expected = np.stack([linear(channel, (1.0, 0.8, 2.0), new) for channel in soft])
    for method, wanted in (("ce", expected), ("softseg", expected[1:])):
        prepared = prepare_case(recipe(method, preprocess={"spacing": list(new)}), data, data.cases[0])
        np.testing.assert_allclose(prepared.target.numpy(), wanted, atol=1e-5)


def test_what_a_crop_adds_is_background(tmp_path):
    root, answers = write_weights(tmp_path, count=1, classes=3)
    data = open_dataset(root)
    found = prepare_case(recipe("ce", preprocess={"crop_size": [17, 16, 11]}), data, data.cases[0])
    assert torch.equal(found.target[:, 2:15], answers["sub-00"].soft)
    assert found.target[0, :2].eq(1).all()
    assert found.target[1:, :2].eq(0).all()


def test_regions_of_a_recipe_weigh_what_their_classes_weigh_together(tmp_path):
    root, answers = write_weights(tmp_path, count=1, classes=3)
    chosen = recipe("softseg", regions={"whole": [1, 2], "core": [1]})
    data = recipe_dataset(chosen, open_dataset(root))
    soft = answers["sub-00"].soft
    found = prepare_case(chosen, data, data.cases[0]).target
    torch.testing.assert_close(found, torch.stack([soft[1] + soft[2], soft[1]]))


def patch_of(root, chosen, *, epoch=0):
    data = open_dataset(root)
    cases = [prepare_training_case(chosen, data, files) for files in data.cases]
    patches = Patches(cases, chosen, structures=Structures(data.label_names))
    return patches[epoch, 0]["target"]


@pytest.mark.parametrize("method", ["ce", "softseg"])
def test_a_patch_holds_stored_weights_to_the_bit_also_where_labels_wait(tmp_path, method):
    root, answers = write_weights(tmp_path, count=1)
    soft = answers["sub-00"].soft[0 if method == "ce" else 1 :]
    whole = {"size": [16, 16, 12], "foreground": 0.0}
    still = recipe(method, when="after", augment=STILL, patch=whole)
    found = patch_of(root, still)
    assert torch.equal(found[:, 1:14, :, :11], soft)
    flips = recipe(method, when="after", augment=STILL | {"flip_axes": [0, 1, 2]}, patch=whole)
    axes = [chosen for count in range(4) for chosen in itertools.combinations((1, 2, 3), count)]
    for epoch in range(3):
        moved = patch_of(root, flips, epoch=epoch)
        assert any(torch.equal(moved.flip(chosen), found) for chosen in axes)


def test_augmentation_keeps_weights_soft_and_only_the_ablation_rounds_them(tmp_path):
    root, _ = write_weights(tmp_path, count=1)
    turned = {"probability": 1.0, "rotation_deg": 30.0}
    classes = patch_of(root, recipe("ce", augment=turned))
    torch.testing.assert_close(classes.sum(0), torch.ones(classes.shape[1:]))
    soft = patch_of(root, recipe("softseg", augment=turned))
    torch.testing.assert_close(soft[0], classes[1])
    assert ((soft > 0.2) & (soft < 0.8)).any()


def test_the_hard_ablation_says_that_it_rounds(tmp_path, caplog):
    root, _ = write_weights(tmp_path, count=1)
    data, chosen = open_dataset(root), recipe("hard-sig-dice")
    with caplog.at_level(logging.INFO, logger="sfumato.training"):
        prepare_cases(chosen, data, data.names, prepare=prepare_case, cache=tmp_path, title="cases")
    assert "the data set's own class weights, rounded after they are moved" in caplog.text


def test_the_hard_ablation_rounds_after_the_stored_map_was_resampled(tmp_path):
    root, _ = write_weights(tmp_path, count=1)
    data, spacing = open_dataset(root), {"spacing": [0.7, 1.3, 1.5]}
    soft, hard = (
        prepare_case(recipe(method, preprocess=spacing), data, data.cases[0]).target
        for method in ("softseg", "hard-relu-wing")
    )
    assert torch.equal(hard, (soft >= 0.5).float())


def test_methods_of_hard_masks_take_the_class_that_weighs_most_and_say_so(tmp_path, caplog):
    root, answers = write_weights(tmp_path, classes=3)
    data, chosen = open_dataset(root), recipe("svls", when="before")
    with caplog.at_level(logging.INFO, logger="sfumato.training"):
        cases = prepare_cases(
            chosen, data, data.names, prepare=prepare_training_case, cache=tmp_path, title="training cases"
        )
    for case in cases:
        labels = answers[case.name].soft.argmax(0)
        assert torch.equal(case.labels, labels)
        assert torch.equal(case.target, svls(labels, num_classes=3))
        assert not case.target_from_soft
    (said,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert said == (
        "2 of 2 training cases have class weights and no mask, but svls makes its label of a hard mask: "
        "it takes the class that weighs most"
    )


def test_training_on_weights_is_said_without_a_warning_and_survives_the_disk(tmp_path, caplog):
    root, answers = write_weights(tmp_path)
    data, chosen = open_dataset(root), recipe("ce", cache="disk")
    with caplog.at_level(logging.INFO, logger="sfumato.training"):
        cases = prepare_cases(
            chosen, data, data.names, prepare=prepare_training_case, cache=tmp_path / "c", title="cases"
        )
    assert "2 of 2 cases: the target is the data set's own class weights" in caplog.text
    assert "rounded" not in caplog.text
    assert all(each.levelno == logging.INFO for each in caplog.records)
    assert all(torch.equal(case.target, answers[case.name].soft) for case in cases)
    patches = Patches(cases, chosen, structures=Structures.numbered(2))
    assert patches[0, 0]["target"].unique().numel() > 2


def test_beside_a_mask_only_moved_masks_take_the_weights(tmp_path, caplog):
    root, answers = write_weights(tmp_path, count=1, masks=True)
    data, truth = open_dataset(root), answers["sub-00"]
    labels = load_case(data.cases[0], data).labels
    assert not torch.equal(labels, truth.labels)
    for method in ("softseg", "soft-sig-wing"):
        assert torch.equal(prepare_case(recipe(method), data, data.cases[0]).target, truth.soft[1:])
    for method in ("ce", "moh"):
        found = prepare_case(recipe(method), data, data.cases[0])
        assert torch.equal(found.target, one_hot(labels, num_classes=2))
        assert torch.equal(found.labels, labels)
        assert not found.target_from_soft
        assert not found.labels_from_soft
    svls_target = prepare_case(recipe("svls"), data, data.cases[0]).target
    assert torch.equal(svls_target, svls(labels, num_classes=2))
    assert not caplog.records


@pytest.fixture
def rated(tmp_path):
    """Two cases with three raters each and, beside them, class weights that none of them drew."""
    folder = write_rated_cases(tmp_path / "data", count=2)
    lines = (folder / "manifest.csv").read_text().splitlines()
    written = [lines[0] + ",soft"]
    for line in lines[1:]:
        name = line.split(",")[0]
        weights = np.random.default_rng(0).dirichlet((1, 1, 1), (13, 16, 11)).astype(np.float32)
        write_nifti(folder / f"{name}_soft.nii.gz", weights, np.diag([1.0, 0.8, 2.0, 1.0]))
        written.append(f"{line},{name}_soft.nii.gz")
    (folder / "manifest.csv").write_text("\n".join(written) + "\n")
    return open_dataset(folder)


def test_single_raters_train_on_their_own_masks_not_on_the_weights(rated):
    case = load_case(rated.cases[0], rated)
    expected = [torch.stack([mask == label for label in (1, 2)]).float() for mask in case.labels_per_rater]
    found = prepare_training_case(recipe("softseg", raters="random"), rated, rated.cases[0])
    assert torch.equal(found.rater_targets, torch.stack(expected))
    alone = prepare_training_case(recipe("softseg", raters="mask_rater2"), rated, rated.cases[0])
    assert torch.equal(alone.target, expected[1])


def test_labels_of_all_raters_are_made_of_their_masks(rated):
    case = load_case(rated.cases[0], rated)
    each = torch.stack([one_hot(mask, num_classes=3) for mask in case.labels_per_rater])
    found = prepare_case(recipe("moh"), rated, rated.cases[0])
    torch.testing.assert_close(found.target, each.mean(0))
    assert torch.equal(prepare_case(recipe("softseg"), rated, rated.cases[0]).target, case.soft[1:])


def test_single_raters_are_asked_for_in_vain_where_there_are_weights_only(tmp_path):
    root, _ = write_weights(tmp_path, count=1)
    data = open_dataset(root)
    with pytest.raises(DataError, match="sub-00 has no raters' masks"):
        prepare_training_case(recipe("ce", raters="all"), data, data.cases[0])


def test_slices_carry_their_slice_of_the_weights(tmp_path):
    root, answers = write_weights(tmp_path, count=1)
    data = open_dataset(root)
    chosen = recipe("ce", axes=2, slice_axis=2, preprocess={"spacing": None})
    case = prepare_training_case(chosen, data, data.cases[0])
    cut = case.slice(2, 5)
    assert torch.equal(cut.target, answers["sub-00"].soft[..., 5])
    assert cut.target_from_soft


def test_on_a_gpu_weights_travel_with_the_patch(tmp_path, monkeypatch):
    monkeypatch.setattr("sfumato.training.patches.made_on", lambda device, recipe: True)
    root, _ = write_weights(tmp_path / "soft", count=1)
    other, _ = write_weights(tmp_path / "both", count=1, masks=True)
    chosen, cases = recipe("ce"), []
    for folder in (other, root):
        data = open_dataset(folder)
        cases.append(prepare_training_case(chosen, data, data.cases[0]))
    mixed = Patches(cases, chosen, structures=Structures.numbered(2), device="cuda")
    assert all(set(mixed[0, index]) == {"image", "target"} for index in range(2))
    hard = Patches(cases[:1], chosen, structures=Structures.numbered(2), device="cuda")
    assert "target" not in hard[0, 0]
