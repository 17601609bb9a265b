"""Predictions lie on the input's own grid, soft ones stay soft, and the tuned threshold is used."""

import json
import re
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from sfumato.data import load_case, open_dataset
from sfumato.errors import CheckpointError, DataError, FileFormatError, OutputExistsError
from sfumato.methods import METHODS
from sfumato.model import load
from sfumato.model.predict import predict
from sfumato.recipe.recipe import parse_recipe
from sfumato.training.fit import fit
from tiny_cases import slice_recipe, tiny_recipe, write_cases


def trained(folder, method="ce", axes=3, channels=1, **changes):
    data = open_dataset(write_cases(folder / "data", axes=axes, channels=channels))
    content = tiny_recipe(axes) | {"method": method, "epochs": 1} | changes
    return fit(parse_recipe(content, source="test"), data, folder / "run"), data


def resampled(axes=3):
    changes = {"spacing": [1.5, 1.0, 1.2][:axes], "crop_size": [8, 14, 10][:axes]}
    return tiny_recipe(axes)["preprocess"] | changes


@pytest.mark.parametrize("method", ["ce", "singr", "softseg"])
def test_predictions_have_the_inputs_grid_even_when_training_resampled(tmp_path, method):
    run, data = trained(tmp_path, method, preprocess=resampled())
    written = predict(run.path, data, tmp_path / "out", soft="float32")
    assert len(written) == 6
    for path in written:
        source = nibabel.load(tmp_path / "data" / "imagesTr" / path.name.replace(".nii", "_0000.nii"))
        hard, soft = nibabel.load(path), nibabel.load(str(path).replace(".nii", "_soft.nii"))
        channels = 3 if method == "ce" else 2
        assert hard.shape == source.shape
        assert soft.shape == (*source.shape, channels)
        for image in (hard, soft):
            np.testing.assert_array_equal(image.affine, source.affine)
            np.testing.assert_allclose(image.header.get_zooms()[:3], source.header.get_zooms())
        assert hard.get_data_dtype() == np.uint8
        assert soft.get_data_dtype() == np.float32
        assert len(np.unique(soft.get_fdata())) > 50, "a soft prediction is never binarised"


@pytest.mark.parametrize(("method", "step"), [("ls", 1 / 255), ("singr", 2 / 255)])
def test_graded_prediction_may_be_scaled_to_uint8(tmp_path, method, step):
    run, data = trained(tmp_path, method)
    predict(run.path, data, tmp_path / "exact", soft="float32", names=["case0"])
    predict(run.path, data, tmp_path / "small", soft="uint8", names=["case0"])
    exact, small = (nibabel.load(tmp_path / name / "case0_soft.nii.gz") for name in ("exact", "small"))
    assert small.get_data_dtype() == np.uint8
    np.testing.assert_allclose(small.get_fdata(), exact.get_fdata(), atol=step / 2 + 1e-6)


def test_picture_is_predicted_in_2d(tmp_path):
    run, data = trained(tmp_path, "softseg", axes=2)
    (path,) = predict(run.path, data, tmp_path / "out", soft="float32", names=["case1"])
    assert nibabel.load(path).shape[:2] == (13, 16)


def test_hard_prediction_is_the_decoded_graded_one(tmp_path):
    run, data = trained(tmp_path, "softseg")
    module = load(run.path)
    module.threshold = 0.35
    found = module.predict(load_case(data.cases[0], data))
    largest, channel = found.soft.max(0)
    assert torch.equal(found.labels, torch.where(largest > 0.35, channel + 1, 0))


def test_tuned_threshold_is_stored_in_the_checkpoint_and_used(tmp_path):
    run, data = trained(tmp_path, "softseg")
    report = json.loads((run.path / "finished.json").read_text())
    module = load(run.best_checkpoint)
    assert module.threshold == report["threshold"] is not None
    curve = np.loadtxt(run.path / "threshold.csv", delimiter=",", skiprows=1)
    assert len(curve) == 19
    assert curve[curve[:, 0] == module.threshold, 1] == pytest.approx(curve[:, 1].max())
    predict(run.path, data, tmp_path / "out", names=["case0"])
    described = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert described["threshold"] == module.threshold


def test_norm_relu_divides_by_the_maximum_of_the_whole_volume(tmp_path):
    run, data = trained(tmp_path, "softseg")
    case = load_case(data.cases[0], data)
    # Windows far smaller than the volume: each has a maximum of its own.
    wide = replace(case, image=case.image.repeat(1, 3, 3, 3), labels=None, affine=None)
    module = load(run.path)
    found = module.predict(wide)
    tops = found.soft.flatten(1).max(1).values
    assert all(top == 1 or top == 0 for top in tops.tolist())
    assert sum(int((channel == 1).sum()) for channel in found.soft) <= len(tops)


