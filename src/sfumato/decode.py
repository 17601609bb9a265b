"""Decoders: from a graded prediction to hard labels or region masks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from sfumato.checks import require_between, require_same_shape
from sfumato.errors import InputError, ShapeError, ValueRangeError
from sfumato.types import Labels, Regions

THRESHOLDS: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 20))


def argmax_labels(prediction: Tensor) -> Labels:
    """Give every voxel the channel with the largest prediction.

    Args:
        prediction: ``(K, *S)``.

    Returns:
        Class indices, ``(*S)``, int64. A tie goes to the lowest index.

    Raises:
        ShapeError: there are no spatial axes or no channel.
    """
    _require_channels(prediction)
    return prediction.argmax(dim=0)


def threshold_regions(prediction: Tensor, *, threshold: float) -> Regions:
    """Give every channel's voxels that lie above the threshold; those equal to it are left out.

    Args:
        prediction: ``(R, *S)``.
        threshold: In the prediction's unit: 0.5 for probabilities, 0 for signed maps.

    Returns:
        ``(R, *S)`` boolean.

    Raises:
        ShapeError: there are no spatial axes or no channel.
    """
    _require_channels(prediction)
    return prediction > threshold


def threshold_labels(prediction: Tensor, *, threshold: float) -> Labels:
    """Give every voxel the largest channel among those above the threshold, counted from 1.

    Args:
        prediction: ``(R, *S)``, channel ``r`` standing for label ``r + 1``.
        threshold: In the prediction's unit.

    Returns:
        Class indices, ``(*S)``, int64; 0 where no channel is above the threshold. A tie goes to the lowest.

    Raises:
        ShapeError: there are no spatial axes or no channel.
    """
    _require_channels(prediction)
    largest, channel = prediction.max(dim=0)
    return torch.where(largest > threshold, channel + 1, 0)


class ThresholdSearch:
    """Finds the threshold with the highest mean Dice, one case at a time.

    The mean is over cases and regions alike, one value each. A region that is empty in both reference and
    prediction counts 1, one that is empty in only one of them 0. Only the sums are kept, so any number of
    cases fits in memory.

    Args:
        thresholds: The candidates, in ``[0, 1]``, each above the one before.

    Raises:
        ValueRangeError: there is no candidate, one lies outside ``[0, 1]``, or they do not ascend.
    """

    def __init__(self, thresholds: Sequence[float] = THRESHOLDS) -> None:
        if len(thresholds) == 0:
            raise ValueRangeError("thresholds are empty: give at least one")
        for value in thresholds:
            require_between("threshold", value, 0.0, 1.0)
        if any(after <= before for before, after in itertools.pairwise(thresholds)):
            raise ValueRangeError(f"thresholds are {tuple(thresholds)}: each must be above the one before")
        self.thresholds = tuple(thresholds)
        self._dice = torch.zeros(len(self.thresholds), dtype=torch.float64)
        self._count = 0

    def update(self, prediction: Tensor, reference: Tensor) -> None:
        """Count one case.

        Args:
            prediction: ``(R, *S)``, in ``[0, 1]``.
            reference: ``(R, *S)``, boolean.

        Raises:
            ShapeError: the shapes differ.
        """
        require_same_shape("prediction", prediction.shape, "reference", reference.shape)
        _require_channels(prediction)
        edges = torch.tensor(self.thresholds, dtype=prediction.dtype, device=prediction.device)
        for values, truth in zip(prediction.flatten(1), (reference != 0).flatten(1), strict=True):
            # The bin of a value is the number of thresholds below it; reversed sums count the voxels above.
            bins = torch.bucketize(values.contiguous(), edges)
            predicted = _above(bins, len(edges))
            shared = _above(bins[truth], len(edges))
            total = predicted + int(truth.sum())
            self._dice += torch.where(total > 0, 2.0 * shared / total.clamp_min(1), 1.0)
            self._count += 1

    def mean_dice(self) -> dict[float, float]:
        """Mean Dice per threshold.

        Raises:
            InputError: no case was counted.
        """
        if self._count == 0:
            raise InputError("no case was counted: the threshold needs at least one prediction")
        means = self._dice / self._count
        return dict(zip(self.thresholds, means.tolist(), strict=True))

    def best(self) -> float:
        """The threshold with the highest mean Dice; among equals the nearest to 0.5, then the lower.

        Raises:
            InputError: no case was counted.
        """
        means = self.mean_dice()
        highest = max(means.values())
        # The same Dice summed in another order of cases may differ in the last digit.
        tied = [value for value, mean in means.items() if mean >= highest - 1e-12]
        return min(tied, key=lambda value: (round(abs(value - 0.5), 9), value))


def tune_threshold(
    predictions: Iterable[Tensor], references: Iterable[Tensor], *, thresholds: Sequence[float] = THRESHOLDS
) -> float:
    """Find the threshold with the highest mean Dice over the cases.

    Both arguments may be generators; one case is in memory at a time. The mean and the ties are those of
    :class:`ThresholdSearch`.

    Args:
        predictions: One ``(R, *S)`` in ``[0, 1]`` per case.
        references: One boolean ``(R, *S)`` per case, in the same order.
        thresholds: The candidates, ascending; 0.05 to 0.95 in steps of 0.05.

    Returns:
        One of ``thresholds``.

    Raises:
        InputError: there are no cases, or not as many references as predictions.
        ShapeError: a prediction and its reference differ in shape.
        ValueRangeError: ``thresholds`` are empty, outside ``[0, 1]`` or not ascending.
    """
    search = ThresholdSearch(thresholds)
    predicted, referenced = iter(predictions), iter(references)
    for prediction in predicted:
        reference = next(referenced, None)
        if reference is None:
            raise InputError("there are more predictions than references")
        search.update(prediction, reference)
    if next(referenced, None) is not None:
        raise InputError("there are more references than predictions")
    return search.best()


def _above(bins: Tensor, count: int) -> Tensor:
    """Number of values above each of ``count`` thresholds, from the bins of the values."""
    histogram = torch.bincount(bins, minlength=count + 1).cpu()
    return histogram.flip(0).cumsum(0).flip(0)[1:]


def _require_channels(prediction: Tensor) -> None:
    if prediction.ndim < 2 or len(prediction) == 0:
        raise ShapeError(f"prediction has shape {tuple(prediction.shape)}: give (channels, *S)")
