import base64
import io
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.errors import ShapeError, ValueRangeError
from sfumato.report import Overlay, RaterPanel, ReportCase, viewer
from sfumato.report.viewer import payload, sheet
from sfumato.structures import CLASSES
from sfumato.tables.results import CaseLine


def decoded(address, shape):
    """Cut a sheet into slices again, by its definition: tile k lies in row k // wide, column k % wide."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("L"))
    rows, columns, slices = shape
    wide = pixels.shape[1] // columns
    tiles = [
        pixels[k // wide * rows : (k // wide + 1) * rows, k % wide * columns : (k % wide + 1) * columns]
        for k in range(slices)
    ]
    return np.stack(tiles, axis=-1)


@pytest.mark.parametrize("shape", [(9, 12, 5), (3, 40, 17), (1, 1, 1), (50, 2, 3), (4, 5, 1)])
def test_sheet_keeps_every_value(shape):
    volume = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(decoded(sheet(volume), shape), volume)
    turned = np.asfortranarray(volume)
    assert np.array_equal(decoded(sheet(turned), shape), volume)


def test_sheet_beyond_the_size_of_webp_is_a_png():
    volume = np.random.default_rng(0).integers(0, 256, (17_000, 1, 2)).astype(np.uint8)
    assert sheet(volume).startswith("data:image/png")
    assert np.array_equal(decoded(sheet(volume), volume.shape), volume)


def test_layers_hold_the_case_s_own_values(made_up):
    case = made_up.case("case_01")
    found = payload([case], lines=(), label_names={1: "head", 2: "tail"}).content
    entry = found["cases"][0]
    shape = tuple(entry["shape"])
    assert shape == tuple(case.reference.shape)
    assert np.array_equal(decoded(entry["reference"], shape), case.reference.numpy())
    ce, singr = entry["methods"]["ce"], entry["methods"]["singr"]
    assert np.array_equal(decoded(ce["labels"], shape), case.predictions["ce"].labels.numpy())
    assert len(ce["soft"]) == 2
    soft = decoded(ce["soft"][0], shape) / found["steps"]
    np.testing.assert_allclose(soft, case.predictions["ce"].soft[1].numpy(), atol=0.5 / found["steps"] + 1e-6)
    signed = decoded(singr["soft"][1], shape) / found["steps"] * 2 - 1
    np.testing.assert_allclose(signed, case.predictions["singr"].soft[1].numpy(), atol=0.02)
    uncertain = decoded(ce["uncertainty"], shape) / found["steps"] * ce["largest"]
    np.testing.assert_allclose(uncertain, case.predictions["ce"].uncertainty.numpy(), atol=0.006)
    assert "soft" not in entry["methods"]["geols"]
    assert entry["axis"] == 2, "the coarse axis is sliced across"
    json.dumps(found, allow_nan=False)


def test_picture_is_one_slice_of_unit_depth(made_up):
    case = made_up.case("flat", shape=(9, 12), spacing=(1.0, 2.0))
    entry = payload([case], lines=(), label_names={}).content["cases"][0]
    assert (entry["flat"], entry["shape"], entry["spacing"]) == (True, [9, 12, 1], [1.0, 2.0, 1.0])
    assert np.array_equal(decoded(entry["reference"], (9, 12, 1))[..., 0], case.reference.numpy())


def test_cases_are_ordered_worst_first_with_their_dice(made_up):
    cases = [made_up.case(name) for name in ("c1", "c2", "c3")]
    lines = (CaseLine("c3", 0.2, {"ce": 0.2, "geols": math.nan}), CaseLine("c1", 0.9, {"ce": 0.9}))
    found = payload(cases, lines=lines, label_names={}).content["cases"]
    assert [(entry["name"], entry["mean"]) for entry in found] == [("c3", 0.2), ("c1", 0.9), ("c2", None)]
    assert found[0]["dice"] == {"ce": 0.2}


def test_budget_keeps_the_worst_and_the_best_and_says_so(made_up):
    names = [f"c{index}" for index in range(6)]
    lines = tuple(CaseLine(name, index / 10, {}) for index, name in enumerate(names))
    cases = [made_up.case(name) for name in names]
    size = len(json.dumps(payload(cases[:1], lines=lines, label_names={}).content))
    found = payload(cases, lines=lines, label_names={}, budget=int(size * 2.2))
    assert [entry["name"] for entry in found.content["cases"]] == ["c0", "c5"]
    assert "holds 2 of 6 cases" in found.notes[0]
    assert len(payload(cases, lines=lines, label_names={}, budget=1).content["cases"]) == 1


def test_large_case_is_cropped_to_its_structures_and_thinned(made_up, monkeypatch):
    case = made_up.case("big", shape=(60, 50, 40), spacing=(1.0, 1.0, 4.0))
    monkeypatch.setattr(viewer, "MOST_VOXELS", 4000)
    found = payload([case], lines=(), label_names={})
    entry = found.content["cases"][0]
    assert math.prod(entry["shape"]) <= 4000
    assert "every" in found.notes[0]
    assert entry["spacing"][2] == 4.0, "the coarse axis is thinned last"
    assert decoded(entry["reference"], tuple(entry["shape"])).any()


def test_case_of_many_noisy_layers_is_thinned_until_it_fits(made_up, monkeypatch):
    case = made_up.case("noisy", shape=(40, 30, 20), spacing=(1.0, 1.0, 1.0))
    noise = torch.rand(3, 40, 30, 20, generator=torch.Generator().manual_seed(0))
    said = Overlay(case.predictions["ce"].labels, noise, CLASSES)
    case = ReportCase("noisy", case.image, case.reference, case.spacing, {f"m{i}": said for i in range(4)})
    monkeypatch.setattr(viewer, "FEWEST_VOXELS", 500)
    found = payload([case], lines=(), label_names={}, budget=120_000)
    assert len(json.dumps(found.content)) < 70_000
    assert "every" in found.notes[0]


def test_case_without_reference_prediction_or_contrast_is_encoded():
    case = ReportCase("empty", torch.zeros(2, 4, 5, 3), None, (1.0, 1.0, 1.0), {})
    entry = payload([case], lines=(), label_names={}).content["cases"][0]
    assert (entry["reference"], entry["methods"]) == (None, {})
    assert not decoded(entry["image"], (4, 5, 3)).any()


def test_arrays_that_do_not_fit_the_image_are_refused():
    image, labels = torch.zeros(1, 4, 5), torch.zeros(4, 5, dtype=torch.int64)
    with pytest.raises(ShapeError, match="reference has shape"):
        ReportCase("c", image, labels.T, (1.0, 1.0), {})
    with pytest.raises(ShapeError, match="labels of ce for c has shape"):
        ReportCase("c", image, labels, (1.0, 1.0), {"ce": Overlay(labels[:2], None, CLASSES)})
    with pytest.raises(ShapeError, match="soft of ce for c has shape"):
        ReportCase("c", image, labels, (1.0, 1.0), {"ce": Overlay(labels, torch.zeros(2, 5, 4), CLASSES)})
    with pytest.raises(ShapeError, match="spacing has 3 values"):
        ReportCase("c", image, labels, (1.0, 1.0, 1.0), {})
    with pytest.raises(ShapeError, match="two or three spatial axes"):
        ReportCase("c", torch.zeros(4, 5), None, (1.0,), {})
    with pytest.raises(ValueRangeError, match="1 rater names for 2 raters"):
        RaterPanel("p", image, labels[None].repeat(2, 1, 1), ("Ada",), {})
