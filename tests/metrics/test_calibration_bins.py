import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.metrics import CalibrationBins, thresholded_adaptive_calibration_error
from sfumato.metrics.calibration.fine_bins import FineBins
from strategies import seeds, shuffled_memory

SCORES = ("ece", "mce", "ace", "classwise_ace", "tace", "brier", "nll")


def softmax(rng, num_classes, size, sharpness):
    logits = sharpness * rng.standard_normal((num_classes, size))
    weights = np.exp(logits - logits.max(axis=0))
    return (weights / weights.sum(axis=0)).astype(np.float32)


def filled(probs, labels, **options):
    bins = CalibrationBins(len(probs), **options)
    bins.update(probs, labels)
    return bins.compute()


def same(one, two):
    """Equal to the bit, undefined values included."""
    return repr(dataclasses.asdict(one)) == repr(dataclasses.asdict(two))


@given(seeds, st.integers(2, 4), st.sampled_from((0.5, 3.0, 20.0)))
@settings(max_examples=25)
def test_any_order_and_split_of_the_voxels_gives_the_same_bits(seed, num_classes, sharpness):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 3000))
    probs, labels = softmax(rng, num_classes, size, sharpness), rng.integers(0, num_classes, size)
    whole = filled(probs, labels)
    order = rng.permutation(size)
    cuts = np.sort(rng.integers(0, size + 1, 5))
    parts = [CalibrationBins(num_classes) for _ in range(2)]
    for number, piece in enumerate(np.split(order, cuts)):
        parts[number % 2].update(probs[:, piece], labels[piece])
    sent = pickle.loads(pickle.dumps(parts[1]))
    parts[0].merge(sent)
    assert same(parts[0].compute(), whole)


def test_memory_order_and_device_type_change_nothing():
    rng = np.random.default_rng(4)
    probs = torch.from_numpy(softmax(rng, 3, 2 * 5 * 6 * 7, 3.0)).reshape(3, 2, 5, 6, 7).movedim(0, 1)
    labels = torch.from_numpy(rng.integers(0, 3, (2, 5, 6, 7)))
    plain = CalibrationBins(3)
    plain.update(probs.contiguous(), labels)
    for kind in (torch.uint8, torch.int32):
        odd = CalibrationBins(3)
        for item in (1, 0):
            odd.update(shuffled_memory(probs[item], rng), shuffled_memory(labels[item].to(kind), rng))
        assert same(odd.compute(), plain.compute())


def test_a_case_larger_than_a_chunk_is_counted_once(monkeypatch):
    rng = np.random.default_rng(8)
    probs, labels = softmax(rng, 2, 3 * 7 * 11, 2.0), rng.integers(0, 2, 3 * 7 * 11)
    whole = filled(probs, labels)
    monkeypatch.setattr("sfumato.metrics.calibration.probabilities.CHUNK", 10)
    grid = probs.reshape(2, 3, 7, 11), labels.reshape(3, 7, 11)
    assert same(filled(*grid), whole)
    assert same(filled(np.asfortranarray(grid[0]), np.asfortranarray(grid[1])), whole)


def test_scores_equal_plain_numpy_and_torch_definitions():
    rng = np.random.default_rng(11)
    probs = softmax(rng, 4, 5000, 2.0)
    labels = np.array([rng.choice(4, p=p / p.sum()) for p in probs.T.astype(np.float64)])
    found = filled(probs, labels)
    onehot = np.eye(4)[labels].T
    tensor = torch.from_numpy(probs.T.copy())
    assert found.voxels == 5000
    assert found.brier == pytest.approx(((probs - onehot) ** 2).sum(axis=0).mean(), abs=1e-8)
    assert found.nll == pytest.approx(
        -np.log(probs[labels, np.arange(5000)].astype(np.float64)).mean(), abs=1e-9
    )
    for norm, value in (("l1", found.ece), ("max", found.mce)):
        expected = multiclass_calibration_error(tensor, torch.from_numpy(labels), 4, n_bins=10, norm=norm)
        assert value == pytest.approx(float(expected), abs=1e-6)
    for k in range(4):
        index = np.minimum((probs[k] * 10).astype(int), 9)
        expected = sum(
            abs((labels[index == j] == k).mean() - probs[k][index == j].mean()) * (index == j).mean()
            for j in range(10)
            if (index == j).any()
        )
        assert found.classwise_ece[k] == pytest.approx(expected, abs=1e-6)
    assert found.classwise_ece_mean == pytest.approx(np.mean(found.classwise_ece))


