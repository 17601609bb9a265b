import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.metrics import (
    expected_calibration_error,
    fit_temperature,
    thresholded_adaptive_calibration_error,
)
from strategies import seeds, shuffled_memory


def probabilities(rng, shape, num_classes, *, sharpness=2.0, digits=None):
    """Softmax of noise, ``(K, *S)`` float32; rounded to few digits there are many ties."""
    logits = sharpness * rng.standard_normal((num_classes, *shape))
    weights = np.exp(logits - logits.max(axis=0))
    probs = weights / weights.sum(axis=0)
    if digits is not None:
        tenths = np.apply_along_axis(lambda p: rng.multinomial(10**digits, p / p.sum()), 0, probs)
        probs = tenths / 10**digits
    return probs.astype(np.float32)


def ece_by_definition(probs, labels, num_bins):
    """Voxel by voxel; a bin is closed on the left, the last one on both sides."""
    bins = [[] for _ in range(num_bins)]
    edges = np.array([np.float32(j / num_bins) for j in range(1, num_bins)])
    for index in np.ndindex(labels.shape):
        voxel = probs[(slice(None), *index)]
        winner = int(np.argmax(voxel))
        bins[int((edges <= voxel[winner]).sum())].append((float(voxel[winner]), winner == labels[index]))
    total = labels.size
    return sum(
        len(b) / total * abs(np.mean([hit for _, hit in b]) - np.mean([p for p, _ in b])) for b in bins if b
    )


