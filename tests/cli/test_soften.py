import json

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

import sfumato
from one_command import runner
from sfumato.cli.soften import soften
from sfumato.data import read_volume
from sfumato.data.dataset import SAMPLES
from sfumato.errors import (
    DataError,
    GeometryError,
    InputError,
    MachineError,
    OutputExistsError,
    ShapeError,
    UnknownNameError,
    ValueRangeError,
)
from sfumato.labels import one_hot, svls
from sfumato.methods import METHODS
from sfumato.report.preview import best_view
from tiny_data import AFFINE, mask, picture, write_nifti

_run = runner(soften)


@pytest.fixture
def files(tmp_path):
    shape = (12, 10, 4)
    labels = mask(shape)
    labels[4:8, 3:7, 1:3] = 2
    return (
        write_nifti(tmp_path / "i.nii.gz", picture(shape=shape)),
        write_nifti(tmp_path / "m.nii.gz", labels),
        tmp_path / "soft.nii.gz",
    )


def test_the_soft_label_lies_where_the_image_lies(files):
    image, labels, out = files
    _run(image, labels, "--method", "svls", "--out", out)
    soft, spacing, affine = read_volume(out)
    np.testing.assert_array_equal(affine, AFFINE)
    assert spacing == read_volume(image).spacing
    expected = svls(read_volume(labels).array, num_classes=3).movedim(0, -1).numpy()
    np.testing.assert_array_equal(soft, expected)
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "i.nii.gz",
        "m.nii.gz",
        "soft.json",
        "soft.nii.gz",
    ]


def test_the_sidecar_keeps_every_option_and_the_version(files):
    image, labels, out = files
    _run(image, labels, "--method", "ls", "--set", "alpha=0.25", "--set", "scheme=others", "-o", out)
    record = json.loads(out.with_name("soft.json").read_text())
    assert record["sfumato"] == sfumato.__version__
    assert record["method"] == "ls"
    assert record["options"] == {"alpha": 0.25, "scheme": "others"}
    assert record["channels"] == ["background", "label 1", "label 2"]
    soft = read_volume(out).array
    np.testing.assert_allclose(np.unique(soft), (0.125, 0.75), atol=1e-6)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_softens(files, method):
    image, labels, out = files
    _run(image, labels, "--method", method, "--out", out)
    expected = 3 if METHODS[method].kind.joint else 2
    soft = read_volume(out).array
    assert soft.shape == (12, 10, 4, expected)
    assert np.isfinite(soft).all()
    if METHODS[method].kind.joint:
        np.testing.assert_allclose(soft.sum(-1), 1, atol=1e-5)


def test_the_number_of_classes_may_be_larger_and_not_smaller_than_the_labels(files):
    image, labels, out = files
    _run(image, labels, "--method", "ce", "--num-classes", 5, "--out", out)
    assert read_volume(out).array.shape[-1] == 5
    with pytest.raises(ValueRangeError, match="holds values 2 outside the declared labels"):
        _run(image, labels, "--method", "ce", "--num-classes", 2, "--out", out, "--overwrite")
    with pytest.raises(ValueRangeError, match="--num-classes is 1"):
        _run(image, labels, "--method", "ce", "--num-classes", 1, "--out", out, "--overwrite")


