import pytest
import torch

from sfumato.checks import as_regions
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.labels import label_regions, one_hot
from sfumato.structures import region_weights


def test_regions_may_share_labels():
    labels = torch.tensor([[0, 1, 2], [3, 4, 1]])
    masks = label_regions(labels, values=[(1, 2, 4), (4,), (7,)])
    assert masks.int().tolist() == [[[0, 1, 1], [0, 1, 1]], [[0, 0, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 0]]]


def test_zeros_and_ones_of_any_type_become_booleans_and_fractions_are_refused():
    mask = torch.tensor([[[0, 1], [1, 0]]])
    for dtype in (torch.uint8, torch.float32, torch.int64, torch.bool):
        assert torch.equal(as_regions(mask.to(dtype), axes=2), mask.bool())
    with pytest.raises(ValueRangeError, match="threshold them first"):
        as_regions(mask * 0.5, axes=2)


def test_no_region_at_all_is_refused():
    with pytest.raises(ShapeError, match="at least one region"):
        as_regions(torch.zeros(0, 3, 4), axes=2)


def test_a_region_weighs_what_its_classes_weigh_together_each_counted_once():
    soft = torch.tensor([[[0.5, 0.0]], [[0.3, 0.75]], [[0.2, 0.25 + 1e-6]]])
    found = region_weights(soft, values=[(1, 2), (2, 2), (0,)])
    torch.testing.assert_close(found, torch.tensor([[[0.5, 1.0]], [[0.2, 0.25]], [[0.5, 0.0]]]))
    assert found.max() <= 1


def test_one_hot_weights_of_regions_are_their_masks():
    labels = torch.tensor([[0, 1, 2], [3, 3, 1]])
    values = [(1, 3), (2,), (0, 1, 2, 3)]
    found = region_weights(one_hot(labels, num_classes=4), values=values)
    assert torch.equal(found, label_regions(labels, values=values).float())
