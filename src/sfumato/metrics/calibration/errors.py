"""Calibration of probabilities that fit in memory.

For any number of volumes see :class:`~sfumato.metrics.calibration.bins.CalibrationBins`.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from sfumato.checks import as_tensor, require_labels
from sfumato.metrics.calibration.bins import CalibrationBins
from sfumato.metrics.calibration.probabilities import (
    cases,
    chunks,
    class_axis,
    equal_mass_edges,
    require_bins,
    require_distribution,
    require_floating,
)
from sfumato.types import ArrayLike


def expected_calibration_error(
    probs: ArrayLike, labels: ArrayLike, *, num_bins: int = 10, ignore_background: bool = False
) -> float:
    """Compute the expected calibration error of the predicted class, over equal-width bins of its confidence.

    ``ECE = sum over bins of n_b / n |accuracy_b - confidence_b|``, where a voxel's confidence is its
    largest probability and its accuracy says whether that class is the reference's. Bins are closed on
    the left; confidence 1 belongs to the last one.

    Args:
        probs: Class probabilities, ``(B, K, *S)``, or ``(K, *S)`` for one case told apart by the
            shape of ``labels``). Used as float32.
        labels: Reference classes, ``(B, *S)`` or ``(*S)``, integers in ``0 .. K - 1``.
        num_bins: Number of bins of equal width on [0, 1].
        ignore_background: Count only voxels whose reference is not class 0, as the SVLS paper's code does.

    Returns:
        A value in [0, 1]. No voxel to count (an empty array, or no foreground in the reference): nan.

    Raises:
        ShapeError: The shapes of ``probs`` and ``labels`` do not fit together.
        ValueRangeError: Probabilities are NaN, outside [0, 1] or do not sum to 1; a label has no channel.
        DTypeError: ``probs`` is not floating point, or ``labels`` holds fractions.

    References:
        Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, arXiv:1706.04599
    """
    probs, labels = as_tensor(probs), as_tensor(labels)
    bins = CalibrationBins(probs.shape[class_axis(probs, labels)], num_bins=num_bins)
    bins.update(probs, labels, mask=labels != 0 if ignore_background else None)
    return bins.compute().ece


def thresholded_adaptive_calibration_error(
    probs: ArrayLike, labels: ArrayLike, *, num_bins: int = 10, threshold: float | int = 1e-3
) -> float:
    """Compute the thresholded adaptive calibration error: mean gap of equal-mass bins, foreground only.

    For each class but the background, the voxels whose probability for it is above ``threshold`` are
    ranked by that probability and cut into ``num_bins`` bins of equal count (sizes differ by at most
    one); a bin's gap is ``|share of voxels of that class - mean probability|``. The result is the mean gap
    over all bins of all classes. Where a cut falls among equal probabilities, each bin gets the tied
    voxels' mean accuracy, so that the result does not depend on the voxels' order.
    Errors as :func:`expected_calibration_error`.

    Args:
        probs: Class probabilities, ``(B, K, *S)`` or ``(K, *S)``, as in :func:`expected_calibration_error`.
        labels: Reference classes, ``(B, *S)`` or ``(*S)``, integers in ``0 .. K - 1``.
        num_bins: Bins per class; a class with fewer voxels has one bin per voxel.
        threshold: Probabilities up to this value are left out.

    Returns:
        A value in [0, 1]. A class without a voxel above the threshold has no bins; if none has, nan.

    References:
        Nixon, Dusenberry, Zhang, Jerfel and Tran (2019), Measuring calibration in deep learning,
        arXiv:1904.01685. Sharing ties between bins is ours.
    """
    probs, labels = as_tensor(probs), as_tensor(labels)
    axis = class_axis(probs, labels)
    require_bins(num_bins, threshold)
    require_floating(probs)
    require_labels(labels, probs.shape[axis])
    for case in cases(probs, labels, None):
        for piece, _ in chunks(case):
            require_distribution(piece)
    reference = labels.cpu().numpy()
    gaps: list[float] = []
    for k in range(1, probs.shape[axis]):
        channel = probs.select(axis, k).detach().to("cpu").float().numpy()
        # Walking both arrays in the order of memory keeps a mask of a large volume fast.
        order = np.argsort(channel.strides, kind="stable")[::-1]
        channel, hit = channel.transpose(order), (reference == k).transpose(order)
        above = channel > np.float32(threshold)
        gaps += _gaps(channel[above], hit[above], num_bins)
    return math.fsum(gaps) / len(gaps) if gaps else math.nan


def _gaps(confidence: np.ndarray, hit: np.ndarray, num_bins: int) -> list[float]:
    """Compute the gap of each equal-mass bin; clips and sorts ``confidence`` in place to save memory."""
    np.minimum(confidence, 1, out=confidence)
    hits = np.sort(confidence[hit])
    confidence.sort()
    edges = equal_mass_edges(len(confidence), num_bins)
    below = [_hits_below(int(edge), confidence, hits) for edge in edges]
    sums = [float(confidence[start:stop].sum(dtype=np.float64)) for start, stop in itertools.pairwise(edges)]
    gaps = np.abs(np.diff(below) - np.asarray(sums)) / np.diff(edges)
    return [float(gap) for gap in gaps]


def _hits_below(rank: int, confidence: np.ndarray, hits: np.ndarray) -> float:
    """Count the hits of the ``rank`` lowest confidences; those tied with the next count with their share."""
    if rank == len(confidence):
        return float(len(hits))
    value = confidence[rank]
    first, last = (int(confidence.searchsorted(value, side)) for side in ("left", "right"))
    hit_first, hit_last = (int(hits.searchsorted(value, side)) for side in ("left", "right"))
    return hit_first + (hit_last - hit_first) * (rank - first) / (last - first)
