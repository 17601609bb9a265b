"""A checkpoint is tensors and plain data: foreign code is never run, and version-1 files still predict."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato.cli.app import run
from sfumato.data import load_case, open_dataset, read_volume
from sfumato.errors import CheckpointError, FileFormatError
from sfumato.model import Model, load
from sfumato.recipe.recipe import parse_recipe
from tiny_cases import store_checkpoint, tiny_recipe, tiny_task, write_cases, write_rated_cases

STORED = Path(__file__).parents[1] / "stored" / "version-1"


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def model(**changes):
    torch.manual_seed(0)
    recipe = parse_recipe(tiny_recipe(2) | changes, source="test")
    return Model(recipe, tiny_task("part1", "part2"))


def trapped(tmp_path):
    """A checkpoint of ours with a trap beside the weights, in each of torch's two file formats."""
    store_checkpoint(model(), tmp_path / "good.ckpt")
    content = torch.load(tmp_path / "good.ckpt", weights_only=True)
    content["callbacks"] = {"trap": Trap(tmp_path / "sprung")}
    torch.save(content, tmp_path / "zip.ckpt")
    torch.save(content, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    (tmp_path / "pickle.ckpt").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    return [tmp_path / f"{name}.ckpt" for name in ("zip", "old", "pickle")]


def test_a_checkpoint_with_code_is_refused_and_its_code_is_not_run(tmp_path):
    for path in trapped(tmp_path):
        with pytest.raises((CheckpointError, FileFormatError)) as caught:
            load(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "sprung").exists()
    torch.load(path.with_name("zip.ckpt"), weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap must work, or the test shows nothing"


def test_the_trap_in_a_checkpoint_of_ours_is_called_code(tmp_path):
    path, *_ = trapped(tmp_path)
    with pytest.raises(CheckpointError, match="holds code or objects besides tensors"):
        load(path)


def test_predict_refuses_a_trap_with_one_line_and_no_file_appears(tmp_path, capsys):
    data = write_cases(tmp_path / "data", axes=2, count=1)
    for path in trapped(tmp_path):
        assert run(["predict", str(path), str(data), "-o", str(tmp_path / "out")]) == 2
        said = capsys.readouterr().err.strip()
        assert len(said.splitlines()) == 1
        assert not (tmp_path / "sprung").exists()
        assert not list((tmp_path / "out").glob("*.nii.gz"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no checkpoint at all", b"\x80\x02"])
def test_what_is_no_checkpoint_is_called_so_in_one_line(tmp_path, content):
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(FileFormatError, match="is not a checkpoint, or is truncated") as caught:
        load(tmp_path / "x.ckpt")
    assert "\n" not in str(caught.value)


def test_a_truncated_checkpoint_is_called_so(tmp_path):
    path = store_checkpoint(model(), tmp_path / "a.ckpt")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FileFormatError, match="is not a checkpoint, or is truncated"):
        load(path)


@pytest.mark.parametrize("name", ["recipe", "task", "threshold"])
def test_what_a_checkpoint_lacks_is_named(tmp_path, name):
    path = store_checkpoint(model(), tmp_path / "a.ckpt")
    content = torch.load(path, weights_only=True)
    del content["sfumato"][name]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=f"it lacks {name}"):
        load(path)


def test_a_stored_model_loads_equal_to_the_bit(tmp_path):
    stored = model(method="softseg")
    stored.threshold = 0.35
    loaded = load(store_checkpoint(stored, tmp_path / "a.ckpt"))
    assert (loaded.recipe, loaded.task, loaded.threshold) == (stored.recipe, stored.task, 0.35)
    for name, weight in stored.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], weight)
    assert not loaded.network.training


@pytest.mark.parametrize("method", ["geols", "softseg"])
def test_a_version_1_checkpoint_predicts_what_it_predicted(tmp_path, method):
    """``tests/stored/version-1`` was written by the last commit without recipe versions."""
    data = open_dataset(write_rated_cases(tmp_path / "data"))
    trained = load(STORED / method)
    assert trained.recipe.method == method
    (files,) = (files for files in data.cases if files.name == "case3")
    prediction = trained.predict(load_case(files, data))
    soft = read_volume(STORED / method / "predictions" / "case3_soft.nii.gz").array
    hard = read_volume(STORED / method / "predictions" / "case3.nii.gz").array
    np.testing.assert_allclose(prediction.soft.movedim(0, -1).numpy(), soft, atol=1e-5)
    np.testing.assert_array_equal(prediction.labels.numpy(), hard)


def test_predicting_does_not_import_lightning(tmp_path):
    path = store_checkpoint(model(), tmp_path / "a.ckpt")
    data = write_cases(tmp_path / "data", axes=2, count=1)
    code = (
        "import sys; from pathlib import Path; from sfumato.data import open_dataset; "
        "from sfumato.model import predict; "
        f"predict(Path({str(path)!r}), open_dataset({str(data)!r}), Path({str(tmp_path / 'out')!r})); "
        "print([name for name in ('lightning', 'lightning.pytorch', 'typer') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
