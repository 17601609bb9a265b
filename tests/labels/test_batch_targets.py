"""Targets of a batch are those of its items; the CPU's marks are what it would have found itself."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from sfumato.labels.batch_targets import ON_DEVICE, TargetBatch, batch_targets, marks
from sfumato.labels.seeds import eroded
from sfumato.labels.targets import TARGETS
from sfumato.methods import METHODS

LATE = {each.label: each for each in METHODS.values() if each.label in ON_DEVICE}
CHANGES = [{}, {"boundary": "inner"}, {"boundary": "both", "preset": "reference"}]
SEEDINGS = [{"seeds": "skeleton"}, {"seeds": "random", "num_seeds": 2}, {"seeds": "erosion"}]


def batch(shape, seed):
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(rng.integers(0, 2, (2, *shape))) * 2
    labels[0, ..., 1:3] = 1
    image = torch.from_numpy(rng.normal(size=(2, 2, *shape)).astype(np.float32))
    steps = [(2.0, 1.0, 0.5)[: len(shape)], (1.0, 1.0, 3.0)[: len(shape)]]
    return TargetBatch(labels, image, 3, steps, {"whole": (1, 2), "core": (1,)}, None)


def test_every_label_named_here_is_a_label():
    assert set(TARGETS) >= ON_DEVICE


@pytest.mark.parametrize("shape", [(6, 9), (4, 6, 7)])
@pytest.mark.parametrize(
    ("label", "changes"),
    [(label, {}) for label in sorted(ON_DEVICE - {"SiNG", "geodesic"})]
    + [("SiNG", each) for each in CHANGES]
    + [("geodesic", each) for each in SEEDINGS],
    ids=str,
)
def test_batch_targets_are_the_items_targets(shape, label, changes):
    given = batch(shape, seed=len(shape))
    options = {**LATE[label].label_options, **changes}
    found = [marks(label, _seeded(case), options) for case in given.cases()]
    assert all(each is None for each in found) or all(each.dtype == torch.bool for each in found)
    together = None if found[0] is None else torch.stack(found)
    whole = TargetBatch(**{**vars(given), "marks": together})
    expected = torch.stack([TARGETS[label](_seeded(case), options) for case in given.cases()])
    torch.testing.assert_close(batch_targets(label, whole, options), expected, rtol=1e-6, atol=1e-7)


def _seeded(case):
    return type(case)(**{**vars(case), "generator": torch.Generator().manual_seed(7)})


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
