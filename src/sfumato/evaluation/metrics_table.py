"""The metrics: one table that scoring, statistics, tables and the report read.

A new metric is a function in :mod:`sfumato.metrics` and an entry here. One from outside the package is an
entry made elsewhere, ``METRICS["wrong_share"] = Metric("wrong_share", ...)``: from then on it is computed and
shown as the others are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

from torch import Tensor

from sfumato import metrics
from sfumato.checks import require_choice, require_positive
from sfumato.metrics.raters import agreement_with_others
from sfumato.types import Spacing

Better = Literal["up", "down", "zero"]  # "zero": the closer to 0, from either side
Needs = Literal["masks", "maps", "probabilities", "rater_masks", "rater_maps", "rater_pairs"]
Place = Literal["summary", "terminal", "strips"]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: What tables of results call it.
        title: What people call it.
        unit: Unit of its values.
        better: Which way is better; None for what is no score, such as a volume.
        group: The table of the report that shows it.
        needs: What ``function`` takes: ``masks`` a :class:`MaskPair`, ``maps`` and ``rater_maps`` a
            :class:`MapPair` (the latter with the raters' mean as reference), ``probabilities`` a
            :class:`Calibrated`, ``rater_masks`` a :class:`RaterMasks`, and ``rater_pairs`` the raters' masks
            ``(D, 1, *S)``.
        function: Computes the value of one structure of one case; of ``rater_pairs`` one value per rater.
        computed: In every evaluation, in those of runs only, or only where asked for.
        shown_in: Where it is shown besides its group's table: in the report's main table, in the table that
            ends a job, case by case.
        undefined: Status of an undefined value, where it is not which mask is empty.
    """

    name: str
    title: str
    unit: str
    better: Better | None
    group: str
    needs: Needs
    function: Callable[[Any], Tensor | float]
    computed: Literal["always", "in runs", "on demand"] = "always"
    shown_in: tuple[Place, ...] = ()
    undefined: str = ""

    @property
    def of_decisions(self) -> bool:
        """Whether the hard prediction and the raters alone decide the value."""
        return self.needs in ("masks", "rater_masks", "rater_pairs")


METRICS: dict[str, Metric] = {}


def default_metrics(*, of_runs: bool = False) -> tuple[str, ...]:
    """Return the names of the metrics that are computed unless others are asked for."""
    computed = ("always", "in runs") if of_runs else ("always",)
    return tuple(name for name, metric in METRICS.items() if metric.computed in computed)


@dataclass(frozen=True)
class ScoringOptions:
    """Which metrics are computed, and how.

    Raises:
        UnknownNameError: A metric or the treatment of missing surfaces is unknown.
        ValueRangeError: The tolerance or the band is not above 0.
    """

    metrics: tuple[str, ...] = field(default_factory=default_metrics)
    tolerance_mm: float | int = 2.0  # of the surface Dice
    missing: str = "nan"  # or "diagonal": distances where only one mask is empty
    num_bins: int = 10  # of ECE and TACE
    threshold: float | int = 1e-3  # of TACE
    min_overlap: int = 3  # voxels of overlap that find a lesion
    band_mm: float | int = 3.0  # reach of the boundary band of ece_boundary, to either side

    def __post_init__(self) -> None:
        for name in self.metrics:
            require_choice("metric", name, METRICS)
        require_choice("treatment of missing surfaces", self.missing, ("nan", "diagonal"))
        require_positive("tolerance_mm", self.tolerance_mm)
        require_positive("band_mm", self.band_mm)

    def chosen(self, needs: Needs) -> list[Metric]:
        """Return the chosen metrics that need this."""
        return [METRICS[name] for name in self.metrics if METRICS[name].needs == needs]


@dataclass(frozen=True, eq=False)
class MaskPair:
    """Prediction and reference of one structure as masks ``(1, *S)``; surfaces are computed once."""

    prediction: Tensor
    reference: Tensor
    spacing: Spacing
    options: ScoringOptions

    @cached_property
    def undefined(self) -> str:
        """Which mask is empty, as the status of undefined values."""
        return status(
            no_prediction=not bool(self.prediction.any()), no_reference=not bool(self.reference.any())
        )

    @property
    def missing(self) -> str:
        """What distances are where only one mask is empty."""
        return self.options.missing

    @cached_property
    def surfaces(self) -> metrics.SurfaceDistances:
        """The surfaces' distances."""
        return metrics.surface_distances(self.prediction, self.reference, spacing=self.spacing)

    @cached_property
    def lesions(self) -> metrics.LesionDetection:
        """The lesions found and missed."""
        overlap, axes = self.options.min_overlap, len(self.spacing)
        return metrics.lesion_detection(
            self.prediction, self.reference, min_overlap=overlap, spatial_axes=axes
        )


