"""The predictions that a training keeps of one validation slice: which slice, which epochs."""

import numpy as np
import pytest
import torch

from sfumato.data import open_dataset
from sfumato.data.splits import read_splits
from sfumato.errors import CheckpointError
from sfumato.model import Model
from sfumato.model.checkpoint import model_of
from sfumato.recipe.recipe import parse_recipe
from sfumato.training import snapshots
from sfumato.training.cases import PreparedCase, prepare_case
from sfumato.training.fit import fit
from sfumato.training.module import SegmentationModule
from sfumato.training.snapshots import FILE, is_kept, shown_slice
from tiny_cases import slice_recipe, tiny_task, write_cases


def kept(run):
    with np.load(run / FILE, allow_pickle=False) as content:
        return dict(content)


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def module_of(content, regions=None, **changes):
    return Model(parse_recipe({**content, **changes}, source="test"), tiny_task("a", "b", regions=regions))


def case_of(name, labels, spacing):
    image = torch.arange(labels.numel(), dtype=torch.float32).reshape(1, *labels.shape)
    return PreparedCase(name, image, labels, None, image, spacing)


def test_epochs_are_1_2_5_times_powers_of_ten():
    assert [epoch for epoch in range(1, 1001) if is_kept(epoch)] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]


def boxes():
    """Most foreground at 2 of axis 0 (classes 5, 5), at 4 of axis 1 (5, 3), at 1 of axis 2 (1, 8)."""
    labels = torch.zeros(4, 6, 5, dtype=torch.int64)
    labels[2, :, 1] = 2
    labels[:, 4, 1] = 2
    labels[2, 4, :] = 1
    return labels


def test_slice_of_a_volume_lies_across_the_coarsest_axis_where_most_foreground_is(content):
    empty = case_of("empty", torch.zeros(4, 6, 5, dtype=torch.int64), (1.0, 1.0, 1.0))
    for spacing, axis, number, structure in (
        ((1.0, 3.0, 2.0), 1, 4, 0),
        ((1.0, 1.0, 1.0), 2, 1, 1),
        ((2.0, 1.0, 0.5), 0, 2, 0),
    ):
        case = case_of("full", boxes(), spacing)
        found = shown_slice(module_of(content), [empty, case])
        assert (found.case, found.axis, found.number, found.structure) == ("full", axis, number, structure)
        assert torch.equal(found.reference, (boxes() == structure + 1).select(axis, number))
        assert torch.equal(found.cut(found.image[0]), case.image[0].select(axis, number))
        assert found.spacing == tuple(value for each, value in enumerate(spacing) if each != axis)


def test_network_of_slices_is_shown_the_one_slice_along_its_own_axis():
    case = case_of("full", boxes(), (1.0, 3.0, 2.0))
    found = shown_slice(module_of(slice_recipe(0)), [case])
    assert (found.axis, found.index, found.number, found.image.shape) == (0, 0, 2, (1, 1, 6, 5))
    assert torch.equal(found.cut(found.image[0]), case.image[0, 2])


def test_picture_is_its_own_slice_and_the_largest_region_is_shown(content_2d):
    labels = torch.zeros(4, 7, dtype=torch.int64)
    labels[1:3, 2:5] = 1
    labels[1, 2] = 2
    found = shown_slice(
        module_of(content_2d, {"core": (2,), "whole": (1, 2)}), [case_of("c", labels, (1.0, 2.0))]
    )
    assert (found.axis, found.structure, found.spacing) == (None, 1, (1.0, 2.0))
    assert torch.equal(found.reference, labels > 0)


def test_without_any_foreground_the_middle_slice_of_the_first_case_is_taken(content):
    cases = [case_of(name, torch.zeros(4, 6, 5, dtype=torch.int64), (1.0, 1.0, 2.0)) for name in "ab"]
    found = shown_slice(module_of(content), cases)
    assert (found.case, found.axis, found.number, found.structure) == ("a", 2, 2, 0)
    assert not found.reference.any()


