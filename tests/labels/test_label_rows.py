"""A label's row says what its function takes; a batch's targets are those of its items."""

import importlib.util
import inspect
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage

from sfumato import labels
from sfumato.labels import table
from sfumato.labels.definition import TargetBatch, TargetCase, label_of
from sfumato.labels.seeds import eroded
from sfumato.labels.table import LABELS
from sfumato.structures import REGIONS, Structures

ON_DEVICE = {name for name, label in LABELS.items() if label.on_device}
BOUNDARIES = [{}, {"boundary": "inner"}, {"boundary": "both", "preset": "reference"}]
SEEDINGS = [{"seeds": "skeleton"}, {"seeds": "random", "num_seeds": 2}, {"seeds": "erosion"}]


def batch(shape, seed):
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(0, 2, (2, *shape))) * 2
    labels[0, ..., 1:3] = 1
    image = torch.from_numpy(rng.normal(size=(2, 2, *shape)).astype(np.float32))
    steps = [(2.0, 1.0, 0.5)[: len(shape)], (1.0, 1.0, 3.0)[: len(shape)]]
    return TargetBatch(labels, image, Structures.numbered(3, {"whole": (1, 2), "core": (1,)}), steps)


def seeded(case):
    return type(case)(**{**vars(case), "generator": torch.Generator().manual_seed(7)})


@pytest.mark.parametrize("shape", [(6, 9), (4, 6, 7)])
@pytest.mark.parametrize(
    ("name", "changes"),
    [(name, {}) for name in sorted(ON_DEVICE - {"sing", "geodesic"})]
    + [("sing", changes) for changes in BOUNDARIES]
    + [("geodesic", changes) for changes in SEEDINGS],
    ids=str,
)
def test_targets_of_a_batch_are_the_items_targets(shape, name, changes):
    label, given = LABELS[name], batch(shape, seed=len(shape))
    options = {**label.options, **changes}
    prepared = [label.prepare(seeded(case), options) for case in given.cases()]
    assert all(item is None for item in prepared) or all(item.dtype == torch.bool for item in prepared)
    together = None if prepared[0] is None else torch.stack(prepared)
    whole = TargetBatch(**{**vars(given), "prepared": together})
    expected = torch.stack([label.make(seeded(case), options) for case in given.cases()])
    torch.testing.assert_close(label.make_batch(whole, options), expected, rtol=1e-6, atol=1e-7)


def test_options_are_those_of_the_signature_but_for_what_the_case_holds():
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(labels.geols).parameters.items()
        if name not in ("labels", "image", "num_classes", "spacing", "generator")
    }
    assert LABELS["geodesic"].options == defaults
    assert LABELS["geodesic"].needs_image
    assert LABELS["svls"].options == {"sigma": 1.0, "size": 3, "unit": "voxel"}


def test_a_function_becomes_a_label_by_its_parameters_names():
    def faded(regions, image, *, spacing, share=0.5):
        return regions * share + (image[:1] > 0) * spacing[0]

    label = label_of(faded, "faded", "Faded", REGIONS)
    assert (label.options, label.needs_image, label.takes_raters) == ({"share": 0.5}, True, False)
    case = TargetCase(torch.tensor([0, 1]), torch.tensor([[0.0, 2.0]]), Structures.numbered(2), (3.0,))
    assert label.make(case, {"share": 0.25}).tolist() == [[0.0, 3.25]]


def test_a_file_that_ends_in_a_row_is_all_that_a_label_needs(tmp_path, monkeypatch):
    text = """
from sfumato.labels.definition import label_of
from sfumato.labels.one_hot import one_hot
from sfumato.structures import CLASSES

def faint(labels, *, num_classes, strength=0.7):
    return strength * one_hot(labels, num_classes=num_classes)

LABEL = label_of(faint, "faint", "Faint", CLASSES)
"""
    (tmp_path / "faint.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(labels, "__path__", [*labels.__path__, str(tmp_path)])
    spec = importlib.util.spec_from_file_location("sfumato.labels.table", table.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    monkeypatch.delitem(sys.modules, "sfumato.labels.faint")
    assert set(again.LABELS) == {*LABELS, "faint"}
    assert again.LABELS["faint"].options == {"strength": 0.7}


def test_every_label_has_a_name_and_a_title_of_its_own():
    assert all(name == label.name for name, label in LABELS.items())
    assert len({label.title for label in LABELS.values()}) == len(LABELS)
    assert all(name == name.lower() and " " not in name for name in LABELS)


@pytest.mark.parametrize("radius", [1, 2])
@pytest.mark.parametrize("shape", [(7, 9), (5, 6, 8), (1, 4)])
def test_erosion_in_torch_is_scipys(radius, shape):
    region = np.random.default_rng(radius).random(shape) < 0.9
    ball = (np.indices((2 * radius + 1,) * len(shape)) - radius) ** 2
    left = ndimage.binary_erosion(region, structure=ball.sum(axis=0) <= radius**2, border_value=1)
    expected = left if left.any() else region
    assert np.array_equal(eroded(torch.from_numpy(region), radius).numpy(), expected)
    empty = torch.zeros(shape, dtype=torch.bool)
    empty[(0,) * len(shape)] = True
    assert torch.equal(eroded(empty, radius), empty)