@dataclass(frozen=True, eq=False)
class MapPair:
    """Soft prediction and reference of one structure as maps ``(1, *S)`` in [0, 1]."""

    prediction: Tensor
    reference: Tensor
    spacing: Spacing

    undefined = "ok"


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Class probabilities ``(1, K, *S)`` and labels ``(1, *S)``; the bins are filled once."""

    probs: Tensor
    labels: Tensor
    spacing: Spacing
    options: ScoringOptions

    @cached_property
    def undefined(self) -> str:
        """Whether the reference or the prediction has no foreground, as the status of undefined values."""
        nothing = "tace" in self.options.metrics and math.isnan(self.tace)
        return status(no_prediction=nothing, no_reference=not bool((self.labels != 0).any()))

    @cached_property
    def scores(self) -> metrics.CalibrationScores:
        """The scores of all voxels."""
        return self.within(None)

    def within(self, mask: Tensor | None) -> metrics.CalibrationScores:
        """Return the scores of the voxels of a mask ``(1, *S)``."""
        bins = metrics.CalibrationBins(self.probs.shape[1], num_bins=self.options.num_bins)
        bins.update(self.probs, self.labels, mask=mask)
        return bins.compute()

    @property
    def band(self) -> Tensor:
        """The voxels near the reference's surface, ``(1, *S)``; at least one voxel wide."""
        width = max(self.options.band_mm, *self.spacing)
        return metrics.boundary_band(self.labels[0], spacing=self.spacing, width_mm=width)[None]

    @cached_property
    def tace(self) -> float:
        """The thresholded adaptive calibration error."""
        bins, threshold = self.options.num_bins, self.options.threshold
        return metrics.thresholded_adaptive_calibration_error(
            self.probs, self.labels, num_bins=bins, threshold=threshold
        )


@dataclass(frozen=True, eq=False)
class RaterMasks:
    """One structure's prediction ``(1, *S)`` and raters' masks ``(D, 1, *S)``, cropped to what they hold."""

    prediction: Tensor
    raters: Tensor

    undefined = "ok"

    @cached_property
    def dice(self) -> metrics.RaterScores:
        """The prediction's Dice with each rater."""
        return metrics.rater_scores(self.prediction, self.raters)

    @cached_property
    def iou(self) -> metrics.RaterScores:
        """The prediction's IoU with each rater."""
        score = partial(metrics.iou, spatial_axes=self.prediction.ndim - 1)
        return metrics.rater_scores(self.prediction, self.raters, score=score)


def status(*, no_prediction: bool, no_reference: bool) -> str:
    """Return which of the two is empty, as tables of results say it."""
    if no_prediction and no_reference:
        return "both_empty"
    if no_prediction:
        return "empty_prediction"
    return "empty_reference" if no_reference else "ok"


def _of(score: Callable[..., Tensor]) -> Callable[[MaskPair | MapPair], Tensor]:
    """Apply a function of prediction and reference to a pair of one structure."""
    return lambda pair: score(pair.prediction, pair.reference, spatial_axes=len(pair.spacing))


def _hausdorff(percentile: float) -> Callable[[MaskPair], Tensor]:
    return lambda pair: pair.surfaces.hausdorff(percentile=percentile, missing=pair.missing)


_EVERYWHERE: tuple[Place, ...] = ("summary", "terminal", "strips")
_overlap = partial(Metric, unit="fraction", group="Overlap", needs="masks")
_surface = partial(Metric, unit="mm", better="down", group="Surface and volume", needs="masks")
_further_surface = partial(_surface, computed="on demand")
_volume, _volume_gap = partial(_surface, unit="ml", better=None), partial(_surface, unit="fraction")
# A run cannot be asked for further metrics afterwards.
_lesion = partial(Metric, unit="fraction", group="Lesions", needs="masks", computed="in runs")
_map = partial(Metric, unit="fraction", group="Overlap", needs="maps")
_calibration = partial(Metric, unit="fraction", better="down", group="Calibration", needs="probabilities")
_rater = partial(Metric, unit="fraction", group="Several raters", needs="rater_masks")
_consensus = partial(_rater, better="up", needs="rater_maps")