@pytest.mark.parametrize(
    ("mode", "method"), [("volumes", "ce"), ("volumes", "singr"), ("slices", "softseg"), ("pictures", "ce")]
)
def test_last_prediction_is_what_the_last_checkpoint_says_of_the_whole_case(
    content, content_2d, tmp_path, mode, method
):
    """The checkpoint predicts the case; of softmax methods part1 is channel 1, of regions channel 0."""
    data = open_dataset(write_cases(tmp_path / "data", axes=2 if mode == "pictures" else 3))
    made = {"volumes": content, "slices": slice_recipe(1), "pictures": content_2d}[mode]
    recipe = parse_recipe({**made, "method": method, "epochs": 3}, source="test")
    run = fit(recipe, data, tmp_path / "run").path
    found = kept(run)
    assert found["epochs"].tolist() == [1, 2, 3]
    assert found["case"] == read_splits(run / "splits.json").fold(0).val[0]
    assert found["structure"] == "part1"
    (files,) = (each for each in data.cases if each.name == found["case"])
    case = prepare_case(recipe, data, files)
    module = model_of(weights(run), source="last")
    with torch.inference_mode():
        whole = module.activated(module.logits(case.image))
    wanted = {"ce": whole[1], "singr": (whole[0] + 1) / 2, "softseg": whole[0]}[method]
    masks, image = case.labels == 1, case.image[0]
    if mode != "pictures":
        # Voxels are 1, 0.8 and 2 mm: volumes are cut across the last axis, slices across their own.
        axis = 2 if mode == "volumes" else 1
        wanted, masks, image = (each.select(axis, int(found["slice"])) for each in (wanted, masks, image))
    np.testing.assert_allclose(found["predictions"][-1], wanted, atol=1e-3)
    np.testing.assert_array_equal(found["reference"], masks)
    np.testing.assert_array_equal(found["image"], image)
    assert np.ptp(found["predictions"][0].astype(float) - found["predictions"][-1]) > 1e-3


def test_keeping_predictions_changes_no_weight(content, tmp_path, monkeypatch):
    data = open_dataset(write_cases(tmp_path / "data"))
    recipe = parse_recipe({**content, "method": "softseg", "epochs": 3}, source="test")
    fit(recipe, data, tmp_path / "with")
    monkeypatch.setattr(snapshots.Snapshots, "on_train_epoch_end", lambda *_: None)
    fit(recipe, data, tmp_path / "without")
    first, second = (weights(tmp_path / name)["state_dict"] for name in ("with", "without"))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not (tmp_path / "without" / FILE).exists()


def test_early_stopping_makes_an_epoch_the_last(content, tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    changes = {"method": "ce", "epochs": 30, "patience": 2, "min_delta": 1.0}
    run = fit(parse_recipe({**content, **changes}, source="test"), data, tmp_path / "run").path
    assert kept(run)["epochs"].tolist() == [1, 2, 3]


def interrupted(recipe, data, out, monkeypatch, *, epoch):
    """Break a run off in the middle of an epoch, counted from 0."""
    step = SegmentationModule.training_step

    def broken(self, *arguments):
        if self.current_epoch == epoch:
            raise RuntimeError("power cut")
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "training_step", broken)
        with pytest.raises(RuntimeError, match="power cut"):
            fit(recipe, data, out)


def test_interrupted_run_ends_with_the_predictions_of_an_unbroken_one(content, tmp_path, monkeypatch):
    data = open_dataset(write_cases(tmp_path / "data"))
    recipe = parse_recipe({**content, "method": "softseg", "epochs": 6}, source="test")
    whole = kept(fit(recipe, data, tmp_path / "whole").path)
    assert whole["epochs"].tolist() == [1, 2, 5, 6]
    broken = tmp_path / "broken"
    interrupted(recipe, data, broken, monkeypatch, epoch=3)
    before = kept(broken)
    assert before["epochs"].tolist() == [1, 2]
    # As if it had been killed between a later prediction and its checkpoint.
    before |= {"epochs": np.array([1, 2, 4]), "predictions": before["predictions"][[0, 1, 1]]}
    np.savez_compressed(broken / FILE, **before)
    after = kept(fit(recipe, data, broken, resume=True).path)
    assert after.keys() == whole.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)


def test_broken_file_is_named_with_what_to_do(content, tmp_path, monkeypatch):
    data = open_dataset(write_cases(tmp_path / "data"))
    recipe = parse_recipe({**content, "method": "ce", "epochs": 2}, source="test")
    interrupted(recipe, data, tmp_path / "run", monkeypatch, epoch=1)
    path = tmp_path / "run" / FILE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"snapshots\.npz cannot be read .*remove it to go on"):
        fit(recipe, data, tmp_path / "run", resume=True)
