"""A folder of predictions holds those of one model, with nothing stale beside them."""

import json

import pytest

from sfumato.data import open_dataset
from sfumato.errors import OutputExistsError
from sfumato.evaluation.files import find_predictions
from sfumato.model import Model
from sfumato.model.predict import predict
from sfumato.model.uncertainty import Sampling, predict_with_uncertainty
from sfumato.recipe.recipe import parse_recipe
from tiny_cases import store_checkpoint, tiny_recipe, tiny_task, write_cases


def checkpoint(path, method="ce", *, seed=0, threshold=None):
    """A network with random weights, stored as training stores it."""
    task = tiny_task("part1", "part2")
    recipe = parse_recipe(tiny_recipe(2) | {"method": method, "seed": seed}, source="test")
    return store_checkpoint(Model(recipe, task, threshold=threshold), path)


@pytest.fixture
def data(tmp_path):
    return open_dataset(write_cases(tmp_path / "data", axes=2, count=3))


def names(folder):
    return sorted(path.name.removesuffix(".nii.gz") for path in folder.iterdir())


def test_graded_files_and_maps_of_an_earlier_prediction_do_not_stay(tmp_path, data):
    first, second = checkpoint(tmp_path / "a.ckpt"), checkpoint(tmp_path / "b.ckpt", seed=1)
    out, both = tmp_path / "out", ["case0", "case1"]
    predict_with_uncertainty([first], data, out, sampling=Sampling("tta"), soft="float32", names=both)
    maps = ["case0_uncertainty-tta", "case0_uncertainty-tta_mutual-information"]
    assert names(out)[:4] == ["case0", "case0_soft", *maps]
    predict(second, data, out, names=["case0"], overwrite=True)
    assert [name for name in names(out) if name.startswith("case0")] == ["case0"]
    assert len(names(out)) == 6, "the other case's files stay"
    sampling = Sampling("mcdropout", samples=2)
    predict_with_uncertainty([second], data, out, sampling=sampling, names=both, overwrite=True)
    kept = {name.removeprefix("case1") for name in names(out) if name.startswith("case1")}
    assert kept == {"", "_uncertainty-mcdropout", "_uncertainty-mcdropout_mutual-information"}


def test_a_case_whose_name_ends_like_a_graded_file_is_kept(tmp_path, data):
    images = data.root / "imagesTr"
    (images / "case0_soft_0000.nii.gz").write_bytes((images / "case0_0000.nii.gz").read_bytes())
    data, model = open_dataset(images), checkpoint(tmp_path / "a.ckpt")
    predict(model, data, tmp_path / "out", names=["case0_soft"])
    predict(model, data, tmp_path / "out", names=["case0"])
    assert names(tmp_path / "out") == ["case0", "case0_soft", "prediction.json"]


@pytest.mark.parametrize(
    ("method", "seed", "threshold", "soft", "message"),
    [
        ("ce", 1, None, None, "of run ce-seed0-fold0 and not ce-seed1-fold0"),
        ("softseg", 0, 0.4, None, "kind classes and not regions, threshold None and not 0.4"),
        ("ce", 0, None, "uint8", "of soft None and not uint8: choose another folder or pass --overwrite"),
    ],
)
def test_a_folder_of_another_model_is_refused_before_any_work(
    tmp_path, data, method, seed, threshold, soft, message
):
    out = tmp_path / "out"
    predict(checkpoint(tmp_path / "a.ckpt"), data, out, names=["case0"])
    before = {path: path.read_bytes() for path in out.iterdir()}
    other = checkpoint(tmp_path / "b.ckpt", method, seed=seed, threshold=threshold)
    with pytest.raises(OutputExistsError, match=message):
        predict(other, data, out, names=["case1"], soft=soft)
    with pytest.raises(OutputExistsError, match="describes other predictions"):
        predict_with_uncertainty([other], data, out, sampling=Sampling("tta"), names=["case1"])
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    predict(other, data, out, names=["case1"], soft=soft, overwrite=True)
    assert json.loads((out / "prediction.json").read_text())["seed"] == seed


def test_more_cases_of_the_same_model_are_added(tmp_path, data):
    model = checkpoint(tmp_path / "a.ckpt", "softseg", threshold=0.35)
    for case in ("case0", "case1"):
        predict(model, data, tmp_path / "out", names=[case])
    assert names(tmp_path / "out") == ["case0", "case1", "prediction.json"]


def test_a_graded_file_that_the_predictions_disown_is_not_evaluated(tmp_path, data):
    out = tmp_path / "out"
    predict(checkpoint(tmp_path / "a.ckpt"), data, out, soft="float32", names=["case0"])
    assert set(find_predictions(out).soft) == {"case0"}
    described = json.loads((out / "prediction.json").read_text())
    (out / "prediction.json").write_text(json.dumps(described | {"soft": None}))
    assert set(find_predictions(out).hard) == {"case0"}
    assert find_predictions(out).soft == {}


def test_a_damaged_description_is_not_taken_for_the_models_own(tmp_path, data):
    out = tmp_path / "out"
    out.mkdir()
    (out / "prediction.json").write_text("{")
    with pytest.raises(OutputExistsError, match="describes other predictions, of run None and not ce-seed0"):
        predict(checkpoint(tmp_path / "a.ckpt"), data, out, names=["case0"])


def test_a_graded_file_without_its_prediction_is_not_given_another(tmp_path, data):
    model, left = checkpoint(tmp_path / "a.ckpt"), tmp_path / "out" / "case0_soft.nii.gz"
    left.parent.mkdir()
    left.write_bytes(b"whose?")
    with pytest.raises(OutputExistsError, match=r"case0_soft\.nii\.gz exists already"):
        predict(model, data, left.parent, names=["case0"])
    predict(model, data, left.parent, names=["case0"], overwrite=True)
    assert names(left.parent) == ["case0", "prediction.json"]
