import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.labels import average_raters, majority_vote, one_hot, staple, staple_probabilities


def raters_of(shape, *, raters=5, classes=3, error=0.2, seed=0):
    """The truth, and raters who mistake a share of the voxels; the last one mistakes half of them."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, dtype=np.int64)
    truth[tuple(slice(side // 4, 3 * side // 4) for side in shape)] = 1
    if classes > 2:
        truth[: shape[0] // 4] = 2
    answers = []
    for index in range(raters):
        wrong = rng.random(shape) < (0.5 if index == raters - 1 else error)
        answers.append(np.where(wrong, rng.integers(0, classes, shape), truth))
    return torch.from_numpy(truth), torch.from_numpy(np.stack(answers))


def test_the_average_gives_every_rater_the_same_say():
    labels = torch.tensor([[[0, 1]], [[1, 1]], [[2, 1]], [[2, 1]]])
    soft = average_raters(torch.stack([one_hot(each, num_classes=3) for each in labels]))
    assert soft[:, 0].T.tolist() == [[0.25, 0.25, 0.5], [0, 1, 0]]
    with pytest.raises(DTypeError, match="not class indices"):
        average_raters(labels[:, None])
    with pytest.raises(ShapeError, match="D >= 1"):
        average_raters(torch.zeros(0, 2, 3, 3))


@given(st.integers(1, 6), st.integers(2, 4), st.integers(0, 9))
def test_the_majority_is_the_mode_and_ties_go_to_the_lowest_index(raters, classes, seed):
    labels = np.random.default_rng(seed).integers(0, classes, (raters, 3, 4))
    voted = majority_vote(labels, num_classes=classes)
    for voxel in np.ndindex(3, 4):
        counts = np.bincount(labels[(slice(None), *voxel)], minlength=classes)
        assert voted[voxel] == min(k for k in range(classes) if counts[k] == counts.max())


@pytest.mark.parametrize("shape", [(24, 30), (12, 10, 14)])
def test_staple_of_two_classes_agrees_with_itk(shape):
    sitk = pytest.importorskip("SimpleITK")
    _, labels = raters_of(shape, classes=2)
    images = [sitk.GetImageFromArray(each.numpy().astype(np.uint8)) for each in labels]
    theirs = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0, 1.0, 1000))
    ours = staple_probabilities(labels, num_classes=2)
    torch.testing.assert_close(ours[1], torch.from_numpy(theirs).float(), atol=1e-4, rtol=0)


def test_staple_of_several_classes_agrees_with_itk():
    sitk = pytest.importorskip("SimpleITK")
    _, labels = raters_of((30, 41), classes=3)
    images = [sitk.GetImageFromArray(each.numpy().astype(np.uint8)) for each in labels]
    voter = sitk.MultiLabelSTAPLEImageFilter()
    voter.SetTerminationUpdateThreshold(1e-6)
    theirs = torch.from_numpy(sitk.GetArrayFromImage(voter.Execute(images)).astype(np.int64))
    assert (staple(labels, num_classes=3) == theirs).float().mean() > 0.999


def test_staple_trusts_the_raters_who_agree_more_than_a_vote_does():
    truth, labels = raters_of((40, 40), raters=5, error=0.05, classes=3)
    careless = raters_of((40, 40), raters=3, error=0.6, classes=3, seed=1)[1]
    labels = torch.cat([labels[:2], careless])
    wrong_vote = (majority_vote(labels, num_classes=3) != truth).float().mean()
    wrong_staple = (staple(labels, num_classes=3) != truth).float().mean()
    assert wrong_staple < wrong_vote


def test_staple_probabilities_sum_to_one_and_an_unused_class_has_none():
    _, labels = raters_of((9, 8, 7), classes=3)
    soft = staple_probabilities(labels, num_classes=5)
    torch.testing.assert_close(soft.sum(0), torch.ones(9, 8, 7))
    assert soft[3:].abs().max() == 0


@pytest.mark.parametrize("value", [0, 2])
def test_raters_who_agree_everywhere_are_right(value):
    labels = torch.full((3, 4, 5), value)
    assert torch.equal(staple(labels, num_classes=3), labels[0])


def test_one_rater_alone_is_right():
    _, labels = raters_of((8, 9), raters=1)
    assert torch.equal(staple_probabilities(labels, num_classes=3), one_hot(labels[0], num_classes=3))


def test_more_voxels_than_float32_can_count_give_what_few_give():
    # 2^24 + 1 is the first count that a sum in float32 cannot reach.
    _, few = raters_of((8, 9), raters=2, classes=2)
    times = 2**24 // 72 + 5
    many = few.to(torch.uint8)[:, :, None].expand(2, 8, times, 9).reshape(2, 8 * times, 9)
    assert many[0].numel() > 2**24
    soft = staple_probabilities(many, num_classes=2).reshape(2, 8, times, 9)
    expected = staple_probabilities(few, num_classes=2)
    torch.testing.assert_close(soft[:, :, 0], expected)
    torch.testing.assert_close(soft[:, :, -1], expected)


def test_very_many_raters_agree_with_few_who_say_the_same():
    _, few = raters_of((8, 9), raters=3, classes=3)
    many = few.repeat_interleave(9, dim=0)  # 3^27 conceivable answers: more than a table holds
    one, two = (staple(each, num_classes=3) for each in (many, many.flip(0)))
    assert torch.equal(one, two)
    assert (one == majority_vote(few, num_classes=3)).float().mean() > 0.8


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="D >= 1"):
        majority_vote(torch.zeros(0, 2, 2, dtype=torch.int64), num_classes=2)
    with pytest.raises(ValueRangeError, match="num_classes is 2"):
        staple(torch.full((2, 2, 2), 2), num_classes=2)
    with pytest.raises(DTypeError, match="labels_per_rater has dtype"):
        staple(torch.zeros(2, 2, 2), num_classes=2)
