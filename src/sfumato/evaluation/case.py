"""Score one case, as rows of the tidy table: the one scorer of runs and of folders.

Structures are scored one after the other, so that no more than one pair of masks is held beside the label
maps. The soft prediction is scored apart from the hard one: a caller short of memory reads it when the hard
one is dropped.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_same_shape, require_spacing
from sfumato.data.case import Case, Dataset
from sfumato.errors import DTypeError, ShapeError
from sfumato.evaluation.metrics_table import Calibrated, MapPair, MaskPair, Metric, RaterMasks, ScoringOptions
from sfumato.evaluation.rows import Origin, Row
from sfumato.metrics.raters import soft_consensus
from sfumato.metrics.surface.elements import bounding_box
from sfumato.structures import Structures, TargetKind, region_weights
from sfumato.types import ArrayLike

WHOLE = "all"  # the structure of scores that look at all classes at once


@dataclass(frozen=True, eq=False)
class CaseReference:
    """What the prediction of one case is compared with.

    Attributes:
        structures: What is scored.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        origin: What the rows say about themselves.
        labels: The reference: labels ``(*S)``, integers, or one mask per structure ``(R, *S)``, boolean. Of
            several raters their consensus.
        raters: Each rater's labels or masks, by name; empty where there is a single reference.
        weights: The reference's own class weights ``(K, *S)``, where ``labels`` are these made hard: soft
            predictions are then compared with them.
    """

    structures: Structures
    spacing: Sequence[float | int]
    origin: Origin
    labels: ArrayLike
    raters: Mapping[str, ArrayLike] = field(default_factory=dict)
    weights: ArrayLike | None = None

    @classmethod
    def of(cls, case: Case, dataset: Dataset, *, structures: Structures, origin: Origin) -> Self:
        """Return the reference of a case that was read; without labels, its first rater stands for them."""
        raters: dict[str, Tensor] = {}
        if case.labels_per_rater is not None:
            raters = dict(zip(dataset.raters_of(case.name), case.labels_per_rater, strict=True))
        labels = case.labels if case.labels is not None else next(iter(raters.values()))
        weights = case.soft if case.labels_from_soft else None
        return cls(structures, case.spacing, origin, labels, raters, weights)

    def checked(self, name: str, array: ArrayLike) -> Tensor:
        """Return labels ``(*S)`` or one mask per structure ``(R, *S)`` as a tensor.

        Raises:
            ShapeError: It is neither, or does not fit the spacing.
            DTypeError: Labels hold fractions.
        """
        tensor, count = as_tensor(array), len(self.structures.names)
        require_spacing(self.spacing, self.space(tensor), name=name)
        if tensor.ndim > len(self.spacing):
            if tensor.ndim != len(self.spacing) + 1 or len(tensor) != count:
                raise ShapeError(
                    f"{name} has shape {tuple(tensor.shape)}: give labels (*S) with {len(self.spacing)} "
                    f"axes, or one mask for each of {count} structures"
                )
        elif tensor.is_floating_point() or tensor.is_complex():
            raise DTypeError(f"{name} has dtype {tensor.dtype}: labels must be integers, not fractions")
        return tensor

    def space(self, array: Tensor) -> tuple[int, ...]:
        """Return the spatial part of an array's shape."""
        return tuple(array.shape[max(array.ndim - len(self.spacing), 0) :])

    def mask(self, array: Tensor, index: int) -> Tensor:
        """Return the mask ``(1, *S)`` of one structure, of labels or of one mask per structure."""
        if array.ndim > len(self.spacing):
            return array[index : index + 1]
        first, *others = self.structures.values[index]
        inside = array == first
        for label in others:
            inside |= array == label
        return inside[None]

    def drawn(self) -> dict[str, Tensor]:
        """Return every rater's labels or masks, checked."""
        return {
            name: self.checked(f"reference of rater {name}", array) for name, array in self.raters.items()
        }

    def truths(self) -> dict[str, Tensor]:
        """Return the consensus, under an empty name, and every rater's labels or masks, checked."""
        return {"": self.checked("reference", self.labels)} | self.drawn()


