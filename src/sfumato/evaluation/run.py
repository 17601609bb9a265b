"""What a run's test cases add up to: the rows of its ``metrics.csv`` and the points of its diagrams."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from sfumato.data.case import Case, Dataset
from sfumato.evaluation.case import (
    DEFAULT_METRICS,
    MASK_METRICS,
    RATER_MASK_METRICS,
    Origin,
    Settings,
    evaluate_calibration,
    evaluate_case,
    evaluate_maps,
)
from sfumato.evaluation.diagrams import (
    Point,
    history_points,
    reliability_points,
    threshold_points,
    value_points,
)
from sfumato.evaluation.raters import evaluate_agreement, evaluate_rater_maps, evaluate_rater_masks
from sfumato.evaluation.rows import SCALED, Row
from sfumato.metrics import CalibrationBins
from sfumato.metrics.calibration.boundary import boundary_band
from sfumato.model.model import Model, Prediction
from sfumato.model.temperature import scaled_case
from sfumato.structures import CLASSES
from sfumato.types import ArrayLike

LOG = logging.getLogger("sfumato.study")
BAND_MM = 3.0  # reach of the boundary band in the reliability diagrams, to either side of the surface
BIN_SETS = ("all", "foreground", "boundary")
VALUE_BINS = 100  # of values in [0, 1] an edge lies at 0.01, up to which SoftSeg counts a prediction as 0
# Lesions besides what every evaluation has: a run cannot be asked for them afterwards.
RUN_METRICS = (*DEFAULT_METRICS, "lesion_tpr", "lesion_fdr")


class RunRows:
    """Rows of the cases scored so far; reliability bins and a histogram of the graded values grow with them.

    Args:
        model: The trained model.
        temperature: Of its temperature-scaled twin; None for a model that has none.
    """

    def __init__(self, model: Model, *, temperature: float | None = None) -> None:
        self.model, self.temperature = model, temperature
        self._cases: list[Row] = []
        self._dataset = str(model.task.dataset)
        # Overlapping regions have no joint distribution over classes: each is calibrated against the rest.
        classes = 2 if model.structures.overlap else model.structures.num_classes
        variants = ("",) if temperature is None else ("", SCALED)
        self._bins = {variant: {name: CalibrationBins(classes) for name in BIN_SETS} for variant in variants}
        low = model.method.kind.low
        self._edges = [low + (1.0 - low) * index / VALUE_BINS for index in range(VALUE_BINS + 1)]
        self._values = torch.zeros(VALUE_BINS, dtype=torch.int64)

    def add(self, found: Prediction, case: Case, dataset: Dataset) -> None:
        """Score one case against its consensus and, where there are several raters, each of them and all."""
        if case.labels is None:
            LOG.warning("%s has no mask: it is predicted, not evaluated", case.name)
            return
        self._dataset = dataset.name
        scored = _Scored(self.model, found, case)
        raters = () if case.labels_per_rater is None else dataset.raters_of(case.name)
        origin = self._origin(case.name)
        self._cases += scored.rows(origin, raters)
        self._values += value_counts(found.soft, self._edges)
        self._count("", scored)
        if self.temperature is not None:
            twin = _Scored(self.model, found, case, temperature=self.temperature)
            self._cases += twin.twin_rows(scored.found_rows, self._origin(case.name, SCALED), raters)
            self._count(SCALED, twin)

    def _origin(self, case: str = "", variant: str = "") -> Origin:
        recipe = self.model.recipe
        return Origin(
            run=recipe.run_name + variant,
            method=recipe.title + variant,
            dataset=self._dataset,
            seed=recipe.seed,
            fold=recipe.split.fold,
            case=case,
        )

    def _count(self, variant: str, scored: _Scored) -> None:
        bins, case = self._bins[variant], scored.case
        for values, reference in scored.calibrated():
            band = boundary_band(reference, spacing=case.spacing, width_mm=max(BAND_MM, *case.spacing))
            for name, mask in zip(BIN_SETS, (None, reference > 0, band), strict=True):
                bins[name].update(values, reference, mask)

    def rows(self) -> list[Row]:
        """Return every case's rows."""
        return list(self._cases)

    def points(
        self, history: Iterable[Mapping[str, float]] = (), sweep: Iterable[tuple[float, float]] = ()
    ) -> list[Point]:
        """Return the reliability diagrams, the histogram, the learning curves and the threshold's sweep."""
        origin, points = self._origin(), []
        for variant, sets in self._bins.items():
            for name, bins in sets.items():
                points += reliability_points(self._origin(variant=variant), name, bins.compute().reliability)
        points += value_points(origin, self._edges, self._values.tolist())
        return [*points, *history_points(origin, history), *threshold_points(origin, sweep)]


