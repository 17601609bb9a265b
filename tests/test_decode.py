import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.decode import (
    DECODERS,
    THRESHOLDS,
    ThresholdSearch,
    argmax_labels,
    threshold_labels,
    threshold_regions,
    tune_threshold,
)
from sfumato.errors import InputError, ShapeError, ValueRangeError
from sfumato.structures import with_background
from strategies import shapes


@given(shapes(), st.integers(0, 99))
def test_labels_are_the_largest_channel_above_the_threshold(shape, seed):
    prediction = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, (3, *shape)) / 4).float()
    labels, regions = (
        threshold_labels(prediction, threshold=0.5),
        threshold_regions(prediction, threshold=0.5),
    )
    best = argmax_labels(prediction)
    for voxel in np.ndindex(*shape):
        values = prediction[(slice(None), *voxel)].tolist()
        above = [k for k in range(3) if values[k] > 0.5]
        assert regions[(slice(None), *voxel)].nonzero().flatten().tolist() == above
        assert labels[voxel] == (values.index(max(values)) + 1 if above else 0)
        assert best[voxel] == values.index(max(values))
    assert labels.dtype == best.dtype == torch.int64


def test_a_value_at_the_threshold_is_not_above_it():
    prediction = torch.tensor([[[0.0, 1e-6, -1e-6]]])
    assert threshold_regions(prediction, threshold=0.0).tolist() == [[[False, True, False]]]
    assert threshold_labels(prediction, threshold=0.0).tolist() == [[0, 1, 0]]


def test_decoders_read_the_kind_they_are_for():
    prediction = torch.tensor([[0.6, 0.2, 0.4], [0.4, 0.3, 0.55]])
    assert DECODERS["argmax"].labels(prediction).tolist() == [0, 1, 1]
    assert DECODERS["argmax"].regions(prediction).tolist() == [[False, True, True]]
    assert DECODERS["half"].labels(prediction).tolist() == [1, 0, 2]
    assert DECODERS["tuned"].labels(prediction, threshold=0.25).tolist() == [1, 2, 2]
    assert (
        DECODERS["zero"].regions(2 * prediction - 1).tolist() == DECODERS["half"].regions(prediction).tolist()
    )
    with pytest.raises(ValueRangeError, match="the decoder argmax takes no threshold, but one is given"):
        DECODERS["argmax"].labels(prediction, threshold=0.5)


def slow_best(predictions, references, thresholds):
    means = []
    for threshold in thresholds:
        scores = []
        for prediction, reference in zip(predictions, references, strict=True):
            for p, r in zip(prediction > threshold, reference, strict=True):
                size = int(p.sum()) + int(r.sum())
                scores.append(2 * int((p & r).sum()) / size if size else 1.0)
        means.append(sum(scores) / len(scores))
    best = [t for t, mean in zip(thresholds, means, strict=True) if mean >= max(means) - 1e-12]
    return min(best, key=lambda t: (round(abs(t - 0.5), 6), t)), means


@given(st.integers(0, 999), st.sampled_from(((1, 5, 6), (2, 3, 4, 5), (3, 1, 1))))
def test_the_tuned_threshold_has_the_highest_mean_dice(seed, shape):
    rng = np.random.default_rng(seed)
    references = [torch.from_numpy(rng.random(shape) > rng.choice((0.3, 0.8, 1.0))) for _ in range(3)]
    predictions = [
        (0.5 * mask + 0.6 * torch.from_numpy(rng.random(shape)) - 0.1).clamp(0, 1).float()
        for mask in references
    ]
    best, means = slow_best(predictions, references, THRESHOLDS)
    assert tune_threshold(iter(predictions), iter(references)) == best
    search = ThresholdSearch()
    for prediction, reference in zip(predictions, references, strict=True):
        search.update(prediction, reference)
    assert list(search.mean_dice().values()) == pytest.approx(means)


def test_the_candidates_run_from_005_to_095_in_steps_of_005():
    assert list(THRESHOLDS) == pytest.approx([0.05 * step for step in range(1, 20)])


def test_among_equal_thresholds_the_nearest_to_one_half_wins():
    reference = torch.tensor([[[True, False]]])
    sure = [torch.tensor([[[1.0, 0.0]]])]
    assert tune_threshold(sure, [reference]) == 0.5
    low = [torch.tensor([[[0.32, 0.12]]])]
    assert tune_threshold(low, [reference]) == 0.3
    assert tune_threshold(sure, [reference], thresholds=(0.4, 0.6)) == 0.4


def test_a_prediction_at_a_threshold_is_not_above_it_in_the_search_either():
    reference = torch.tensor([[[True, False]]])
    prediction = torch.tensor([[[0.9, 0.5]]])
    search = ThresholdSearch((0.45, 0.5))
    search.update(prediction, reference)
    assert search.mean_dice() == {0.45: pytest.approx(2 / 3), 0.5: 1.0}


def test_empty_cases_count_as_the_table_says():
    search = ThresholdSearch((0.5,))
    empty, full = torch.zeros(1, 3, 4), torch.ones(1, 3, 4)
    for prediction, reference in ((empty, empty), (full, empty), (empty, full), (full, full)):
        search.update(prediction, reference.bool())
    assert search.mean_dice() == {0.5: 0.5}


@given(st.integers(0, 99), st.booleans())
def test_region_probabilities_become_class_probabilities_that_sum_to_one(seed, batched):
    shape = (2, 3, 4, 5) if batched else (3, 4, 5)
    regions = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    axis = 1 if batched else 0
    probs = with_background(regions, axis=axis).movedim(axis, 0)
    regions = regions.movedim(axis, 0)
    torch.testing.assert_close(probs.sum(0), torch.ones(probs.shape[1:]))
    room = regions.sum(0) <= 1
    torch.testing.assert_close(probs[1:, room], regions[:, room])
    assert (probs[0, ~room] == 0).all()
    assert torch.equal(probs[1:].argmax(0), regions.argmax(0))


def test_what_does_not_fit_is_named():
    one = torch.zeros(1, 2, 2)
    with pytest.raises(InputError, match="more predictions than references"):
        tune_threshold([one, one], [one.bool()])
    with pytest.raises(InputError, match="more references than predictions"):
        tune_threshold([one], itertools.repeat(one.bool(), 2))
    with pytest.raises(InputError, match="no case was counted"):
        tune_threshold([], [])
    with pytest.raises(ShapeError, match="reference has shape"):
        tune_threshold([one], [torch.zeros(2, 2, 2).bool()])
    for thresholds in ((), (0.5, 0.4), (0.5, 1.5)):
        with pytest.raises(ValueRangeError, match="threshold"):
            ThresholdSearch(thresholds)
    with pytest.raises(ShapeError, match=r"give \(channels, \*S\)"):
        argmax_labels(torch.zeros(3))