@dataclass(frozen=True, eq=False)
class SoftPrediction:
    """A soft prediction ``(channels, *S)`` and what its channels are."""

    values: Tensor
    kind: TargetKind

    def structure(self, index: int, structures: Structures) -> Tensor:
        """Return the map ``(1, *S)`` in [0, 1] of one structure."""
        if not self.kind.joint:
            return self.kind.to_unit(self.values[index][None]).clamp(0, 1)
        first, *others = structures.values[index]
        total = self.values[first][None]
        for label in others:  # one after the other: no channel is copied beside their sum
            total = total + self.values[label]
        return total.clamp(0, 1)

    def against_rest(self, reference: CaseReference, truth: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Return each structure's name, its probabilities ``(2, *S)`` against the rest, and its labels."""
        for index, name in enumerate(reference.structures.names):
            inside = self.structure(index, reference.structures)[0]
            labels = reference.mask(truth, index)[0].to(torch.uint8)
            yield name, torch.stack((1 - inside, inside)), labels


def evaluate_case(
    prediction: ArrayLike,
    reference: CaseReference,
    *,
    soft: SoftPrediction | None = None,
    options: ScoringOptions | None = None,
) -> list[Row]:
    """Score one case against its reference, each rater, and all raters together.

    Args:
        prediction: Labels ``(*S)``, integers, or one mask per structure ``(R, *S)``, boolean.
        reference: What it is compared with; labels and masks may be mixed.
        soft: The soft prediction: adds soft Dice and MSE of each structure, and the calibration.
        options: Which metrics, and how.

    Returns:
        The rows of :func:`evaluate_masks` and :func:`evaluate_soft`.

    Raises:
        ShapeError: The arrays' shapes do not fit each other, the structures or the spacing.
        DTypeError: Labels hold fractions.
        ValueRangeError: Probabilities are out of range.
    """
    rows = evaluate_masks(prediction, reference, options=options)
    return rows if soft is None else rows + evaluate_soft(soft, reference, options=options)


def evaluate_masks(
    prediction: ArrayLike, reference: CaseReference, *, options: ScoringOptions | None = None
) -> list[Row]:
    """Score the hard prediction; arguments and errors as :func:`evaluate_case`.

    Returns:
        One row per structure and metric, against the reference and each rater. A structure that is empty in
        both masks has overlap 1, distance 0, and undefined volume differences; one that is empty in one mask
        has overlap 0 and undefined distances (or the image diagonal, by ``options``). With raters also one
        row per structure and metric of all raters together, and those of :func:`evaluate_agreement`.
    """
    options = options or ScoringOptions()
    pred, truths = reference.checked("prediction", prediction), reference.truths()
    rows: list[Row] = []
    for rater, truth in truths.items():
        against = f"reference of rater {rater}" if rater else "reference"
        require_same_shape("prediction", reference.space(pred), against, reference.space(truth))
        for index, name in enumerate(reference.structures.names):
            pair = MaskPair(
                reference.mask(pred, index), reference.mask(truth, index), tuple(reference.spacing), options
            )
            rows += _rows(options.chosen("masks"), pair, name, reference.origin, rater)
    metrics = options.chosen("rater_masks") if reference.raters else []
    for index, name in enumerate(reference.structures.names if metrics else ()):
        masks = [reference.mask(array, index) for array in (pred, *reference.drawn().values())]
        first, *others = _cropped(masks)
        rows += _rows(metrics, RaterMasks(first, torch.stack(others)), name, reference.origin)
    return rows + evaluate_agreement(reference, options=options)


def evaluate_agreement(reference: CaseReference, *, options: ScoringOptions | None = None) -> list[Row]:
    """Score the raters against one another: the ceiling that a prediction is compared with.

    Returns:
        Per structure and metric the mean over all pairs of raters, and each rater's mean with the others. Two
        empty masks agree. No row for a single rater, who has nobody to agree with.
    """
    metrics, drawn = (options or ScoringOptions()).chosen("rater_pairs"), reference.drawn()
    rows: list[Row] = []
    if not metrics or len(drawn) < 2:
        return rows
    for index, name in enumerate(reference.structures.names):
        masks = torch.stack(_cropped([reference.mask(array, index) for array in drawn.values()]))
        for metric in metrics:
            values = torch.as_tensor(metric.function(masks)).flatten()
            numbers = {"": float(values.mean())} | dict(zip(drawn, values.tolist(), strict=True))
            rows += [
                _row(metric, value, "ok", name, reference.origin, rater) for rater, value in numbers.items()
            ]
    return rows


def evaluate_soft(
    soft: SoftPrediction, reference: CaseReference, *, options: ScoringOptions | None = None
) -> list[Row]:
    """Score the soft prediction; arguments and errors as :func:`evaluate_case`.

    Returns:
        One row per structure and metric of maps, against the reference, each rater, and the raters' mean; and
        one per metric of calibration, with structure ``all``. Regions that may overlap have no joint
        probabilities: each is calibrated against the rest. Without foreground in the reference,
        ``ece_foreground`` is undefined; without a foreground probability above the threshold, so is ``tace``;
        and in a reference of one class only, which has no surface, ``ece_boundary``.
    """
    options, truths = options or ScoringOptions(), reference.truths()
    structures, space = reference.structures, reference.space(truths[""])
    channels = max(structures.label_names) + 1 if soft.kind.joint else len(structures.names)
    require_same_shape("soft", soft.values.shape, "channels and axes of the reference", (channels, *space))
    rows: list[Row] = []
    for index in range(len(structures.names)):
        rows += _map_rows(index, soft, reference, truths, options)
    return rows + _calibration_rows(soft, reference, truths, options)


def _map_rows(
    index: int,
    soft: SoftPrediction,
    reference: CaseReference,
    truths: Mapping[str, Tensor],
    options: ScoringOptions,
) -> list[Row]:
    """Score the map of one structure."""
    structures, spacing = reference.structures, tuple(reference.spacing)
    name, one = structures.names[index], soft.structure(index, structures)
    targets = {rater: reference.mask(truth, index) for rater, truth in truths.items()}
    masks = [mask for rater, mask in targets.items() if rater]
    if reference.weights is not None:
        targets[""] = region_weights(reference.weights, values=[structures.values[index]])
    rows: list[Row] = []
    for rater, target in targets.items():
        pair = MapPair(one, target, spacing)
        rows += _rows(options.chosen("maps"), pair, name, reference.origin, rater)
    metrics = options.chosen("rater_maps")
    if masks and metrics:
        pair = MapPair(one, soft_consensus(torch.stack(masks)), spacing)
        rows += _rows(metrics, pair, name, reference.origin)
    return rows


def _calibration_rows(
    soft: SoftPrediction, reference: CaseReference, truths: Mapping[str, Tensor], options: ScoringOptions
) -> list[Row]:
    metrics, spacing = options.chosen("probabilities"), tuple(reference.spacing)
    if not metrics:
        return []
    joint = soft.kind.joint or not reference.structures.overlap
    probs = soft.kind.probabilities(soft.values) if joint else None
    rows: list[Row] = []
    for rater, truth in truths.items():
        # One region after the other: the generator holds no more than one.
        pairs = soft.against_rest(reference, truth) if probs is None else [(WHOLE, probs, truth)]
        for name, values, labels in pairs:
            # A batch of one is never mistaken for something else.
            case = Calibrated(values[None], labels[None], spacing, options)
            rows += _rows(metrics, case, name, reference.origin, rater)
    return rows


def _cropped(masks: Sequence[Tensor]) -> list[Tensor]:
    """Crop masks ``(1, *S)`` to the box that holds them all; one voxel where all are empty."""
    union = masks[0][0].clone()
    for one in masks[1:]:
        require_same_shape("a rater's mask", one.shape[1:], "prediction or first rater's", union.shape)
        union |= one[0]
    # Outside the box they agree that nothing is there.
    box = bounding_box(union.cpu().numpy()) or ((0, 1),) * union.ndim
    return [one[(slice(None), *(slice(*extent) for extent in box))] for one in masks]


def _rows(
    metrics: Iterable[Metric],
    compared: Any,  # noqa: ANN401 - what the metrics need, as the table says
    structure: str,
    origin: Origin,
    rater: str = "",
) -> list[Row]:
    """Compute one row per metric: ``ok`` where the value is defined, else the reason why it is not."""
    rows = []
    for metric in metrics:
        value = float(metric.function(compared))
        undefined = metric.undefined or compared.undefined if math.isnan(value) else "ok"
        rows.append(_row(metric, value, undefined, structure, origin, rater))
    return rows


def _row(metric: Metric, value: float, status: str, structure: str, origin: Origin, rater: str) -> Row:
    return Row(
        **dataclasses.asdict(origin),
        rater=rater,
        structure=structure,
        metric=metric.name,
        value=value,
        unit=metric.unit,
        status=status,
    )