class _Scored:
    """One case with one prediction, in the forms that the metrics take."""

    def __init__(
        self, model: Model, found: Prediction, case: Case, *, temperature: float | None = None
    ) -> None:
        self.model, self.found, self.case = model, found, case
        self.structures = dict(zip(model.structures.names, model.structures.values, strict=True))
        self.settings = Settings(metrics=RUN_METRICS, tolerance_mm=model.recipe.tolerance_mm)
        self.hard: ArrayLike = found.labels if found.regions is None else found.regions
        # One map per structure, and class probabilities where the classes exclude each other.
        self.maps, self.probs = _graded(model, found.soft, temperature)
        self.found_rows: list[Row] = []

    def rows(self, origin: Origin, raters: Sequence[str]) -> list[Row]:
        """Score everything: against the consensus, each rater, and all raters together."""
        rows: list[Row] = []
        for labels, one in self._references(origin, raters):
            rows += evaluate_case(
                self.hard,
                labels,
                structures=self.structures,
                spacing=self.case.spacing,
                origin=one,
                settings=self.settings,
                soft=self.maps,
                reference_maps=self._reference_maps(),
            )
            rows += self._calibration_rows(labels, one)
        if raters:
            rows += self._rater_rows(origin, raters)
        self.found_rows = rows
        return rows

    def twin_rows(self, rows: Iterable[Row], origin: Origin, raters: Sequence[str]) -> list[Row]:
        """Score the graded values alone; what the decisions alone decide is copied from the model's rows."""
        decided = MASK_METRICS.keys() | RATER_MASK_METRICS.keys()
        twins = [
            dataclasses.replace(row, run=origin.run, method=origin.method)
            for row in rows
            if row.metric in decided
        ]
        for labels, one in self._references(origin, raters):
            graded = self._reference_maps()
            twins += evaluate_maps(
                self.maps,
                labels if graded is None else graded,
                structures=self.structures,
                spacing=self.case.spacing,
                origin=one,
                settings=self.settings,
            )
            twins += self._calibration_rows(labels, one)
        return [*twins, *self._rater_maps(origin)] if raters else twins

    def _calibration_rows(self, labels: Tensor, origin: Origin) -> list[Row]:
        """Calibration over all classes; of regions that may overlap, each against the rest."""
        if self.probs is not None:
            return evaluate_calibration(
                self.probs, labels, spacing=self.case.spacing, origin=origin, settings=self.settings
            )
        rows: list[Row] = []
        for name, (probs, inside) in zip(self.structures, self._each_region(labels), strict=True):
            rows += evaluate_calibration(
                probs,
                inside,
                spacing=self.case.spacing,
                origin=origin,
                settings=self.settings,
                structure=name,
            )
        return rows

    def _each_region(self, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for one, group in zip(self.maps, self.model.structures.values, strict=True):
            yield torch.stack((1 - one, one)), torch.isin(labels, labels.new_tensor(group)).long()

    def _rater_rows(self, origin: Origin, raters: Sequence[str]) -> list[Row]:
        drawn, spacing = self._drawn(), self.case.spacing
        masks = evaluate_rater_masks(
            self.hard,
            drawn,
            structures=self.structures,
            spacing=spacing,
            origin=origin,
            settings=self.settings,
        )
        agreement = evaluate_agreement(
            drawn,
            structures=self.structures,
            spacing=spacing,
            origin=origin,
            raters=raters,
            settings=self.settings,
        )
        return [*masks, *self._rater_maps(origin), *agreement]

    def _rater_maps(self, origin: Origin) -> list[Row]:
        return evaluate_rater_maps(
            self.maps,
            self._drawn(),
            structures=self.structures,
            spacing=self.case.spacing,
            origin=origin,
            settings=self.settings,
        )

    def _reference_maps(self) -> Tensor | None:
        """The structures' own weights ``(R, *S)`` where the case has class weights in place of a mask."""
        if self.case.soft is None or not self.case.labels_from_soft:
            return None
        return self.model.structures.weights(self.case.soft)

    def _drawn(self) -> list[Tensor]:
        return [] if self.case.labels_per_rater is None else list(self.case.labels_per_rater)

    def _references(self, origin: Origin, raters: Sequence[str]) -> Iterable[tuple[Tensor, Origin]]:
        if self.case.labels is not None:
            yield self.case.labels, origin
        for labels, rater in zip(self._drawn(), raters, strict=True):
            yield labels, dataclasses.replace(origin, rater=rater)

    def calibrated(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Class probabilities with labels; of a data set of overlapping regions, each against the rest."""
        if self.case.labels is None:
            return
        if self.probs is not None and not self.model.structures.overlap:
            yield self.probs, self.case.labels
        else:
            yield from self._each_region(self.case.labels)


def value_counts(values: Tensor, edges: Sequence[float]) -> Tensor:
    """Count the values between two edges each: ``len(edges) - 1`` integers.

    A value that equals an edge lies above it, one that equals the last edge in the last bin. Values beyond
    the first and the last edge, as rounding leaves them, count in the outermost bins.
    """
    # torch.histogram counts in float32, which ends at 2**24 voxels.
    between = torch.bucketize(values.flatten().float(), torch.tensor(edges[1:-1]), right=True)
    return torch.bincount(between, minlength=len(edges) - 1)


def _graded(model: Model, soft: Tensor, temperature: float | None) -> tuple[Tensor, Tensor | None]:
    """Maps ``(R, *S)`` in [0, 1] and class probabilities ``(K, *S)``, as predicted or temperature-scaled."""
    joint = not model.structures.overlap or model.method.kind.joint
    if temperature is None:
        probs = model.method.probabilities(soft, batched=False) if joint else None
        return model.maps(soft), probs
    scaled = scaled_case(model, soft, temperature)
    if not joint:
        return scaled, None
    return CLASSES.maps(scaled, model.structures), scaled
