"""What a run's test cases add up to: the rows of its ``metrics.csv`` and the points of its diagrams."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from sfumato.data.case import Case, Dataset
from sfumato.evaluation.case import WHOLE, CaseReference, SoftPrediction, evaluate_case, evaluate_soft
from sfumato.evaluation.diagrams import (
    Point,
    history_points,
    reliability_points,
    threshold_points,
    value_points,
)
from sfumato.evaluation.metrics_table import METRICS, ScoringOptions, default_metrics
from sfumato.evaluation.rows import SCALED, Origin, Row
from sfumato.metrics import CalibrationBins, boundary_band
from sfumato.model.model import Model, Prediction
from sfumato.model.temperature import scaled_case
from sfumato.structures import CLASSES, REGIONS

LOG = logging.getLogger("sfumato.study")
BAND_MM = 3.0  # reach of the boundary band in the reliability diagrams, to either side of the surface
BIN_SETS = ("all", "foreground", "boundary")
VALUE_BINS = 100  # of values in [0, 1] an edge lies at 0.01, up to which SoftSeg counts a prediction as 0


class RunRows:
    """Rows of the cases scored so far; reliability bins and a histogram of soft values grow with them.

    Args:
        model: The trained model.
        temperature: The temperature to score the model with besides; None for none.
    """

    def __init__(self, model: Model, *, temperature: float | None = None) -> None:
        self.model, self.temperature = model, temperature
        self.options = ScoringOptions(
            metrics=default_metrics(of_runs=True), tolerance_mm=model.recipe.tolerance_mm
        )
        self._cases: list[Row] = []
        self._dataset = str(model.task.dataset)
        # Overlapping regions have no joint distribution over classes: each is calibrated against the rest.
        classes = 2 if model.structures.overlap else model.structures.num_classes
        variants = ("",) if temperature is None else ("", SCALED)
        self._bins = {variant: {name: CalibrationBins(classes) for name in BIN_SETS} for variant in variants}
        low = model.method.kind.low
        self._edges = [low + (1.0 - low) * index / VALUE_BINS for index in range(VALUE_BINS + 1)]
        self._values = torch.zeros(VALUE_BINS, dtype=torch.int64)

    def add(self, prediction: Prediction, case: Case, dataset: Dataset) -> None:
        """Score one case against its consensus and, where there are several raters, each of them and all."""
        if case.labels is None:
            LOG.warning("%s has no mask: it is predicted, not evaluated", case.name)
            return
        self._dataset = dataset.name
        structures, origin = self.model.structures, self._origin(case.name)
        reference = CaseReference.of(case, dataset, structures=structures, origin=origin)
        hard = prediction.labels if prediction.regions is None else prediction.regions
        soft = SoftPrediction(prediction.soft, self.model.method.kind)
        rows = evaluate_case(hard, reference, soft=soft, options=self.options)
        self._cases += rows
        self._values += value_counts(soft.values, self._edges)
        self._count("", soft, reference)
        if self.temperature is not None:
            self._add_scaled(self.temperature, soft, rows, reference)

    def _add_scaled(
        self, temperature: float, soft: SoftPrediction, rows: Iterable[Row], reference: CaseReference
    ) -> None:
        """Score the temperature-scaled values; what the decisions decide is copied from the model's rows."""
        origin = self._origin(reference.origin.case, SCALED)
        joint = soft.kind.joint or not self.model.structures.overlap
        values = scaled_case(self.model, soft.values, temperature)
        scaled = SoftPrediction(values, CLASSES if joint else REGIONS)
        reference = dataclasses.replace(reference, origin=origin)
        self._cases += [
            dataclasses.replace(row, run=origin.run, method=origin.method)
            for row in rows
            if METRICS[row.metric].of_decisions
        ]
        self._cases += evaluate_soft(scaled, reference, options=self.options)
        self._count(SCALED, scaled, reference)

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

    def _count(self, variant: str, soft: SoftPrediction, reference: CaseReference) -> None:
        """Fill the reliability bins; of a data set of overlapping regions, with each against the rest."""
        truth, spacing = reference.truths()[""], tuple(reference.spacing)
        pairs: Iterable[tuple[str, Tensor, Tensor]] = soft.against_rest(reference, truth)
        if not self.model.structures.overlap:
            pairs = [(WHOLE, soft.kind.probabilities(soft.values), truth)]
        for _, probs, labels in pairs:
            band = boundary_band(labels, spacing=spacing, width_mm=max(BAND_MM, *spacing))
            for name, mask in zip(BIN_SETS, (None, labels > 0, band), strict=True):
                self._bins[variant][name].update(probs, labels, mask)

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


def value_counts(values: Tensor, edges: Sequence[float]) -> Tensor:
    """Count the values between two edges each: ``len(edges) - 1`` integers.

    A value that equals an edge lies above it, one that equals the last edge in the last bin. Values beyond
    the first and the last edge, as rounding leaves them, count in the outermost bins.
    """
    # torch.histogram counts in float32, which ends at 2**24 voxels.
    between = torch.bucketize(values.flatten().float(), torch.tensor(edges[1:-1]), right=True)
    return torch.bincount(between, minlength=len(edges) - 1)
