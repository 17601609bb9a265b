"""Several raters' labels made into one: their mean, their majority, or STAPLE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_labels, require_positive
from sfumato.errors import DTypeError, ShapeError
from sfumato.labels.definition import Label, Options, TargetCase, default_options
from sfumato.labels.one_hot import LABEL as ONE_HOT
from sfumato.labels.one_hot import one_hot
from sfumato.labels.svls import LABEL as SVLS
from sfumato.structures import CLASSES
from sfumato.types import ArrayLike, Labels, Soft

_TABLE = 2**20


def average_raters(soft_per_rater: ArrayLike) -> Soft:
    """Average the raters' soft labels, each with the same weight.

    Args:
        soft_per_rater: ``(D, K, *S)``, floating; one-hot labels per rater give mOH, SVLS labels mSVLS.

    Returns:
        Class weights, ``(K, *S)``, float32, summing to 1 where every rater's do.

    Raises:
        DTypeError: the values are integers, which are more likely class indices than weights.
        ShapeError: there are no raters, or no class and spatial axes.

    References:
        Islam and Glocker (2021), Spatially varying label smoothing: capturing uncertainty from expert
        annotations, doi:10.1007/978-3-030-78191-0_52.
    """
    soft = as_tensor(soft_per_rater)
    if soft.ndim < 3 or len(soft) == 0:
        raise ShapeError(f"soft_per_rater has shape {tuple(soft.shape)}: give (D, K, *S) with D >= 1")
    if not soft.is_floating_point():
        raise DTypeError(f"soft_per_rater has dtype {soft.dtype}: give class weights, not class indices")
    return soft.to(torch.float32).mean(dim=0)


def majority_vote(labels_per_rater: ArrayLike, *, num_classes: int) -> Labels:
    """Find the class that most raters chose at every voxel.

    Args:
        labels_per_rater: Class indices, ``(D, *S)``.
        num_classes: Number of classes ``K``, background included.

    Returns:
        Class indices, ``(*S)``, int64. A tie goes to the lowest index, so background wins over foreground.

    Raises:
        DTypeError: the labels are fractions.
        ShapeError: there are no raters or no spatial axes.
        ValueRangeError: a label lies outside ``0 .. num_classes - 1``.
    """
    labels = _raters(labels_per_rater, num_classes)
    votes = torch.stack([(labels == index).sum(dim=0) for index in range(num_classes)])
    return votes.argmax(dim=0)


def staple(
    labels_per_rater: ArrayLike, *, num_classes: int, max_iterations: int = 1000, tolerance: float = 1e-7
) -> Labels:
    """Find the most probable class of every voxel under STAPLE; see :func:`staple_probabilities`.

    Returns:
        Class indices, ``(*S)``, int64. A tie goes to the lowest index.
    """
    return staple_probabilities(
        labels_per_rater, num_classes=num_classes, max_iterations=max_iterations, tolerance=tolerance
    ).argmax(dim=0)


def staple_probabilities(
    labels_per_rater: ArrayLike, *, num_classes: int, max_iterations: int = 1000, tolerance: float = 1e-7
) -> Soft:
    """Weigh the raters by how well each agrees with the truth that all of them together suggest.

    Expectation maximisation of a model in which rater ``d`` answers ``l`` where the truth is ``c`` with
    probability ``theta_d[l, c]``, independently: ``W_c(v) ~ prior_c prod_d theta_d[l_d(v), c]``, then
    ``theta_d[l, c] = sum of W_c over the voxels where d said l / sum of W_c``. The prior is the share of
    each class among all answers, held fixed; the start is a majority vote. Voxels with the same answers
    are one case with a count, so the sums are exact at any image size and a step costs next to nothing.

    Args:
        labels_per_rater: Class indices, ``(D, *S)``.
        num_classes: Number of classes ``K``, background included.
        max_iterations: Steps after which to stop in any case.
        tolerance: Stop when no ``theta`` moves by more.

    Returns:
        Probabilities, ``(K, *S)``, float32, summing to 1. A class that no rater used has 0 everywhere; one
        that all raters gave every voxel has 1. With one rater they are that rater's one-hot labels.

    Raises:
        DTypeError: the labels are fractions.
        ShapeError: there are no raters or no spatial axes.
        ValueRangeError: a label lies outside ``0 .. num_classes - 1``, or ``tolerance`` is not above 0.

    References:
        Warfield, Zou and Wells (2004), Simultaneous truth and performance level estimation (STAPLE),
        doi:10.1109/TMI.2004.828354.
    """
    require_positive("tolerance", tolerance)
    labels = _raters(labels_per_rater, num_classes)
    answers, which, weights = _cases(labels.flatten(1), num_classes)
    said = torch.nn.functional.one_hot(answers, num_classes).to(torch.float64)  # (D, cases, K)
    votes = said.sum(dim=0)
    prior = (weights[:, None] * votes).sum(dim=0)
    prior = prior / prior.sum()
    truth = torch.nn.functional.one_hot(votes.argmax(dim=1), num_classes).to(torch.float64)
    theta = _confusion(said, truth, weights)
    for _ in range(max_iterations):
        truth = _posterior(said, theta, prior)
        previous, theta = theta, _confusion(said, truth, weights)
        if float((theta - previous).abs().max()) <= tolerance:
            break
    truth = _posterior(said, theta, prior).to(torch.float32)
    return truth[which].T.reshape(num_classes, *labels.shape[1:])


def _cases(answers: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the different columns of ``(D, voxels)``, which of them each voxel has, and their counts."""
    codes, span = torch.zeros_like(answers[0]), 1
    for row in answers:
        # Renumbering keeps the codes few enough to count in a table, whatever the number of raters.
        if span * num_classes > _TABLE:
            seen, codes = torch.unique(codes, return_inverse=True)
            span = len(seen)
        codes, span = codes * num_classes + row, span * num_classes
    counts = torch.bincount(codes, minlength=span)
    number = (counts > 0).cumsum(dim=0) - 1
    which = number[codes]
    some_voxel = torch.zeros(int(number[-1]) + 1, dtype=torch.int64, device=codes.device)
    some_voxel.scatter_(0, which, torch.arange(len(codes), device=codes.device))
    return answers[:, some_voxel], which, counts[counts > 0].to(torch.float64)


