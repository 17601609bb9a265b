"""Several raters: scores against each, against their consensus, and of the raters among themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_same_shape
from sfumato.errors import ShapeError
from sfumato.metrics.masks import mask
from sfumato.metrics.overlap import dice, iou
from sfumato.types import ArrayLike, PerRegion, RegionMaps

Score = Callable[[Tensor, Tensor], Tensor]

QUBIQ_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class RaterScores:
    """Scores of one prediction against each rater, float64."""

    per_rater: Tensor  # (D, R); nan where undefined
    mean: Tensor  # (R): mean over the raters against whom the score is defined; nan if none
    highest: Tensor  # (R): the largest of them; nan if none
    undefined: Tensor  # (R), int64: raters against whom the score is undefined


def rater_scores(pred: ArrayLike, ref_per_rater: ArrayLike, *, score: Score | None = None) -> RaterScores:
    """Score a prediction against every rater.

    Args:
        pred: Predicted masks, ``(R, *S)``, boolean.
        ref_per_rater: Reference masks, ``(D, R, *S)``, boolean, raters first.
        score: Any metric of two masks ``(R, *S)`` that gives one value per region, such as
            ``partial(iou, spatial_axes=3)``; by default Dice.

    Returns:
        The scores per rater, their mean and maximum. Empty masks as the metric says.

    Raises:
        ShapeError: The shapes do not fit together, or there is no rater.
    """
    first, raters = mask("pred", pred), _raters(ref_per_rater)
    require_same_shape("pred", first.shape, "one rater's reference", raters.shape[1:])
    score = score or partial(dice, spatial_axes=first.ndim - 1)
    values = torch.stack([score(first, rater).double() for rater in raters])
    lost = values.isnan()
    highest = values.masked_fill(lost, -math.inf).amax(dim=0)
    return RaterScores(
        per_rater=values,
        mean=values.nanmean(dim=0),
        highest=highest.masked_fill(lost.all(dim=0), math.nan),
        undefined=lost.sum(dim=0),
    )


def rater_agreement(ref_per_rater: ArrayLike, *, score: Score | None = None) -> Tensor:
    """Score every rater against every other: the ceiling to compare a prediction with.

    Args:
        ref_per_rater: Masks, ``(D, R, *S)``, boolean, raters first.
        score: As in :func:`rater_scores`.

    Returns:
        ``(D, D, R)`` float64; entry ``[i, j]`` takes rater ``i`` as the prediction and ``j`` as the
        reference. The diagonal is each rater against itself.

    Raises:
        ShapeError: There is no rater, or no region axis.
    """
    raters = _raters(ref_per_rater)
    score = score or partial(dice, spatial_axes=raters.ndim - 2)
    return torch.stack([torch.stack([score(one, two).double() for two in raters]) for one in raters])


def mean_rater_agreement(ref_per_rater: ArrayLike, *, score: Score | None = None) -> PerRegion:
    """Average :func:`rater_agreement` over all pairs of different raters, ``(R)``.

    Undefined pairs are left out. A single rater has nobody to agree with: nan.
    """
    table = rater_agreement(ref_per_rater, score=score)
    others = ~torch.eye(len(table), dtype=torch.bool, device=table.device)
    return table[others].nanmean(dim=0)


def agreement_with_others(ref_per_rater: ArrayLike, *, score: Score | None = None) -> Tensor:
    """Average each rater's score with every other rater, ``(D, R)``; nan for a single rater.

    Arguments and errors as :func:`rater_agreement`.
    """
    table = rater_agreement(ref_per_rater, score=score)
    others = table.sum(dim=1) - table.diagonal().T
    return others / (len(table) - 1)


def soft_consensus(ref_per_rater: ArrayLike) -> RegionMaps:
    """Compute the share of raters who outlined each voxel: ``(D, R, *S)`` masks give ``(R, *S)`` in [0, 1].

    Dice and IoU against it are :func:`~sfumato.metrics.overlap.soft_dice` and ``soft_iou``.
    """
    raters = _raters(ref_per_rater)
    return raters.sum(dim=0, dtype=torch.float32) / len(raters)


def generalised_energy_distance(samples: ArrayLike, ref_per_rater: ArrayLike) -> PerRegion:
    """Compute the squared energy distance of sampled predictions to raters, with ``1 - IoU`` as distance.

    ``2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')]``; the means run over all pairs, a mask with itself
    included. 0 where both sets hold the same masks in the same shares; two empty masks are at distance 0.

    Args:
        samples: Predicted masks, ``(M, R, *S)``, boolean; one prediction is ``M = 1``.
        ref_per_rater: Reference masks, ``(D, R, *S)``, boolean.

    Returns:
        One value in [0, 2] per region, ``(R)``, float64; always defined.

    Raises:
        ShapeError: The shapes do not fit together, or a set is empty.

    References:
        Kohl et al. (2018), A probabilistic U-Net for segmentation of ambiguous images, arXiv:1806.05034
    """
    drawn, raters = _raters(samples, name="samples"), _raters(ref_per_rater)
    require_same_shape("one sample", drawn.shape[1:], "one rater's reference", raters.shape[1:])
    across, among, between = (
        _mean_distance(one, two) for one, two in ((drawn, raters), (drawn, drawn), (raters, raters))
    )
    # Exact arithmetic gives no negative value; rounding may, by some 1e-16.
    return (2 * across - among - between).clamp_min(0)


def qubiq_score(
    pred: ArrayLike, ref: ArrayLike, *, thresholds: Sequence[float] = QUBIQ_THRESHOLDS
) -> PerRegion:
    """Compute the Dice of two soft predictions, averaged over thresholds.

    At each threshold ``t`` both maps are cut: a voxel belongs to the region where its value is at least
    ``t``. Two maps that are both empty above a threshold count 1 there, only one of them 0.

    The challenge's page says that predictions and the mean of the experts' masks "are compared by
    thresholding the continuous labels at predefined thresholds" and that the Dice scores are averaged. It
    does not say whether a value equal to the threshold is in, nor what two empty maps score: "at least" and 1
    are our choices, not checked against the challenge's code. They matter only where a value equals a
    threshold: in the raters' mean, where ten raters vote in tenths, or five in fifths.

    Args:
        pred: Predicted maps, ``(R, *S)``, floating point.
        ref: Maps of the raters' mean (:func:`soft_consensus`), of the same shape.
        thresholds: Where to cut; 0.1 .. 0.9 as in the QUBIQ challenge.

    Returns:
        One value in [0, 1] per region, ``(R)``, float64.

    Raises:
        ShapeError: The shapes differ, or ``thresholds`` is empty.

    References:
        Li et al. (2024), QUBIQ: uncertainty quantification for biomedical image segmentation challenge,
        arXiv:2405.18435
    """
    first, second = as_tensor(pred), as_tensor(ref)
    require_same_shape("pred", first.shape, "ref", second.shape)
    if not thresholds:
        raise ShapeError("thresholds is empty: give at least one")
    axes = first.ndim - 1
    return torch.stack([dice(first >= t, second >= t, spatial_axes=axes) for t in thresholds]).mean(dim=0)


def _raters(array: ArrayLike, *, name: str = "ref_per_rater") -> Tensor:
    tensor = mask(name, array)
    if tensor.ndim < 3 or len(tensor) == 0:
        raise ShapeError(f"{name} has shape {tuple(tensor.shape)}: give (D, R, *S), with at least one of D")
    return tensor


def _mean_distance(first: Tensor, second: Tensor) -> Tensor:
    """Average ``1 - IoU`` over all pairs, per region."""
    axes = first.ndim - 2
    return torch.stack([1 - iou(one, two, spatial_axes=axes) for one in first for two in second]).mean(dim=0)
