"""The phantom test of truth: which label transform is nearest to the known share of every voxel."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from tiny_data import write_nifti

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "label_truth.py"


@pytest.fixture(scope="module")
def truth():
    spec = importlib.util.spec_from_file_location("label_truth", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["label_truth"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["label_truth"]


@pytest.fixture(scope="module")
def measured(truth):
    return {subject.name: truth.errors(subject) for subject in truth.made_subjects(18)}


def test_every_label_is_measured_on_every_phantom(measured):
    assert list(measured) == ["disc, 1 mm", "ball, 1 mm", "ellipsoid, 1x1x3 mm", "tumour, 4 classes, 1 mm"]
    for found in measured.values():
        words = ("one-hot", "uniform", "SVLS", "GeoLS", "sigmoid", "dilation", "SoftSeg", "raters")
        assert all(any(word in name for name in found) for word in words)
        assert all(0.0 < everywhere <= band < 1.0 for everywhere, band in found.values())


def test_softseg_from_a_fine_mask_is_nearest_and_far_nearer_than_one_hot(measured):
    for found in measured.values():
        nearest = min(found, key=lambda name: found[name][1])
        assert nearest.startswith("SoftSeg")
        for which in (0, 1):
            assert found[nearest][which] < 0.5 * found["one-hot"][which]


def test_uniform_smoothing_errs_away_from_the_boundary_where_the_others_do_not(measured):
    for found in measured.values():
        assert found["uniform, 0.1"][0] > 2 * found["one-hot"][0]
        assert found["SVLS"][0] < 1.2 * found["one-hot"][0]


def test_errors_are_those_of_a_sum_by_hand(truth):
    # The share of class 1 along a row: the hard mask is 0 0 1 1 1 1.
    share = torch.tensor([0.0, 0.25, 0.75, 1.0, 1.0, 1.0]).expand(6, 6)
    subject = truth.Subject(
        "row",
        torch.stack([1 - share, share]),
        share[None].clone(),
        share.round().long().repeat_interleave(2, 0).repeat_interleave(2, 1),
        None,
        (1.0, 1.0),
    )
    found = truth.errors(subject)
    assert found["one-hot"] == pytest.approx((0.5 / 6, 0.25))
    assert found["uniform, 0.1"] == pytest.approx(((0.05 + 0.2 + 0.2 + 3 * 0.05) / 6, 0.2))
    assert found["dilation, 0.5"] == pytest.approx((0.5 / 6, 0.25))
    # The column beside a flat border weighs an edge and two corners of SVLS's kernel, of a sum of 2.
    beside = (0.155615 + 2 * 0.094386) / 2
    assert found["SVLS"][1] == pytest.approx(0.25 - beside, abs=1e-5)


def test_the_band_holds_the_voxels_beside_another_class(truth):
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (5, 6, 4)) * (np.arange(4) > 1))
    low = ndimage.minimum_filter(labels.numpy(), 3, mode="nearest")
    high = ndimage.maximum_filter(labels.numpy(), 3, mode="nearest")
    np.testing.assert_array_equal(truth.boundary_band(labels).numpy(), low != high)
    assert not truth.boundary_band(torch.ones(4, 5, dtype=torch.int64)).any()


def test_probability_maps_are_averaged_over_blocks(truth, tmp_path):
    rng = np.random.default_rng(0)
    maps = rng.dirichlet((1.0, 1.0, 1.0), (6, 7, 4))
    stored = np.rint(255 * maps).astype(np.uint8)
    write_nifti(tmp_path / "case" / "image.nii.gz", rng.normal(size=(6, 7, 4)).astype(np.float32))
    write_nifti(tmp_path / "case" / "a_prob.nii.gz", stored[..., 1])
    write_nifti(tmp_path / "case" / "b_prob.nii.gz", stored[..., 2])
    (path,) = truth.image_paths(tmp_path)
    subject = truth.read_subject(path)
    assert subject.truth.shape == (3, 3, 3, 2)
    assert subject.spacing == pytest.approx((1.0, 4.0, 6.0))
    exact = maps[:, :6].reshape(3, 2, 3, 2, 2, 2, 3).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(subject.truth.numpy(), np.moveaxis(exact, -1, 0), atol=4e-3)
    assert subject.fine.shape == (6, 6, 4)
    assert "mean of" not in " ".join(truth.errors(subject))


def test_the_script_prints_a_table_with_the_nearest_label_first(truth, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["label_truth.py", "--size", "10"])
    truth.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "disc, 1 mm  (10, 10)"
    assert lines[3].strip().startswith("SoftSeg")
    shares = [line.split()[-2] for line in lines if line.split()[0] == "one-hot"]
    assert shares == ["100"] * 4


def test_a_folder_without_maps_is_named_before_anything_is_computed(truth, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["label_truth.py", "--data", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"holds no folder with image\.nii\.gz and \*_prob\.nii\.gz"):
        truth.main()
    assert capsys.readouterr().out == ""