def test_several_masks_are_raters(tmp_path):
    folder = SAMPLES / "cells" / "P03"
    masks = [folder / f"mask_rater{number}.png" for number in range(1, 11)]
    out = tmp_path / "soft.nii.gz"
    _run(folder / "image.png", *masks, "--method", "moh", "--out", out, "--preview", tmp_path / "p.png")
    soft = nibabel.load(out).get_fdata()
    mean = np.mean([np.asarray(Image.open(path)) > 0 for path in masks], axis=0)
    assert soft.shape == (*mean.shape, 1, 2)
    np.testing.assert_allclose(soft[:, :, 0, 1], mean, atol=1e-6)
    np.testing.assert_allclose(soft.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("method", ["moh", "msvls", "majority", "staple"])
def test_methods_that_fuse_raters_see_every_mask(tmp_path, method):
    write_nifti(tmp_path / "i.nii.gz", picture())
    votes = np.random.default_rng(0).integers(0, 2, (3, 6, 5, 4)).astype(np.uint8)
    masks = [write_nifti(tmp_path / f"m{number}.nii.gz", vote) for number, vote in enumerate(votes)]
    output = _run(tmp_path / "i.nii.gz", *masks, "--method", method, "--out", tmp_path / "s.nii.gz")
    assert "takes one mask" not in output
    assert json.loads((tmp_path / "s.json").read_text())["raters"] == "each"
    options = {"num_classes": 2, "spacing": (1.0, 1.0, 1.0)}
    raters = torch.from_numpy(votes).long()
    expected = METHODS[method].target(raters[0], labels_per_rater=raters, **options)
    np.testing.assert_allclose(read_volume(tmp_path / "s.nii.gz").array, expected.movedim(0, -1), atol=1e-6)


def test_a_method_for_one_mask_takes_the_majority_vote_and_says_so(tmp_path):
    write_nifti(tmp_path / "i.nii.gz", picture())
    votes = np.random.default_rng(0).integers(0, 2, (3, 6, 5, 4)).astype(np.uint8)
    masks = [write_nifti(tmp_path / f"m{number}.nii.gz", vote) for number, vote in enumerate(votes)]
    output = _run(tmp_path / "i.nii.gz", *masks, "--method", "ce", "--out", tmp_path / "s.nii.gz")
    assert "majority vote of the 3 masks" in output
    expected = one_hot((votes.sum(0) >= 2).astype(np.int64), num_classes=2).movedim(0, -1).numpy()
    np.testing.assert_array_equal(read_volume(tmp_path / "s.nii.gz").array, expected)
    assert json.loads((tmp_path / "s.json").read_text())["raters"] == "majority vote"


def test_further_channels_are_given_as_files(files):
    image, labels, out = files
    write_nifti(out.parent / "i2.nii.gz", picture(1, (12, 10, 4)))
    _run(image, labels, "--method", "geols", "--channel", out.parent / "i2.nii.gz", "--out", out)
    both = read_volume(out).array
    _run(image, labels, "--method", "geols", "--out", out, "--overwrite")
    assert not np.array_equal(both, read_volume(out).array)
    other = write_nifti(out.parent / "i2.nii.gz", picture())
    with pytest.raises(GeometryError, match="are not on one grid"):
        _run(image, labels, "--method", "ce", "--channel", other, "--out", out, "--overwrite")


def test_colour_pictures_and_tiff_outputs_are_taken(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "i.png")
    Image.fromarray(mask((9, 12), 255)).save(tmp_path / "m.png")
    _run(tmp_path / "i.png", tmp_path / "m.png", "--method", "geols", "--out", tmp_path / "s.tif")
    assert read_volume(tmp_path / "s.tif").array.shape == (2, 9, 12)


def test_a_seed_decides_random_seeds(files):
    image, labels, out = files
    random = ("--method", "geols", "--set", "seeds=random", "--set", "num_seeds=3", "--overwrite")
    volumes = []
    for seed in (0, 0, 1):
        _run(image, labels, *random, "--seed", seed, "--out", out)
        volumes.append(read_volume(out).array)
    assert np.array_equal(volumes[0], volumes[1])
    assert not np.array_equal(volumes[0], volumes[2])


def test_uint8_stores_weights_and_signed_maps_in_one_byte(files):
    image, labels, out = files
    _run(image, labels, "--method", "svls", "--encoding", "uint8", "--out", out)
    assert nibabel.load(out).get_data_dtype() == np.uint8
    expected = svls(read_volume(labels).array, num_classes=3).movedim(0, -1).numpy()
    np.testing.assert_allclose(read_volume(out).array, expected, atol=0.5 / 255 + 1e-6)
    _run(image, labels, "--method", "singr", "--out", out, "--overwrite")
    signed = read_volume(out).array
    _run(image, labels, "--method", "singr", "--encoding", "uint8", "--out", out, "--overwrite")
    np.testing.assert_allclose(read_volume(out).array, signed, atol=1 / 255 + 1e-6)


@pytest.mark.parametrize("method", ["geols", "singr"])
def test_the_preview_is_a_picture_of_image_mask_and_every_channel(files, method):
    image, labels, out = files
    preview = out.with_name("p.png")
    _run(image, labels, "--method", method, "--out", out, "--preview", preview)
    with Image.open(preview) as picture_file:
        assert picture_file.format == "PNG"
        assert picture_file.width > 600
        colours = np.asarray(picture_file.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 100


def test_preview_that_cannot_be_written_leaves_no_half_output(files):
    image, labels, out = files
    (out.parent / "taken").write_text("a file, no folder")
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(InputError, match=r"taken/p\.png could not be written"):
        _run(image, labels, "--method", "ls", "--out", out, "--preview", out.parent / "taken" / "p.png")
    assert sorted(out.parent.rglob("*")) == before


def test_the_preview_shows_the_slice_with_most_boundary():
    labels = np.zeros((20, 20, 6), dtype=np.int64)
    labels[2:18, 2:18, 1] = 1
    labels[3:17:2, 3:17:2, 4] = 1
    window, where = best_view(labels, (1.0, 1.0, 5.0))
    assert window[2] == 4
    assert where == ", slice 4 of axis 2"
    assert window[0].start == 0
    window, _ = best_view(labels.transpose(2, 0, 1), (5.0, 1.0, 1.0))
    assert window[0] == 4
    window, where = best_view(np.zeros((5, 6), dtype=np.int64), (1.0, 1.0))
    assert window == (slice(None), slice(None))
    assert where == ""


def test_an_empty_mask_is_softened_and_shown(tmp_path):
    write_nifti(tmp_path / "i.nii.gz", np.zeros((6, 5, 4), np.float32))
    write_nifti(tmp_path / "m.nii.gz", mask(value=0))
    out = tmp_path / "s.nii.gz"
    _run(
        tmp_path / "i.nii.gz",
        tmp_path / "m.nii.gz",
        "--method",
        "svls",
        "-o",
        out,
        "--preview",
        tmp_path / "p.png",
    )
    soft = read_volume(out).array
    assert (soft[..., 0] == 1).all()
    assert soft.shape[-1] == 2


def _left(folder):
    return sorted(path.name for path in folder.iterdir())


def test_wrong_input_leaves_nothing(files):
    image, labels, out = files
    before = _left(out.parent)
    wrong = [
        (("--method", "gools"), UnknownNameError, "Did you mean 'geols'"),
        (("--method", "ls", "--set", "alfa=1"), UnknownNameError, "Did you mean 'alpha'"),
        (("--method", "ls", "--set", "alpha"), InputError, "expected NAME=VALUE"),
        (("--method", "ls", "--set", "alpha=much"), InputError, "alpha|cannot use"),
        (("--method", "ls", "--set", "alpha=7"), ValueRangeError, "alpha is 7"),
        (("--method", "ls", "--encoding", "int8"), UnknownNameError, "Did you mean 'uint8'"),
    ]
    for options, kind, message in wrong:
        with pytest.raises(kind, match=message):
            _run(image, labels, *options, "--out", out)
        assert _left(out.parent) == before
    with pytest.raises(InputError, match=r"--out is .*soft\.png: expected a name that ends in"):
        _run(image, labels, "--method", "ls", "--out", out.with_name("soft.png"))
    with pytest.raises(InputError, match="does not exist"):
        _run(out.with_name("gone.nii.gz"), labels, "--method", "ls", "--out", out)
    with pytest.raises(DataError, match="2 problems"):
        _run(image, out.with_name("g.nii"), out.with_name("h.nii"), "--method", "ls", "--out", out)
    write_nifti(image, np.zeros((12, 10, 4, 2), np.float32))
    with pytest.raises(ShapeError, match="is 4-D"):
        _run(image, labels, "--method", "ls", "--out", out)
    assert _left(out.parent) == before


@pytest.mark.parametrize("name", ["soft.nii.gz", "soft.json", "p.png"])
def test_no_existing_output_is_replaced_without_leave(files, name):
    image, labels, out = files
    there = out.with_name(name)
    there.write_text("mine")
    command = (image, labels, "--method", "ls", "--out", out, "--preview", out.with_name("p.png"))
    with pytest.raises(OutputExistsError, match="exists already"):
        _run(*command)
    assert there.read_text() == "mine"
    assert _left(out.parent) == sorted(["i.nii.gz", "m.nii.gz", name])
    _run(*command, "--overwrite")
    assert there.read_bytes() != b"mine"


def test_a_full_disk_leaves_neither_volume_nor_sidecar(files, monkeypatch):
    image, labels, out = files

    def full(image, filename):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel, "save", full)
    with pytest.raises(MachineError, match="No space left on device"):
        _run(image, labels, "--method", "ls", "--out", out)
    assert _left(out.parent) == ["i.nii.gz", "m.nii.gz"]