METRICS |= {
    metric.name: metric
    for metric in (
        _overlap("dice", "Dice", better="up", function=_of(metrics.dice), shown_in=_EVERYWHERE),
        _overlap("iou", "IoU", better="up", function=_of(metrics.iou), shown_in=("terminal",)),
        _overlap(
            "precision", "Precision", better="up", function=_of(metrics.precision), shown_in=("summary",)
        ),
        _overlap("recall", "Recall", better="up", function=_of(metrics.recall), shown_in=("summary",)),
        _overlap(
            "specificity", "Specificity", better="up", function=_of(metrics.specificity), computed="on demand"
        ),
        _surface("hd95", "HD95", function=_hausdorff(95.0), shown_in=_EVERYWHERE),
        _further_surface("hd", "HD", function=_hausdorff(100.0)),
        _further_surface("assd", "ASSD", function=lambda pair: pair.surfaces.assd(missing=pair.missing)),
        _further_surface("masd", "MASD", function=lambda pair: pair.surfaces.masd(missing=pair.missing)),
        _surface(
            "surface_dice",
            "Surface Dice",
            unit="fraction",
            better="up",
            function=lambda pair: pair.surfaces.surface_dice(pair.options.tolerance_mm),
            shown_in=_EVERYWHERE,
        ),
        _volume_gap(
            "avd",
            "Abs. volume difference",
            function=_of(metrics.absolute_volume_difference),
            shown_in=("terminal",),
        ),
        _volume_gap(
            "rvd",
            "Rel. volume difference",
            better="zero",
            function=_of(metrics.relative_volume_difference),
            shown_in=("strips",),
        ),
        _volume(
            "volume", "Volume", function=lambda pair: metrics.volume_ml(pair.prediction, spacing=pair.spacing)
        ),
        _volume(
            "volume_ref",
            "Volume of reference",
            function=lambda pair: metrics.volume_ml(pair.reference, spacing=pair.spacing),
        ),
        _lesion(
            "lesion_tpr", "Lesion TPR", better="up", function=lambda pair: pair.lesions.true_positive_rate()
        ),
        _lesion(
            "lesion_fdr",
            "Lesion FDR",
            better="down",
            function=lambda pair: pair.lesions.false_detection_rate(),
        ),
        _lesion(
            "lesion_f1",
            "Lesion F1",
            better="up",
            function=lambda pair: pair.lesions.f1(),
            computed="on demand",
        ),
        _map("mse", "MSE", better="down", function=_of(metrics.mean_squared_error), shown_in=("terminal",)),
        _map("soft_dice", "Soft Dice", better="up", function=_of(metrics.soft_dice)),
        _map("soft_iou", "Soft IoU", better="up", function=_of(metrics.soft_iou), computed="on demand"),
        _calibration("ece", "ECE", function=lambda case: case.scores.ece, shown_in=_EVERYWHERE),
        _calibration(
            "ece_foreground", "ECE foreground", function=lambda case: case.within(case.labels != 0).ece
        ),
        _calibration(
            "ece_boundary",
            "ECE near the boundary",
            function=lambda case: case.within(case.band).ece,
            computed="on demand",
            undefined="no_voxel",
        ),
        _calibration(
            "classwise_ece",
            "Classwise ECE",
            function=lambda case: case.scores.classwise_ece_mean,
            computed="on demand",
        ),
        _calibration("mce", "MCE", function=lambda case: case.scores.mce, computed="on demand"),
        _calibration("ace", "ACE", function=lambda case: case.scores.ace, computed="on demand"),
        _calibration("tace", "TACE", function=lambda case: case.tace, shown_in=_EVERYWHERE),
        _calibration("brier", "Brier", function=lambda case: case.scores.brier),
        _calibration("nll", "NLL", unit="nats", function=lambda case: case.scores.nll),
        _rater("dice_raters_mean", "Dice, mean of raters", better="up", function=lambda case: case.dice.mean),
        _rater("dice_raters_max", "Dice, best rater", better="up", function=lambda case: case.dice.highest),
        _rater("iou_raters_mean", "IoU, mean of raters", better="up", function=lambda case: case.iou.mean),
        _rater("iou_raters_max", "IoU, best rater", better="up", function=lambda case: case.iou.highest),
        _consensus("consensus_dice", "Dice with soft consensus", function=_of(metrics.soft_dice)),
        _consensus("consensus_iou", "IoU with soft consensus", function=_of(metrics.soft_iou)),
        _consensus(
            "qubiq",
            "QUBIQ score",
            function=lambda pair: metrics.qubiq_score(pair.prediction, pair.reference),
            shown_in=("summary",),
        ),
        _rater(
            "ged",
            "GED",
            better="down",
            function=lambda case: metrics.generalised_energy_distance(case.prediction[None], case.raters),
            shown_in=("summary",),
        ),
        _rater(
            "rater_dice",
            "Dice between raters",
            better=None,
            needs="rater_pairs",
            function=agreement_with_others,
        ),
    )
}
