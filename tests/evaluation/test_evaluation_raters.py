"""Rows of several raters, against sums over all pairs written out."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import ShapeError
from sfumato.evaluation import (
    METRICS,
    CaseReference,
    Origin,
    ScoringOptions,
    SoftPrediction,
    evaluate_agreement,
    evaluate_case,
    evaluate_masks,
    evaluate_soft,
)
from sfumato.structures import REGIONS, Structures
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


OF_RATERS = {
    needs: {name for name, metric in METRICS.items() if metric.needs == needs}
    for needs in ("rater_masks", "rater_maps", "rater_pairs")
}


def reference(drawn, names="abcd"):
    """A case's reference that several raters drew; the first one's labels stand for the consensus."""
    drawn = list(drawn)
    structures, spacing = Structures.numbered(3, STRUCTURES), (1.0, 2.5, 0.5)[: drawn[0].ndim]
    raters = dict(zip(names, drawn, strict=False))
    return CaseReference(structures, spacing, ORIGIN, drawn[0], raters)


@given(cases())
@settings(max_examples=40)
def test_rows_are_the_sums_over_all_pairs(case):
    drawn, labels, maps = case
    names = [f"person {n}" for n in range(len(drawn))]
    options = ScoringOptions(metrics=tuple(set.union(*OF_RATERS.values())))
    soft = SoftPrediction(torch.from_numpy(maps), REGIONS)
    rows = evaluate_case(labels, reference(drawn, names), soft=soft, options=options)
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
    soft = SoftPrediction(torch.zeros(2, 2, 3), REGIONS)
    kept = {row.metric for row in evaluate_masks(drawn[0], reference(drawn))}
    assert kept >= OF_RATERS["rater_masks"] | OF_RATERS["rater_pairs"]
    assert {row.metric for row in evaluate_soft(soft, reference(drawn))} >= OF_RATERS["rater_maps"]
    only = ScoringOptions(metrics=("ged", "mse"))
    assert {row.metric for row in evaluate_masks(drawn[0], reference(drawn), options=only)} == {"ged"}
    assert {row.metric for row in evaluate_soft(soft, reference(drawn), options=only)} == {"mse"}
    assert evaluate_agreement(reference(drawn), options=only) == []


def test_one_rater_agrees_with_nobody_and_wrong_input_is_named():
    one = np.ones((2, 3), np.uint8)
    assert evaluate_agreement(reference([one])) == []
    assert "ged" in {row.metric for row in evaluate_masks(one, reference([one]))}
    with pytest.raises(ShapeError, match=r"prediction has shape \(2, 3\), but reference of rater b has"):
        evaluate_masks(one, reference([one, one[:1]]))
    with pytest.raises(ShapeError, match="a rater's mask has shape"):
        evaluate_agreement(reference([one, one[:1]]))
    with pytest.raises(ShapeError, match="soft has shape"):
        evaluate_soft(SoftPrediction(torch.zeros(2, 2, 2), REGIONS), reference([one]))