@given(seeds, st.integers(2, 4), st.sampled_from((0.3, 3.0, 30.0)), st.sampled_from((None, 1, 2)))
@settings(max_examples=40)
def test_streaming_tace_is_as_near_to_the_exact_one_as_it_says(seed, num_classes, sharpness, digits):
    rng = np.random.default_rng(seed)
    probs = softmax(rng, num_classes, int(rng.integers(1, 2000)), sharpness)
    if digits is not None:
        probs = np.round(probs, digits)
        probs[0] = np.clip(1 - probs[1:].sum(axis=0), 0, 1)
    labels = rng.integers(0, num_classes, probs.shape[1])
    found = filled(probs, labels)
    exact = thresholded_adaptive_calibration_error(probs, labels)
    assert math.isnan(exact) == math.isnan(found.tace)
    assert math.isnan(exact) or abs(found.tace - exact) <= found.tace_error


def test_streaming_tace_bound_is_small_for_many_voxels():
    rng = np.random.default_rng(12)
    probs = softmax(rng, 3, 200_000, 2.0)
    found = filled(probs, rng.integers(0, 3, 200_000))
    exact = thresholded_adaptive_calibration_error(probs, rng.integers(0, 3, 200_000))
    assert found.tace_error < 3e-3
    assert exact > 10 * found.tace_error  # the bound says something about this model


def test_adaptive_error_of_the_top_label_is_within_its_bound():
    rng = np.random.default_rng(13)
    probs, labels = softmax(rng, 3, 4000, 2.0), rng.integers(0, 3, 4000)
    found = filled(probs, labels)
    order = np.argsort(probs.max(axis=0), kind="stable")
    hit, confidence = (probs.argmax(axis=0) == labels)[order], probs.max(axis=0)[order]
    expected = np.mean(
        [abs(hit[r].mean() - confidence[r].mean(dtype=np.float64)) for r in np.split(np.arange(4000), 10)]
    )
    assert abs(found.ace - expected) <= found.ace_error


def test_confidence_zero_and_one_fall_into_the_outer_bins():
    probs = torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
    found = filled(probs, torch.tensor([0, 1, 0]))
    assert found.reliability.voxels == (0, 0, 0, 0, 0, 1, 0, 0, 0, 2)
    assert found.classwise_reliability[1].voxels == (1, 0, 0, 0, 0, 1, 0, 0, 0, 1)
    assert found.reliability.confidence[9] == found.reliability.accuracy[9] == 1.0
    assert math.isnan(found.reliability.accuracy[0])


def test_a_reliability_diagram_worked_out_by_hand():
    confidence = torch.tensor([0.75, 0.75, 0.625, 0.875])
    found = filled(torch.stack([1 - confidence, confidence]), torch.tensor([1, 0, 1, 1]), num_bins=4)
    assert found.reliability.voxels == (0, 0, 1, 3)
    assert found.reliability.confidence[2:] == pytest.approx((0.625, (0.75 + 0.75 + 0.875) / 3))
    assert found.reliability.accuracy[2:] == pytest.approx((1.0, 2 / 3))
    assert found.ece == pytest.approx((0.375 + 3 * (2.375 / 3 - 2 / 3)) / 4)
    assert found.mce == pytest.approx(0.375)


def test_a_mask_chooses_the_voxels_and_hides_other_labels():
    rng = np.random.default_rng(6)
    probs, labels = softmax(rng, 3, 60, 2.0).reshape(3, 3, 4, 5), rng.integers(0, 3, (3, 4, 5))
    chosen = rng.random((3, 4, 5)) < 0.5
    marked = np.where(chosen, labels, 255)
    bins = CalibrationBins(3)
    bins.update(probs, marked, mask=chosen)
    assert same(bins.compute(), filled(probs[:, chosen], labels[chosen]))


