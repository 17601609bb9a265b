"""Streaming calibration: any number of volumes in the memory of a few histograms.

Everything is counted in integers: a probability is used as float32 and adds its value, rounded to a
multiple of 2^-32, to its bin's sum. Integer sums do not depend on the order or grouping of their terms, so
the result is the same to the bit for whatever order and split of the batches, and for bins that were
filled in several processes and merged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_labels, require_same_shape
from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.metrics.calibration.fine_bins import FineBins, adaptive_error, equal_width_bins
from sfumato.metrics.calibration.probabilities import (
    cases,
    chunks,
    class_axis,
    require_bins,
    require_distribution,
    require_floating,
)
from sfumato.metrics.calibration.reliability import CalibrationScores
from sfumato.types import ArrayLike

_SCALE = 2.0**32
_LOWEST = float(np.finfo(np.float32).tiny)


@dataclass
class _Histogram:
    """Integer counts: rows are the classes and, last, the predicted class; columns are the fine bins."""

    voxels: np.ndarray
    hits: np.ndarray  # voxels whose reference is the row's class
    high: np.ndarray  # sums of probabilities, in units of 1 ...
    low: np.ndarray  # ... and of 2^-32, so that no number of voxels overflows them
    squares: int = 0  # sum of the voxels' Brier scores, in units of 2^-32
    log_loss: int = 0  # sum of -log p of the reference's class, in units of 2^-32
    total: int = 0  # voxels counted

    @classmethod
    def empty(cls, rows: int, columns: int) -> _Histogram:
        voxels, hits, high, low = np.zeros((4, rows, columns), np.int64)
        return cls(voxels, hits, high, low)

    def count(self, row: int, probs: np.ndarray, bins: np.ndarray, hit: np.ndarray) -> None:
        columns = self.voxels.shape[1]
        self.voxels[row] += np.bincount(bins, minlength=columns)
        self.hits[row] += np.bincount(bins[hit], minlength=columns)
        # Whole numbers below 2^53 (a chunk holds at most 2^20 of them), so float64 adds them exactly.
        weights = np.rint(probs.astype(np.float64) * _SCALE)
        self.low[row] += np.bincount(bins, weights, minlength=columns).astype(np.int64)
        self.carry()

    def carry(self) -> None:
        self.high += self.low >> 32
        self.low &= 2**32 - 1

    def merge(self, other: _Histogram) -> None:
        for name in ("voxels", "hits", "high", "low"):
            getattr(self, name)[...] += getattr(other, name)
        self.carry()
        self.squares += other.squares
        self.log_loss += other.log_loss
        self.total += other.total

    @property
    def sums(self) -> np.ndarray:
        return self.high + self.low / _SCALE


class CalibrationBins:
    """Counts from which every calibration score is computed, for any number of volumes.

    Memory does not depend on the number of voxels: about 6000 fine bins per class. ECE, MCE, Brier score
    and NLL are exact, up to 2^-33 per probability. ACE and TACE need bins of equal mass, whose cuts fall
    inside fine bins; each comes with a bound on its error, computed from the counts. Voxels are moved to
    the CPU in chunks.

    Args:
        num_classes: Number of classes K, background first; at least 2.
        num_bins: Number of bins of equal width, and of equal mass.
        threshold: TACE leaves out probabilities up to this value.

    Raises:
        ValueRangeError: Fewer than two classes, no bin, or a threshold outside [0, 1).

    Example:
        >>> bins = CalibrationBins(2)
        >>> bins.update(torch.tensor([[0.25, 0.25], [0.75, 0.75]]), torch.tensor([1, 0]))
        >>> bins.compute().ece
        0.25

    References:
        Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, arXiv:1706.04599;
        Nixon et al. (2019), Measuring calibration in deep learning, arXiv:1904.01685. The fine bins, the
        fixed-point sums and the error bound are ours.
    """

    def __init__(self, num_classes: int, *, num_bins: int = 10, threshold: float | int = 1e-3) -> None:
        if num_classes < 2:
            raise ValueRangeError(f"num_classes is {num_classes}: calibration needs at least 2")
        require_bins(num_bins, threshold)
        self.num_classes, self.num_bins, self.threshold = num_classes, num_bins, threshold
        self._fine = FineBins.build(num_bins, threshold)
        self._histogram = self._empty()

    def _empty(self) -> _Histogram:
        return _Histogram.empty(self.num_classes + 1, len(self._fine.lower))

    def update(self, probs: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> None:
        """Count the voxels of one batch or case; on an error nothing is counted.

        Args:
            probs: Class probabilities, ``(B, K, *S)``, or ``(K, *S)`` for one case (told apart by
                the shape of ``labels``).
            labels: Reference classes, ``(B, *S)`` or ``(*S)``, integers in ``0 .. K - 1``.
            mask: Boolean, shaped as ``labels``: the voxels to count, such as ``labels > 0`` or
                :func:`~sfumato.metrics.boundary_band`. Labels outside it may be anything.

        Raises:
            ShapeError: The shapes do not fit together, or ``probs`` has another number of classes.
            ValueRangeError: Probabilities are NaN, outside [0, 1] or do not sum to 1, or a label has no
                channel.
            DTypeError: ``probs`` is not floating point, ``labels`` holds fractions, or ``mask`` is not
                boolean.
        """
        probs, labels = as_tensor(probs), as_tensor(labels)
        classes = probs.shape[class_axis(probs, labels)]
        if classes != self.num_classes:
            raise ShapeError(f"probs has {classes} classes, but the bins were made for {self.num_classes}")
        require_floating(probs)
        fresh = self._empty()
        for case in cases(probs, labels, _checked(mask, labels)):
            for piece, reference, *chosen in chunks(case):
                self._count(fresh, piece, reference, chosen[0] if chosen else None)
        self._histogram.merge(fresh)

    def _count(
        self, into: _Histogram, probs: np.ndarray, labels: np.ndarray, mask: np.ndarray | None
    ) -> None:
        """Count one chunk: ``(K, n)`` float32 probabilities and ``n`` labels."""
        if mask is not None:
            probs, labels = probs[:, mask], labels[mask]
        require_labels(as_tensor(labels), self.num_classes)
        require_distribution(probs)
        probs = np.clip(probs, 0.0, 1.0)
        squares = np.zeros(labels.shape)
        for k, channel in enumerate(probs):
            hit = labels == k
            into.count(k, channel, self._fine.index(channel), hit)
            squares += (channel.astype(np.float64) - hit) ** 2
        winner = probs.argmax(axis=0)
        confidence = np.take_along_axis(probs, winner[None], axis=0)[0]
        into.count(self.num_classes, confidence, self._fine.index(confidence), winner == labels)
        true = np.take_along_axis(probs, labels[None].astype(np.int64), axis=0)[0].astype(np.float64)
        log_loss = -np.log(np.maximum(true, _LOWEST))
        into.squares += int(np.rint(squares * _SCALE).astype(np.int64).sum())
        into.log_loss += int(np.rint(log_loss * _SCALE).astype(np.int64).sum())
        into.total += len(labels)

    def merge(self, other: CalibrationBins) -> None:
        """Add the counts of ``other``, filled elsewhere with the same settings.

        Raises:
            ValueRangeError: The settings differ.
        """
        mine, theirs = ((bins.num_classes, bins.num_bins, bins.threshold) for bins in (self, other))
        if mine != theirs:
            raise ValueRangeError(
                f"bins of (num_classes, num_bins, threshold) {mine} and {theirs} cannot be merged"
            )
        self._histogram.merge(other._histogram)

    def compute(self) -> CalibrationScores:
        """Compute every score of the voxels counted so far; nan throughout where there are none."""
        counts, sums = self._histogram, self._histogram.sums
        rows = [(counts.voxels[k], counts.hits[k], sums[k]) for k in range(self.num_classes + 1)]
        diagrams = [equal_width_bins(self._fine, self.num_bins, *row) for row in rows]
        above = self._fine.lower > np.float32(self.threshold)
        ace = adaptive_error(self._fine, self.num_bins, rows[-1:])
        classwise_ace = adaptive_error(self._fine, self.num_bins, rows[:-1])
        tace = adaptive_error(
            self._fine, self.num_bins, [tuple(array * above for array in row) for row in rows[1:-1]]
        )
        total = counts.total
        return CalibrationScores(
            voxels=total,
            ece=diagrams[-1].expected_error,
            mce=diagrams[-1].maximum_error,
            ace=ace.value,
            ace_error=ace.error,
            classwise_ece=tuple(diagram.expected_error for diagram in diagrams[:-1]),
            classwise_ace=classwise_ace.value,
            classwise_ace_error=classwise_ace.error,
            tace=tace.value,
            tace_error=tace.error,
            brier=counts.squares / 2**32 / total if total else math.nan,
            nll=counts.log_loss / 2**32 / total if total else math.nan,
            reliability=diagrams[-1],
            classwise_reliability=tuple(diagrams[:-1]),
        )


def _checked(mask: ArrayLike | None, labels: Tensor) -> Tensor | None:
    if mask is None:
        return None
    tensor = as_tensor(mask)
    require_same_shape("mask", tensor.shape, "labels", labels.shape)
    if tensor.dtype != torch.bool:
        raise DTypeError(f"mask has dtype {tensor.dtype}: it must be boolean")
    return tensor