def _confusion(said: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Compute ``theta[d, l, c]``: the share of class ``c`` that rater ``d`` calls ``l``; 0 if unused."""
    mass = weights[:, None] * truth
    total = mass.sum(dim=0)
    return torch.einsum("dnl,nc->dlc", said, mass) / torch.where(total > 0, total, 1.0)


def _posterior(said: Tensor, theta: Tensor, prior: Tensor) -> Tensor:
    """Compute the probability of every class in each case of answers, ``(cases, K)``."""
    logs = torch.einsum("dnl,dlc->dnc", said, theta).log().sum(dim=0) + prior.log()
    # Answers that no class explains (each has a rater who never gives them): fall back on the votes.
    unexplained = (logs == -torch.inf).all(dim=1, keepdim=True)
    return torch.where(
        unexplained, said.mean(dim=0), torch.softmax(torch.where(unexplained, 0.0, logs), dim=1)
    )


def _raters(labels_per_rater: ArrayLike, num_classes: int) -> Tensor:
    labels = as_tensor(labels_per_rater)
    if labels.ndim < 2 or len(labels) == 0:
        raise ShapeError(f"labels_per_rater has shape {tuple(labels.shape)}: give (D, *S) with D >= 1")
    require_labels(labels, num_classes, name="labels_per_rater")
    return labels.to(torch.int64)


def _mean_of(label: Label) -> Label:
    """Return the mean over the raters of a label of each."""

    def make(case: TargetCase, options: Options) -> Tensor:
        if case.soft is not None:
            return label.make(case, options)
        cases = [replace(case, labels=labels) for labels in case.raters()]
        return average_raters(torch.stack([label.make(one, options) for one in cases]))

    return replace(
        label,
        name=f"mean-{label.name}",
        title=f"mean {label.title}",
        make=make,
        takes_raters=True,
        when="before",
        on_device=None,
    )


def _fused(function: Callable[..., Labels], name: str, title: str) -> Label:
    """Return the one-hot label of what ``function`` makes of the raters' labels."""

    def make(case: TargetCase, options: Options) -> Tensor:
        labels = function(case.raters(), num_classes=case.num_classes, **options)
        return one_hot(labels, num_classes=case.num_classes)

    options = default_options(function)
    return Label(name, title, CLASSES, make, options, takes_raters=True, binarise=True)


MEAN_ONE_HOT = _mean_of(ONE_HOT)
MEAN_SVLS = _mean_of(SVLS)
MAJORITY = _fused(majority_vote, "majority-vote", "majority vote")
STAPLE = _fused(staple, "staple", "STAPLE")