def test_without_voxels_every_score_is_undefined_and_nothing_warns():
    for bins in (CalibrationBins(3), CalibrationBins(3)):
        bins.update(torch.zeros(3, 0), torch.zeros(0, dtype=torch.int64))
        found = bins.compute()
        assert found.voxels == 0
        assert all(math.isnan(getattr(found, name)) for name in SCORES)


def test_zero_probability_of_the_right_class_gives_a_large_finite_loss():
    found = filled(torch.tensor([[1.0], [0.0]]), torch.tensor([1]))
    assert found.nll == pytest.approx(-math.log(np.finfo(np.float32).tiny))
    assert found.brier == 2.0


def test_sums_go_beyond_what_an_int64_of_this_fineness_holds():
    bins, other = CalibrationBins(2), CalibrationBins(2)
    bins.update(torch.tensor([[0.25], [0.75]]), torch.tensor([1]))
    for _ in range(40):  # 2^40 voxels at 2^32 units each
        other.merge(bins)
        bins, other = other, bins
        other.merge(bins)
    assert bins.compute().voxels > 2**31
    assert bins.compute().reliability.confidence[7] == 0.75


def test_memory_does_not_grow_with_the_number_of_voxels():
    bins = CalibrationBins(3)
    before = len(pickle.dumps(bins))
    rng = np.random.default_rng(1)
    for _ in range(5):
        bins.update(softmax(rng, 3, 10_000, 1.0), rng.integers(0, 3, 10_000))
    assert len(pickle.dumps(bins)) <= before + 100


def test_a_batch_that_is_refused_leaves_the_counts_as_they_were():
    probs = torch.full((2, 2, 3), 0.5)
    bins = CalibrationBins(2)
    bins.update(probs, torch.zeros(2, 3, dtype=torch.int64))
    before = bins.compute()
    for labels, error in (
        (torch.tensor([[0, 0, 0], [0, 0, 7]]), ValueRangeError),
        (torch.zeros(2, 4), ShapeError),
    ):
        with pytest.raises(error):
            bins.update(probs, labels)
        assert same(bins.compute(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1"),
        ({"num_classes": 2, "num_bins": 0}, "num_bins is 0"),
        ({"num_classes": 2, "threshold": 1.0}, "threshold is 1.0"),
    ],
)
def test_impossible_settings_are_named(options, message):
    with pytest.raises(ValueRangeError, match=message):
        CalibrationBins(**options)


def test_bins_of_other_settings_are_not_merged():
    with pytest.raises(ValueRangeError, match="cannot be merged"):
        CalibrationBins(2).merge(CalibrationBins(2, num_bins=15))


def test_a_wrong_mask_and_a_wrong_number_of_classes_are_named():
    bins, probs, labels = CalibrationBins(2), torch.full((2, 3), 0.5), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(DTypeError, match=r"mask has dtype torch\.int64: it must be boolean"):
        bins.update(probs, labels, mask=labels)
    with pytest.raises(ShapeError, match="mask has shape"):
        bins.update(probs, labels, mask=torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ShapeError, match="probs has 3 classes, but the bins were made for 2"):
        bins.update(torch.full((3, 3), 1 / 3), labels)


@given(st.sampled_from((1, 3, 10, 37)), st.sampled_from((0.0, 1e-3, 0.3)), seeds)
@settings(max_examples=20)
def test_fine_bins_are_those_that_a_search_of_all_edges_finds(num_bins, threshold, seed):
    fine = FineBins.build(num_bins, threshold)
    rng = np.random.default_rng(seed)
    edges = fine.lower[1:]
    logits = rng.normal(0, 12, 20_000)
    probs = np.concatenate(
        [
            edges,
            np.nextafter(edges, np.float32(0)),
            np.nextafter(edges, np.float32(1)),
            rng.random(20_000),
            1 / (1 + np.exp(-logits)),
            [-0.0, 0.0, 1e-45, 0.5, np.nextafter(np.float32(0.5), np.float32(0)), 1.0],
        ]
    ).astype(np.float32)
    probs = probs[probs <= 1]
    np.testing.assert_array_equal(fine.index(probs), np.searchsorted(edges, probs, side="right"))
