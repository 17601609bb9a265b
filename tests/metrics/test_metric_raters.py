import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import ShapeError
from sfumato.metrics import (
    dice,
    generalised_energy_distance,
    iou,
    mean_rater_agreement,
    qubiq_score,
    rater_agreement,
    rater_scores,
    relative_volume_difference,
    soft_consensus,
    soft_dice,
    soft_iou,
)
from strategies import seeds, shapes


@st.composite
def rater_masks(draw, *, sets=2):
    """``sets`` stacks of masks ``(D, R, *S)``, empty ones among them."""
    shape, rng = draw(shapes(max_side=4)), np.random.default_rng(draw(seeds))
    shares = [draw(st.sampled_from((0.0, 0.4, 0.8))) for _ in range(sets)]
    return [torch.from_numpy(rng.random((draw(st.integers(1, 4)), 2, *shape)) < share) for share in shares]


@given(rater_masks())
def test_scores_against_each_rater_their_mean_and_maximum(stacks):
    samples, raters = stacks
    found = rater_scores(samples[0], raters)
    axes = samples.ndim - 2
    expected = [dice(samples[0], rater, spatial_axes=axes).tolist() for rater in raters]
    assert found.per_rater.tolist() == expected
    np.testing.assert_allclose(found.mean.numpy(), np.mean(expected, axis=0))
    assert found.highest.tolist() == np.max(expected, axis=0).tolist()
    assert found.undefined.tolist() == [0, 0]


def test_raters_against_whom_a_score_is_undefined_are_left_out_and_counted():
    raters = torch.zeros(3, 2, 2, 3, dtype=torch.bool)
    raters[0, 0, 0, :2] = True
    raters[1, 0, 0, :1] = True
    pred = torch.zeros(2, 2, 3, dtype=torch.bool)
    pred[0, 0, 0] = True
    found = rater_scores(pred, raters, score=relative_volume_difference)
    assert found.mean[0].item() == pytest.approx((0.5 + 0.0) / 2)
    assert found.highest[0].item() == 0.5
    assert math.isnan(found.mean[1])
    assert math.isnan(found.highest[1])
    assert found.undefined.tolist() == [1, 3]


@given(rater_masks(sets=1))
def test_agreement_is_every_rater_against_every_other(stacks):
    (raters,) = stacks
    score = partial(iou, spatial_axes=raters.ndim - 2)
    table = rater_agreement(raters, score=score)
    for i, j in itertools.product(range(len(raters)), repeat=2):
        assert torch.equal(table[i, j], score(raters[i], raters[j]))
    pairs = [table[i, j].numpy() for i, j in itertools.permutations(range(len(raters)), 2)]
    expected = np.mean(pairs, axis=0) if pairs else np.full(2, math.nan)
    np.testing.assert_allclose(mean_rater_agreement(raters, score=score).numpy(), expected)


@given(rater_masks())
def test_energy_distance_equals_its_formula_pair_by_pair(stacks):
    samples, raters = stacks

    def apart(one, two):
        union = (one | two).sum()
        return 0.0 if union == 0 else 1 - ((one & two).sum() / union)

    def mean(first, second, region):
        return np.mean([apart(a[region], b[region]) for a in first.numpy() for b in second.numpy()])

    for region, found in enumerate(generalised_energy_distance(samples, raters).tolist()):
        expected = (
            2 * mean(samples, raters, region) - mean(samples, samples, region) - mean(raters, raters, region)
        )
        assert found == pytest.approx(expected, abs=1e-12)


@given(rater_masks(sets=1))
def test_energy_distance_of_the_raters_to_themselves_is_zero(stacks):
    assert generalised_energy_distance(stacks[0], stacks[0].flip(0)).tolist() == pytest.approx(
        [0, 0], abs=1e-12
    )


def test_the_soft_consensus_is_the_share_of_raters_and_scores_one_against_itself():
    raters = torch.tensor([[[[1, 1, 0]]], [[[1, 0, 0]]], [[[1, 1, 0]]]]).bool()
    consensus = soft_consensus(raters)
    assert consensus.tolist() == torch.tensor([[[3.0, 2.0, 0.0]]]).div(3).tolist()
    assert consensus.dtype == torch.float32
    assert soft_dice(consensus, consensus).item() == soft_iou(consensus, consensus).item() == 1


def test_qubiq_score_is_the_mean_dice_over_nine_thresholds():
    raters = torch.from_numpy(np.random.default_rng(0).random((10, 1, 4, 5)) < 0.5)
    ref = soft_consensus(raters)
    pred = torch.from_numpy(np.random.default_rng(1).random((1, 4, 5), dtype=np.float32))
    expected = []
    for tenths in range(1, 10):
        one, two = pred.numpy() >= np.float32(tenths / 10), raters.numpy().sum(axis=0) >= tenths
        size = one.sum() + two.sum()
        expected.append(2 * (one & two).sum() / size if size else 1.0)
    assert qubiq_score(pred, ref).item() == pytest.approx(np.mean(expected))
    assert qubiq_score(ref, ref).item() == 1.0
    assert qubiq_score(ref * 0, ref).item() < 1.0
    assert qubiq_score(ref * 0, ref * 0).item() == 1.0


def test_wrong_input_is_named():
    masks = torch.zeros(2, 1, 3, 4, dtype=torch.bool)
    with pytest.raises(ShapeError, match="at least one of D"):
        rater_scores(masks[0], masks[:0])
    with pytest.raises(ShapeError, match="one rater's reference"):
        rater_scores(masks[0, :, 1:], masks)
    with pytest.raises(ShapeError, match="one sample"):
        generalised_energy_distance(masks[:, :, 1:], masks)
    with pytest.raises(ShapeError, match="thresholds is empty"):
        qubiq_score(masks[0].float(), masks[0].float(), thresholds=())
