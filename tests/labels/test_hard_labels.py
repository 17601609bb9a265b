import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import DTypeError, ShapeError
from sfumato.labels import average_raters, hard_labels, majority_vote, one_hot


def test_the_largest_weight_wins_and_the_lowest_of_equals():
    soft = torch.tensor([[[0.4, 0.2, 0.5, 0.0]], [[0.35, 0.6, 0.5, 0.5]], [[0.25, 0.2, 0.0, 0.5]]])
    assert hard_labels(soft).tolist() == [[0, 1, 0, 1]]


def test_of_two_classes_foreground_is_above_one_half():
    weight = np.array([[0.0, 0.499, 0.5], [np.nextafter(np.float32(0.5), 1), 0.75, 1.0]], np.float32)
    found = hard_labels(np.stack([1 - weight, weight]))
    np.testing.assert_array_equal(found, weight > 0.5)


@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_of_averaged_raters_it_is_their_majority_vote(raters, classes, seed):
    labels = torch.from_numpy(np.random.default_rng(seed).integers(classes, size=(raters, 3, 4, 2)))
    soft = average_raters(torch.stack([one_hot(each, num_classes=classes) for each in labels]))
    assert torch.equal(hard_labels(soft), majority_vote(labels, num_classes=classes))


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (2, 0, 4), (2, 1, 1, 1)])
def test_one_class_one_voxel_and_none_have_labels(shape):
    soft = torch.ones(shape) / shape[0]
    found = hard_labels(soft)
    assert found.dtype == torch.int64
    assert found.shape == shape[1:]
    assert not found.any()


def test_what_is_no_weight_is_named():
    with pytest.raises(DTypeError, match=r"soft has dtype torch.int64: give class weights"):
        hard_labels(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ShapeError, match=r"soft has shape \(3,\)"):
        hard_labels(torch.zeros(3))
