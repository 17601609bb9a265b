"""Rows of several raters, against sums over all pairs written out."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import ShapeError
from sfumato.evaluation import Origin, Settings
from sfumato.evaluation.case import RATER_MAP_METRICS, RATER_MASK_METRICS
from sfumato.evaluation.raters import evaluate_agreement, evaluate_rater_maps, evaluate_rater_masks
from strategies import seeds, shapes

ORIGIN = Origin(run="ce-seed1-fold0", method="ce", dataset="made", seed=1, fold=0, case="one")
STRUCTURES = {"whole": (1, 2), "core": (2,)}


def overlap(one, two):
    """Dice and IoU of two NumPy masks; nothing agrees with nothing."""
    both, size = (one & two).sum(), one.sum() + two.sum()
    return (2 * both / size, both / (size - both)) if size else (1.0, 1.0)


@st.composite
def cases(draw):
    shape, rng = draw(shapes(max_side=5)), np.random.default_rng(draw(seeds))
    share = draw(st.sampled_from((0.0, 0.1, 0.6)))
    drawn = (rng.random((draw(st.integers(2, 4)), *shape)) < share) * rng.integers(1, 3, shape)
    return drawn.astype(np.uint8), rng.integers(0, 3, shape), rng.random((2, *shape)).astype(np.float32)


def options(array):
    return {"structures": STRUCTURES, "spacing": (1.0, 2.5, 0.5)[: array.ndim], "origin": ORIGIN}


@given(cases())
@settings(max_examples=40)
def test_rows_are_the_sums_over_all_pairs(case):
    drawn, labels, maps = case
    names = [f"person {n}" for n in range(len(drawn))]
    rows = [
        *evaluate_rater_masks(labels, list(drawn), **options(labels)),
        *evaluate_rater_maps(maps, list(drawn), **options(labels)),
        *evaluate_agreement(list(drawn), raters=names, **options(labels)),
    ]
    found = {(row.structure, row.metric): row.value for row in rows if not row.rater}
    alone_of = {(row.rater, row.structure): row.value for row in rows if row.rater}
    assert all(row.status == "ok" and row.unit == "fraction" for row in rows)
    for index, (name, values) in enumerate(STRUCTURES.items()):
        pred, raters = np.isin(labels, values), [np.isin(each, values) for each in drawn]
        scores = np.array([overlap(pred, rater) for rater in raters])
        pairs = np.array([[overlap(one, two) for two in raters] for one in raters])
        assert found[name, "dice_raters_mean"] == pytest.approx(scores[:, 0].mean())
        assert found[name, "dice_raters_max"] == pytest.approx(scores[:, 0].max())
        assert found[name, "iou_raters_mean"] == pytest.approx(scores[:, 1].mean())
        assert found[name, "iou_raters_max"] == pytest.approx(scores[:, 1].max())
        energy = 2 * (1 - scores[:, 1]).mean() - (1 - pairs[..., 1]).mean()
        assert found[name, "ged"] == pytest.approx(energy, abs=1e-9)
        others = [(i, j) for i, j in itertools.permutations(range(len(raters)), 2)]
        assert found[name, "rater_dice"] == pytest.approx(np.mean([pairs[i, j, 0] for i, j in others]))
        for i, rater in enumerate(names):
            alone = np.mean([pairs[i, j, 0] for j in range(len(raters)) if j != i])
            assert alone_of[rater, name] == pytest.approx(alone)
        mean = np.mean(raters, axis=0, dtype=np.float64)
        gap, size = np.abs(maps[index] - mean).sum(), maps[index].sum() + mean.sum()
        assert found[name, "consensus_dice"] == pytest.approx(1 - gap / size, abs=1e-5)
        assert found[name, "consensus_iou"] == pytest.approx((size - gap) / (size + gap), abs=1e-5)
        cuts = [
            overlap(maps[index] >= t, mean.astype(np.float32) >= t)[0]
            for t in np.arange(1, 10, dtype=np.float32) / 10
        ]
        assert found[name, "qubiq"] == pytest.approx(np.mean(cuts), abs=1e-9)


def test_rows_of_all_raters_are_default_and_can_be_chosen():
    drawn = [np.ones((2, 3), np.uint8), np.zeros((2, 3), np.uint8)]
    kept = {row.metric for row in evaluate_rater_masks(drawn[0], drawn, **options(drawn[0]))}
    assert kept == RATER_MASK_METRICS.keys() - {"rater_dice"}
    maps = torch.zeros(2, 2, 3)
    assert {
        row.metric for row in evaluate_rater_maps(maps, drawn, **options(maps[0]))
    } == RATER_MAP_METRICS.keys()
    only = Settings(metrics=("dice", "ged"))
    chosen = evaluate_rater_masks(drawn[0], drawn, **options(drawn[0]), settings=only)
    assert {row.metric for row in chosen} == {"ged"}
    assert evaluate_rater_maps(maps, drawn, **options(maps[0]), settings=only) == []
    assert evaluate_agreement(drawn, raters=("a", "b"), **options(drawn[0]), settings=only) == []


def test_one_rater_agrees_with_nobody_and_wrong_input_is_named():
    one = np.ones((2, 3), np.uint8)
    assert evaluate_agreement([one], raters=("a",), **options(one)) == []
    with pytest.raises(ShapeError, match="raters has 1 names for 2 references"):
        evaluate_agreement([one, one], raters=("a",), **options(one))
    with pytest.raises(ShapeError, match="references is empty"):
        evaluate_rater_masks(one, [], **options(one))
    with pytest.raises(ShapeError, match="a rater's mask has shape"):
        evaluate_rater_masks(one, [one[:1]], **options(one))
    with pytest.raises(ShapeError, match="soft has shape"):
        evaluate_rater_maps(torch.zeros(2, 2, 2), [one], **options(one))
