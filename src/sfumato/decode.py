"""Decoders: from a soft prediction to hard labels or region masks."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.checks import require_between, require_same_shape
from sfumato.errors import InputError, ShapeError, ValueRangeError
from sfumato.structures import CLASSES, REGIONS, SIGNED, TargetKind
from sfumato.types import Labels, Regions

THRESHOLDS: tuple[float, ...] = tuple(round(0.05 * step, 2) for step in range(1, 20))


def argmax_labels(prediction: Tensor) -> Labels:
    """Return the channel with the largest prediction, voxel by voxel.

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
    """Return the voxels of every channel that lie above the threshold; equal ones do not.

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
    """Return the largest channel among those above the threshold, counted from 1, voxel by voxel.

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


@dataclass(frozen=True)
class Decoder:
    """One way from a prediction to labels and masks, as recipes and methods know it.

    Attributes:
        name: What a recipe calls it.
        title: What a table calls it.
        kinds: The targets whose predictions it reads.
        threshold: In the prediction's unit; ``None``: the largest channel wins.
        tuned: A model's training finds a better threshold, with :class:`ThresholdSearch`.
    """

    name: str
    title: str
    kinds: tuple[TargetKind, ...]
    threshold: float | None
    tuned: bool = False

    def labels(self, prediction: Tensor, *, threshold: float | None = None) -> Labels:
        """Turn a prediction ``(C, *S)`` into labels ``(*S)``, int64.

        Of regions it is the largest channel above the threshold, counted from 1, and 0 where there is none.
        ``threshold`` takes the place of the decoder's own.

        Raises:
            ValueRangeError: a threshold is given, but the decoder is argmax.
        """
        value = self._threshold(threshold)
        return argmax_labels(prediction) if value is None else threshold_labels(prediction, threshold=value)

    def regions(self, prediction: Tensor, *, threshold: float | None = None) -> Regions:
        """Turn a prediction ``(C, *S)`` into region masks; arguments and errors as in :meth:`labels`.

        Returns:
            ``(R, *S)``, boolean; of classes one mask per foreground label, ``R = K - 1``.
        """
        value = self._threshold(threshold)
        if value is not None:
            return threshold_regions(prediction, threshold=value)
        labels = argmax_labels(prediction)
        return torch.stack([labels == index for index in range(1, len(prediction))])

    def _threshold(self, threshold: float | None) -> float | None:
        if self.threshold is None and threshold is not None:
            raise ValueRangeError(
                f"the decoder {self.name} takes no threshold, but one is given: {threshold}"
            )
        return self.threshold if threshold is None else threshold


# A threshold is searched in [0, 1], so signed maps have none.
DECODERS: dict[str, Decoder] = {
    row.name: row
    for row in (
        Decoder("argmax", "argmax", (CLASSES,), None),
        Decoder("half", "half", (REGIONS,), 0.5),
        Decoder("zero", "zero", (SIGNED,), 0.0),
        Decoder("tuned", "tuned", (REGIONS,), 0.5, tuned=True),
    )
}


class ThresholdSearch:
    """A search for the threshold with the highest mean Dice, one case at a time.

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
        """Return the mean Dice per threshold.

        Raises:
            InputError: no case was counted.
        """
        if self._count == 0:
            raise InputError("no case was counted: the threshold needs at least one prediction")
        means = self._dice / self._count
        return dict(zip(self.thresholds, means.tolist(), strict=True))

    def best(self) -> float:
        """Return the threshold with the highest mean Dice; among equals the nearest to 0.5, then the lower.

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
    """Count the values above each of ``count`` thresholds, from the bins of the values."""
    histogram = torch.bincount(bins, minlength=count + 1).cpu()
    return histogram.flip(0).cumsum(0).flip(0)[1:]


def _require_channels(prediction: Tensor) -> None:
    if prediction.ndim < 2 or len(prediction) == 0:
        raise ShapeError(f"prediction has shape {tuple(prediction.shape)}: give (channels, *S)")
