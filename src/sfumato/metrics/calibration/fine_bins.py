"""Fine bins on [0, 1] and what can be computed from their counts: equal-width and equal-mass bins.

The fine bins narrow towards 0 and towards 1, where a trained network puts nearly all voxels. Their edges
include those of the equal-width bins and the threshold, so sums over these are exact. A cut between two
bins of equal mass falls inside a fine bin; the voxels of that fine bin are shared in proportion, and the
farthest that this can be from the true order's result bounds the error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sfumato.metrics.calibration.probabilities import equal_mass_edges
from sfumato.metrics.calibration.reliability import ReliabilityBins

_OCTAVES, _STEPS = 24, 128  # 128 bins per halving of the distance to 0 and to 1, down to 2^-24
_SHIFT = 16  # leaves seven bits of the fraction, as many as steps need
_HALF = int(np.float32(0.5).view(np.int32)) >> _SHIFT  # the bucket of 0.5
_ROUNDING = 1e-9  # fixed-point rounding of the probabilities, 2^-33 each, and of the final sums


@dataclass(frozen=True)
class FineBins:
    """Bins ``[lower, upper)``; the last one holds exactly 1."""

    lower: np.ndarray
    upper: np.ndarray
    first: np.ndarray  # per bucket (see _buckets), the bin of its lowest probability
    most: int  # edges inside one bucket, at most

    @classmethod
    def build(cls, num_bins: int, threshold: float | int) -> FineBins:
        """Lay out the bins so that no fine bin straddles an equal-width edge or the threshold."""
        octaves = 2.0 ** np.arange(-_OCTAVES, -1)
        steps = 1 + np.arange(_STEPS) / _STEPS
        near_zero = np.outer(octaves, steps).ravel()
        widths = np.arange(1, num_bins) / num_bins
        # Zero is alone in its bin, and "above the threshold" starts at the next float32.
        special = [
            float(np.finfo(np.float32).tiny),
            0.5,
            1.0,
            np.nextafter(np.float32(threshold), np.float32(1)),
        ]
        inner = np.unique(np.concatenate([near_zero, 1 - near_zero, widths, special]).astype(np.float32))
        lower = np.concatenate([np.zeros(1, np.float32), inner])
        first, last = (np.searchsorted(inner, ends, side="right") for ends in _bucket_ends())
        return cls(lower, np.append(inner, np.float32(1)), first, int((last - first).max()))

    def index(self, probs: np.ndarray) -> np.ndarray:
        """Return the bin of each float32 probability in [0, 1].

        A probability's own bits name its bucket, and a bucket holds few edges: several times faster than
        searching all edges for it, with the same result.
        """
        edges = np.append(self.lower[1:], np.float32(np.inf))
        index: np.ndarray = self.first[_buckets(probs)]
        for _ in range(self.most):
            index += edges[index] <= probs
        return index


def _buckets(probs: np.ndarray) -> np.ndarray:
    """Number the float32 probabilities by their leading bits, above 0.5 by those of 1 - p, which is exact.

    Buckets are as fine towards 0 and 1 as the bins are, and in the order of the probabilities.
    """
    small = np.minimum(np.abs(probs), 1 - probs)  # of -0.0 the sign would be a bit too
    key: np.ndarray = small.view(np.int32) >> _SHIFT
    return np.where(probs < 0.5, key, 2 * _HALF - key)


def _bucket_ends() -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest number that can be in each bucket, float64."""
    starts = np.arange(_HALF + 1, dtype=np.int32) << _SHIFT
    stops = np.append(starts[1:] - 1, starts[-1])  # 0.5 is alone in the last one
    low, high = (ends.view(np.float32).astype(np.float64) for ends in (starts, stops))
    return np.append(low[:-1], 1 - high[::-1]), np.append(high[:-1], 1 - low[::-1])


def equal_width_bins(
    fine: FineBins, num_bins: int, voxels: np.ndarray, hits: np.ndarray, sums: np.ndarray
) -> ReliabilityBins:
    """Join fine bins into ``num_bins`` bins of equal width."""
    edges = (np.arange(1, num_bins) / num_bins).astype(np.float32)
    owner = np.searchsorted(edges, fine.lower, side="right")
    counts = [int(voxels[owner == j].sum()) for j in range(num_bins)]
    means = [
        [float(array[owner == j].sum()) / count if count else math.nan for j, count in enumerate(counts)]
        for array in (sums, hits)
    ]
    return ReliabilityBins(tuple(counts), *(tuple(mean) for mean in means))


class Bounded(NamedTuple):
    """A value and how far the exact one can be from it."""

    value: float
    error: float


def adaptive_error(fine: FineBins, num_bins: int, rows: Sequence[tuple[np.ndarray, ...]]) -> Bounded:
    """Average the gaps of the equal-mass bins of all rows, each ``(voxels, hits, sums)``; nan for none."""
    gaps: list[float] = []
    errors: list[float] = []
    for voxels, hits, sums in rows:
        if not (total := int(voxels.sum())):
            continue
        edges = equal_mass_edges(total, num_bins)
        cuts = [_cut(fine, int(edge), voxels, hits, sums) for edge in edges]
        hit, mass, error = (np.array(column) for column in zip(*cuts, strict=True))
        width = np.diff(edges)
        gaps += list(np.abs(np.diff(hit) - np.diff(mass)) / width)
        errors += list((error[:-1] + error[1:]) / width)
    if not gaps:
        return Bounded(math.nan, math.nan)
    return Bounded(math.fsum(gaps) / len(gaps), math.fsum(errors) / len(gaps) + _ROUNDING)


def _cut(
    fine: FineBins, rank: int, voxels: np.ndarray, hits: np.ndarray, sums: np.ndarray
) -> tuple[float, float, float]:
    """Sum hits and probability of the ``rank`` lowest voxels, and bound their error."""
    filled = np.cumsum(voxels)
    i = int(np.searchsorted(filled, rank, side="right"))
    if i == len(voxels):
        return float(hits.sum()), float(sums.sum()), 0.0
    count, hit, mass = int(voxels[i]), int(hits[i]), float(sums[i])
    taken = rank - int(filled[i] - count)
    left = count - taken
    hits_taken, mean = hit * taken / count, mass / count
    result = float(hits[:i].sum()) + hits_taken, float(sums[:i].sum()) + mean * taken
    if np.nextafter(fine.lower[i], fine.upper[i]) >= fine.upper[i]:
        return *result, 0.0  # All voxels of this bin are equal, and ties are shared in the exact value too.
    # The lowest voxels hold between hit - left and hit of the bin's hits; their sum is at most
    # taken * mean, and at least what leaves the others at the upper edge.
    farthest = max(hits_taken - max(0, hit - left), min(hit, taken) - hits_taken)
    below = min(taken * (mean - float(fine.lower[i])), left * (float(fine.upper[i]) - mean))
    return *result, farthest + max(below, 0.0)