def tace_by_definition(probs, labels, num_bins, threshold):
    """Sorted pairs, tied hits replaced by their mean, cut into runs of nearly equal length."""
    gaps = []
    for k in range(1, len(probs)):
        pairs = sorted(
            (float(p), float(label == k))
            for p, label in zip(probs[k].ravel(), labels.ravel(), strict=True)
            if p > np.float32(threshold)
        )
        hits = {}
        for p, hit in pairs:
            hits.setdefault(p, []).append(hit)
        pairs = [(p, np.mean(hits[p])) for p, _ in pairs]
        n, bins = len(pairs), min(num_bins, len(pairs))
        for j in range(bins):
            run = pairs[j * n // bins : (j + 1) * n // bins]
            gaps.append(abs(np.mean([h for _, h in run]) - np.mean([p for p, _ in run])))
    return np.mean(gaps) if gaps else math.nan


@st.composite
def calibration_cases(draw):
    rng = np.random.default_rng(draw(seeds))
    shape = draw(st.sampled_from([(3, 5), (1, 7), (2, 3, 4), (5, 1, 3)]))
    num_classes = draw(st.integers(2, 4))
    probs = probabilities(rng, shape, num_classes, digits=draw(st.sampled_from([None, 1])))
    return probs, rng.integers(0, num_classes, shape), draw(st.integers(1, 12))


@given(calibration_cases())
@settings(max_examples=60)
def test_ece_equals_its_definition_voxel_by_voxel(case):
    probs, labels, num_bins = case
    found = expected_calibration_error(probs, labels, num_bins=num_bins)
    assert found == pytest.approx(ece_by_definition(probs, labels, num_bins), abs=1e-9)


@given(calibration_cases())
@settings(max_examples=60)
def test_tace_equals_its_definition_with_shared_ties(case):
    probs, labels, num_bins = case
    found = thresholded_adaptive_calibration_error(probs, labels, num_bins=num_bins, threshold=0.05)
    expected = tace_by_definition(probs, labels, num_bins, 0.05)
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_tace_without_ties_is_the_plain_split_of_the_sorted_voxels():
    rng = np.random.default_rng(5)
    probs = probabilities(rng, (11, 13), 3)
    labels = rng.integers(0, 3, (11, 13))
    gaps = []
    for k in (1, 2):
        order = np.argsort(probs[k].ravel(), kind="stable")
        kept = order[probs[k].ravel()[order] > 1e-3]
        n = len(kept)
        for j in range(10):
            run = kept[j * n // 10 : (j + 1) * n // 10]
            gaps.append(abs((labels.ravel()[run] == k).mean() - probs[k].ravel()[run].mean(dtype=np.float64)))
    assert thresholded_adaptive_calibration_error(probs, labels) == pytest.approx(np.mean(gaps), abs=1e-12)


@pytest.mark.parametrize("num_bins", [5, 10, 15])
def test_ece_agrees_with_torchmetrics(num_bins):
    rng = np.random.default_rng(num_bins)
    probs = torch.from_numpy(np.stack([probabilities(rng, (6, 7, 8), 4) for _ in range(2)]))
    labels = torch.from_numpy(rng.integers(0, 4, (2, 6, 7, 8)))
    expected = multiclass_calibration_error(probs, labels, 4, n_bins=num_bins)
    assert expected_calibration_error(probs, labels, num_bins=num_bins) == pytest.approx(
        float(expected), abs=1e-6
    )


def test_confidence_one_belongs_to_the_last_bin_and_is_no_bin_of_its_own():
    # Nine voxels at 0.95 (all wrong) and one at 1.0 (right): in one bin the gap is |0.1 - 0.955|.
    confidence = torch.tensor([0.95] * 9 + [1.0])
    probs = torch.stack([1 - confidence, confidence])
    labels = torch.tensor([0] * 9 + [1])
    assert expected_calibration_error(probs, labels) == pytest.approx(0.855, abs=1e-6)


@pytest.mark.parametrize("edge", [0.1 * j for j in range(5, 11)])
def test_a_confidence_on_an_edge_belongs_to_the_upper_bin(edge):
    # The voxel on the edge is wrong, its right neighbour just below: apart, their gaps do not cancel.
    below = np.nextafter(np.float32(edge), np.float32(0))
    probs = np.stack([[edge, below], [1 - edge, 1 - below]]).astype(np.float32)
    together = round(edge, 1) in (0.5, 1.0)  # no bin parts these two: below 0.5 the other class wins
    found = expected_calibration_error(probs[:, :, None], np.array([[1], [0]]))
    apart = (edge + (1 - edge)) / 2
    assert found == pytest.approx(abs(0.5 - edge) if together else apart, abs=1e-6)


def test_ignore_background_counts_foreground_references_only():
    rng = np.random.default_rng(2)
    probs, labels = probabilities(rng, (5, 6, 7), 3), rng.integers(0, 3, (5, 6, 7))
    inside = labels > 0
    expected = expected_calibration_error(probs[:, inside], labels[inside])
    assert expected_calibration_error(probs, labels, ignore_background=True) == expected
    assert math.isnan(expected_calibration_error(probs, labels * 0, ignore_background=True))


def test_a_perfectly_calibrated_and_a_confidently_wrong_model_score_zero_and_one():
    labels = torch.tensor([[0, 1], [1, 0]])
    right = torch.nn.functional.one_hot(labels, 2).movedim(-1, 0).float()
    assert expected_calibration_error(right, labels) == 0
    assert expected_calibration_error(right, 1 - labels) == 1
    assert thresholded_adaptive_calibration_error(right, labels) == 0
    assert thresholded_adaptive_calibration_error(right, 1 - labels) == 1


def test_tace_leaves_out_background_and_low_probabilities():
    probs = torch.tensor([[0.9995, 0.4], [0.0005, 0.6]])
    probs, labels = probs[..., None], torch.tensor([[1], [1]])
    assert thresholded_adaptive_calibration_error(probs, labels) == pytest.approx(0.4)
    assert thresholded_adaptive_calibration_error(probs, labels, threshold=0) == pytest.approx(
        (0.9995 + 0.4) / 2
    )


def test_tace_is_undefined_where_no_foreground_probability_is_above_the_threshold():
    probs = torch.stack([torch.ones(3, 4), torch.zeros(3, 4)])
    assert math.isnan(thresholded_adaptive_calibration_error(probs, torch.ones(3, 4, dtype=torch.int64)))


def test_memory_order_and_layout_change_nothing():
    rng = np.random.default_rng(7)
    probs, labels = probabilities(rng, (3, 6, 7, 8), 3), rng.integers(0, 3, (3, 6, 7, 8))
    batch = torch.from_numpy(probs).movedim(0, 1)  # (B, K, *S) with classes outermost in memory
    plain = expected_calibration_error(batch.contiguous(), labels)
    tace = thresholded_adaptive_calibration_error(batch.contiguous(), labels)
    for _ in range(4):
        odd_probs = shuffled_memory(batch, rng)
        odd_labels = shuffled_memory(torch.from_numpy(labels), rng)
        assert expected_calibration_error(odd_probs, odd_labels) == plain
        assert thresholded_adaptive_calibration_error(odd_probs, odd_labels) == tace
    flipped = np.ascontiguousarray(batch.numpy())[:, :, ::-1], labels[:, ::-1]
    assert expected_calibration_error(*flipped) == plain


def test_one_case_with_as_many_slices_as_classes_is_read_as_one_case():
    rng = np.random.default_rng(10)
    probs, labels = probabilities(rng, (3, 4, 5), 3), rng.integers(0, 3, (3, 4, 5))
    for metric in (expected_calibration_error, thresholded_adaptive_calibration_error):
        assert metric(probs, labels) == metric(probs.reshape(3, -1), labels.ravel())


def test_a_batch_of_as_many_items_as_classes_is_read_as_a_batch():
    rng = np.random.default_rng(9)
    probs = np.stack([probabilities(rng, (4, 5), 2) for _ in range(2)])
    labels = rng.integers(0, 2, (2, 4, 5))
    joined = expected_calibration_error(np.concatenate(list(probs), axis=1), np.concatenate(list(labels)))
    assert expected_calibration_error(probs, labels) == joined


def test_logits_that_may_be_a_batch_or_one_case_are_not_guessed():
    logits, labels = torch.randn(2, 2, 4, 5), torch.zeros(2, 4, 5, dtype=torch.int64)
    with pytest.raises(ShapeError, match=r"may be a batch .* one case .*: give one case at a time"):
        fit_temperature([(logits, labels)])
    pairs = [(logits[item][None], labels[item][None]) for item in range(2)]
    assert fit_temperature(pairs) > 0
    assert fit_temperature([(logits[None], labels[None])]) > 0


@pytest.mark.parametrize("metric", [expected_calibration_error, thresholded_adaptive_calibration_error])
@pytest.mark.parametrize(
    ("probs", "labels", "error", "message"),
    [
        (torch.full((2, 3), 0.5), torch.zeros(4).long(), ShapeError, r"probs has shape \(2, 3\) and labels"),
        (torch.ones(1, 3), torch.zeros(3).long(), ShapeError, "at least two"),
        (torch.full((2, 3), 0.5), torch.zeros(3), DTypeError, "must be integers"),
        (torch.full((2, 3), 0.5), torch.full((3,), 2), ValueRangeError, r"values 2 \.\. 2"),
        (torch.full((2, 3), 0.9), torch.zeros(3).long(), ValueRangeError, "sum to 1.8"),
        (torch.tensor([[1.5], [-0.5]]), torch.zeros(1).long(), ValueRangeError, r"-0.5 \.\. 1.5"),
        (torch.tensor([[math.nan], [0.5]]), torch.zeros(1).long(), ValueRangeError, "probs holds values nan"),
        (torch.ones(2, 3, dtype=torch.int64), torch.zeros(3).long(), DTypeError, "floating point"),
    ],
)
def test_wrong_input_is_named(metric, probs, labels, error, message):
    with pytest.raises(error, match=message):
        metric(probs, labels)


@pytest.mark.parametrize("metric", [expected_calibration_error, thresholded_adaptive_calibration_error])
def test_no_bin_at_all_is_refused(metric):
    with pytest.raises(ValueRangeError, match="num_bins is 0"):
        metric(torch.full((2, 3), 0.5), torch.zeros(3).long(), num_bins=0)