@pytest.mark.parametrize("method", METHODS)
def test_prediction_lies_in_the_range_of_its_method(tmp_path, method):
    run, data = trained(tmp_path, method)
    found = load(run.path).predict(load_case(data.cases[0], data))
    low = METHODS[method].kind.low
    assert low <= found.soft.min() <= found.soft.max() <= 1
    if METHODS[method].kind.joint:
        torch.testing.assert_close(found.soft.sum(0), torch.ones(found.labels.shape))


def test_image_with_other_channels_is_refused(tmp_path):
    run, _ = trained(tmp_path)
    other = open_dataset(write_cases(tmp_path / "other", channels=2))
    with pytest.raises(CheckpointError, match=r"has 2 channels, but the checkpoint was trained on 1 \(c0\)"):
        predict(run.path, other, tmp_path / "out")


def test_picture_for_a_volume_network_is_refused(tmp_path):
    run, _ = trained(tmp_path)
    other = open_dataset(write_cases(tmp_path / "other", axes=2))
    with pytest.raises(CheckpointError, match="is 2-D, but the checkpoint is 3-D"):
        predict(run.path, other, tmp_path / "out")


def test_foreign_or_broken_checkpoint_is_named(tmp_path):
    data = open_dataset(write_cases(tmp_path / "data"))
    foreign, broken = tmp_path / "foreign.ckpt", tmp_path / "broken.ckpt"
    torch.save({"state_dict": {}}, foreign)
    broken.write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="not written by sfumato train"):
        predict(foreign, data, tmp_path / "out")
    with pytest.raises(FileFormatError, match=re.escape(str(broken))):
        predict(broken, data, tmp_path / "out")
    with pytest.raises(FileFormatError, match="does not exist"):
        predict(tmp_path / "absent.ckpt", data, tmp_path / "out")


def test_existing_prediction_is_kept(tmp_path):
    run, data = trained(tmp_path)
    predict(run.path, data, tmp_path / "out", names=["case2"])
    before = (tmp_path / "out" / "case2.nii.gz").read_bytes()
    with pytest.raises(OutputExistsError, match="case2"):
        predict(run.path, data, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["case2.nii.gz", "prediction.json"]
    assert (tmp_path / "out" / "case2.nii.gz").read_bytes() == before
    predict(run.path, data, tmp_path / "out", overwrite=True)


def test_unknown_case_is_named(tmp_path):
    run, data = trained(tmp_path)
    with pytest.raises(DataError, match="no case 'case9'"):
        predict(run.path, data, tmp_path / "out", names=["case9"])


def test_the_recipes_name_titles_the_prediction(tmp_path):
    run, data = trained(tmp_path, "ls", name="LS (0.1)")
    predict(run.path, data, tmp_path / "out", names=["case2"])
    described = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert (described["method"], described["run"]) == ("LS (0.1)", "ls-0.1-seed0-fold0")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_network_of_slices_predicts_volumes_on_their_own_grid(tmp_path, axis):
    data = open_dataset(write_cases(tmp_path / "data", count=4))
    crop = [None, 14, 10]
    content = slice_recipe(axis) | {"method": "softseg", "epochs": 1}
    content["preprocess"] |= {"spacing": [1.5, 1.0, 1.2], "crop_size": crop}
    run = fit(parse_recipe(content, source="test"), data, tmp_path / "run")
    (path,) = predict(run.path, data, tmp_path / "out", soft="float32", names=["case1"])
    source = nibabel.load(tmp_path / "data" / "imagesTr" / "case1_0000.nii.gz")
    hard, soft = nibabel.load(path), nibabel.load(str(path).replace(".nii", "_soft.nii"))
    assert hard.shape == source.shape
    assert soft.shape == (*source.shape, 2)
    for image in (hard, soft):
        np.testing.assert_array_equal(image.affine, source.affine)
    assert len(np.unique(soft.get_fdata())) > 50


def test_picture_for_a_network_of_slices_is_refused(tmp_path):
    data = open_dataset(write_cases(tmp_path / "data", count=4))
    run = fit(
        parse_recipe(slice_recipe(2) | {"method": "ce", "epochs": 1}, source="test"), data, tmp_path / "run"
    )
    other = open_dataset(write_cases(tmp_path / "other", axes=2, count=1))
    with pytest.raises(CheckpointError, match=r"is 2-D, but the checkpoint is 3-D \(it cuts volumes"):
        predict(run.path, other, tmp_path / "out")
