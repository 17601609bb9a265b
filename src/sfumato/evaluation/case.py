"""Every metric of one case, as rows of the tidy table.

Structures are scored one after the other, so that no more than one pair of masks is held beside the
label maps. The graded part is scored apart from the hard part: a caller short of memory can drop the
graded prediction in between.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor

from sfumato.checks import as_tensor, require_choice, require_positive, require_same_shape, require_spacing
from sfumato.errors import DTypeError, ShapeError
from sfumato.evaluation.rows import Row
from sfumato.metrics.calibration.bins import CalibrationBins
from sfumato.metrics.calibration.boundary import boundary_band
from sfumato.metrics.calibration.errors import thresholded_adaptive_calibration_error
from sfumato.metrics.calibration.reliability import CalibrationScores
from sfumato.metrics.lesions import lesion_detection
from sfumato.metrics.overlap import dice, iou, precision, recall, soft_dice, soft_iou, specificity
from sfumato.metrics.squared_error import mean_squared_error
from sfumato.metrics.surface.distances import surface_distances
from sfumato.metrics.volume import absolute_volume_difference, relative_volume_difference, volume_ml
from sfumato.types import ArrayLike

Structures = Mapping[str, tuple[int, ...]]

MASK_METRICS = {
    "dice": "fraction",
    "iou": "fraction",
    "precision": "fraction",
    "recall": "fraction",
    "specificity": "fraction",
    "hd95": "mm",
    "hd": "mm",
    "assd": "mm",
    "masd": "mm",
    "surface_dice": "fraction",
    "avd": "fraction",
    "rvd": "fraction",
    "volume": "ml",
    "volume_ref": "ml",
    "lesion_tpr": "fraction",
    "lesion_fdr": "fraction",
    "lesion_f1": "fraction",
}
MAP_METRICS = {"mse": "fraction", "soft_dice": "fraction", "soft_iou": "fraction"}
CALIBRATION_METRICS = {
    "ece": "fraction",
    "ece_foreground": "fraction",
    "ece_boundary": "fraction",
    "classwise_ece": "fraction",
    "mce": "fraction",
    "ace": "fraction",
    "tace": "fraction",
    "brier": "fraction",
    "nll": "nats",
}
# Of the hard and of the graded prediction, where several raters outlined a case.
RATER_MASK_METRICS = dict.fromkeys(
    ("dice_raters_mean", "dice_raters_max", "iou_raters_mean", "iou_raters_max", "ged", "rater_dice"),
    "fraction",
)
RATER_MAP_METRICS = dict.fromkeys(("consensus_dice", "consensus_iou", "qubiq"), "fraction")
UNITS_OF = MASK_METRICS | MAP_METRICS | CALIBRATION_METRICS | RATER_MASK_METRICS | RATER_MAP_METRICS
_MISSING: Final[Mapping[str, Literal["nan", "diagonal"]]] = {"nan": "nan", "diagonal": "diagonal"}
DEFAULT_METRICS = (
    *(
        "dice",
        "iou",
        "precision",
        "recall",
        "hd95",
        "surface_dice",
        "avd",
        "rvd",
        "volume",
        "volume_ref",
    ),
    *("mse", "soft_dice", "ece", "ece_foreground", "tace", "brier", "nll"),
    *RATER_MASK_METRICS,
    *RATER_MAP_METRICS,
)


@dataclass(frozen=True)
class Origin:
    """What the rows of one case say about where they come from."""

    run: str
    method: str
    dataset: str
    seed: int | None
    fold: int | None
    case: str
    rater: str = ""  # whose mask the reference is; empty: nobody's alone


@dataclass(frozen=True)
class Settings:
    """How to score.

    Raises:
        UnknownNameError: A metric or the treatment of missing surfaces is unknown.
        ValueRangeError: The tolerance or the band is not above 0.
    """

    metrics: tuple[str, ...] = DEFAULT_METRICS
    tolerance_mm: float | int = 2.0  # of the surface Dice
    missing: str = "nan"  # or "diagonal": distances where only one mask is empty
    num_bins: int = 10  # of ECE and TACE
    threshold: float | int = 1e-3  # of TACE
    min_overlap: int = 3  # voxels of overlap that find a lesion
    band_mm: float | int = 3.0  # reach of the boundary band of ece_boundary, to either side

    def __post_init__(self) -> None:
        for name in self.metrics:
            require_choice("metric", name, UNITS_OF)
        require_choice("treatment of missing surfaces", self.missing, _MISSING)
        require_positive("tolerance_mm", self.tolerance_mm)
        require_positive("band_mm", self.band_mm)


DEFAULT_SETTINGS = Settings()


def evaluate_case(
    prediction: ArrayLike,
    reference: ArrayLike,
    *,
    structures: Structures,
    spacing: Sequence[float | int],
    origin: Origin,
    settings: Settings = DEFAULT_SETTINGS,
    soft: ArrayLike | None = None,
    probs: ArrayLike | None = None,
    reference_maps: ArrayLike | None = None,
) -> list[Row]:
    """Score one case: hard masks, and where there are any, graded maps and class probabilities.

    Args:
        prediction: Labels ``(*S)``, integers, or one mask per structure ``(R, *S)``, boolean.
        reference: The same for the reference; the two need not be of one kind.
        structures: Name of each structure, and the labels that form it. The order is that of the masks.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        origin: What the rows say about themselves.
        settings: Which metrics, and how.
        soft: Graded prediction in [0, 1], one map per structure ``(R, *S)``: adds MSE and soft Dice.
        probs: Class probabilities ``(K, *S)``, background first: adds the calibration, with structure
            ``all``; the reference must then be labels.
        reference_maps: The reference's own weight of each structure in [0, 1], ``(R, *S)``, where it has no
            mask and ``reference`` is those weights made hard: graded maps are then compared with them.

    Returns:
        One row per structure and metric. A structure that is empty in both masks has overlap 1, distance
        0, and undefined volume differences; one that is empty in one mask has overlap 0 and undefined
        distances (or the image diagonal, by ``settings``).

    Raises:
        ShapeError: The arrays' shapes do not fit each other, the structures or the spacing.
        DTypeError: Labels hold fractions.
        ValueRangeError: Probabilities or maps are out of range.
    """
    rows = evaluate_masks(
        prediction, reference, structures=structures, spacing=spacing, origin=origin, settings=settings
    )
    if soft is not None:
        truth = reference if reference_maps is None else reference_maps
        rows += evaluate_maps(
            soft, truth, structures=structures, spacing=spacing, origin=origin, settings=settings
        )
    if probs is not None:
        rows += evaluate_calibration(probs, reference, spacing=spacing, origin=origin, settings=settings)
    return rows


def evaluate_masks(
    prediction: ArrayLike,
    reference: ArrayLike,
    *,
    structures: Structures,
    spacing: Sequence[float | int],
    origin: Origin,
    settings: Settings = DEFAULT_SETTINGS,
) -> list[Row]:
    """Score the hard masks of one case; arguments and errors as :func:`evaluate_case`."""
    pred, ref = (
        checked(*pair, spacing, structures) for pair in (("prediction", prediction), ("reference", reference))
    )
    require_same_shape("prediction", _space(pred, spacing), "reference", _space(ref, spacing))
    rows: list[Row] = []
    for index, (name, labels) in enumerate(structures.items()):
        first, second = one_mask(pred, index, labels, spacing), one_mask(ref, index, labels, spacing)
        reason = _reason(first, second)
        values = _mask_values(first, second, spacing, settings)
        rows += _rows(values, name, reason, origin, [m for m in settings.metrics if m in MASK_METRICS])
    return rows


def evaluate_maps(
    soft: ArrayLike,
    reference: ArrayLike,
    *,
    structures: Structures,
    spacing: Sequence[float | int],
    origin: Origin,
    settings: Settings = DEFAULT_SETTINGS,
) -> list[Row]:
    """Score graded maps ``(R, *S)`` in [0, 1] against hard masks; arguments as :func:`evaluate_case`.

    The reference may be graded itself: one map per structure, ``(R, *S)`` in [0, 1].
    """
    maps, ref = as_tensor(soft), checked("reference", reference, spacing, structures)
    require_same_shape("soft", maps.shape, "structures and axes", (len(structures), *_space(ref, spacing)))
    rows: list[Row] = []
    for index, (name, labels) in enumerate(structures.items()):
        first, second = maps[index][None], one_mask(ref, index, labels, spacing)
        scores = {"mse": mean_squared_error, "soft_dice": soft_dice, "soft_iou": soft_iou}
        chosen = [metric for metric in settings.metrics if metric in MAP_METRICS]
        # One leading axis and this case's own number of spatial axes, whatever that number is.
        values = {m: float(scores[m](first, second, spatial_axes=len(spacing))) for m in chosen}
        rows += _rows(values, name, "ok", origin, chosen)
    return rows


def evaluate_calibration(
    probs: ArrayLike,
    reference: ArrayLike,
    *,
    spacing: Sequence[float | int],
    origin: Origin,
    settings: Settings = DEFAULT_SETTINGS,
    structure: str = "all",
) -> list[Row]:
    """Score class probabilities ``(K, *S)`` against labels ``(*S)``: one row per metric.

    Arguments and errors as :func:`evaluate_case`. Without foreground in the reference, ``ece_foreground``
    is undefined; without a foreground probability above the threshold, so is ``tace``; and in a reference of
    one class only, which has no surface, ``ece_boundary``. ``ace`` and ``classwise_ece`` are those of
    :class:`~sfumato.metrics.calibration.bins.CalibrationBins`, ``ace`` within the error stated there.
    """
    # A batch of one is never mistaken for something else.
    values, labels = as_tensor(probs)[None], as_tensor(reference)[None]
    chosen = [metric for metric in settings.metrics if metric in CALIBRATION_METRICS]
    found: dict[str, float] = {}
    if {"ece", "classwise_ece", "mce", "ace", "brier", "nll"} & set(chosen):
        scores = _binned(values, labels, None, settings)
        found |= {"ece": scores.ece, "mce": scores.mce, "ace": scores.ace}
        found |= {"classwise_ece": scores.classwise_ece_mean, "brier": scores.brier, "nll": scores.nll}
    if "ece_foreground" in chosen:
        found["ece_foreground"] = _binned(values, labels, labels != 0, settings).ece
    if "tace" in chosen:
        found["tace"] = thresholded_adaptive_calibration_error(
            values, labels, num_bins=settings.num_bins, threshold=settings.threshold
        )
    no_reference, no_prediction = not bool((labels != 0).any()), math.isnan(found.get("tace", 0.0))
    reason = _name_of_emptiness(no_prediction, no_reference)
    rows = _rows(found, structure, reason, origin, [metric for metric in chosen if metric != "ece_boundary"])
    if "ece_boundary" in chosen:
        band = boundary_band(labels[0], spacing=spacing, width_mm=max(settings.band_mm, *spacing))
        found["ece_boundary"] = _binned(values, labels, band[None], settings).ece
        rows += _rows(found, structure, "no_voxel", origin, ["ece_boundary"])
    return rows


def _binned(values: Tensor, labels: Tensor, mask: Tensor | None, settings: Settings) -> CalibrationScores:
    bins = CalibrationBins(values.shape[1], num_bins=settings.num_bins)
    bins.update(values, labels, mask=mask)
    return bins.compute()


def checked(name: str, array: ArrayLike, spacing: Sequence[float | int], structures: Structures) -> Tensor:
    """Give labels ``(*S)`` or one mask per structure ``(R, *S)`` as a tensor; raise for anything else."""
    tensor = as_tensor(array)
    space = _space(tensor, spacing)
    require_spacing(spacing, space, name=name)
    if tensor.ndim > len(spacing):
        if tensor.ndim != len(spacing) + 1 or len(tensor) != len(structures):
            raise ShapeError(
                f"{name} has shape {tuple(tensor.shape)}: give labels (*S) with {len(spacing)} axes, or one "
                f"mask for each of {len(structures)} structures"
            )
        return tensor
    if tensor.is_floating_point() or tensor.is_complex():
        raise DTypeError(f"{name} has dtype {tensor.dtype}: labels must be integers, not fractions")
    return tensor


def _space(array: Tensor, spacing: Sequence[float | int]) -> tuple[int, ...]:
    return tuple(array.shape[max(array.ndim - len(spacing), 0) :])


def one_mask(array: Tensor, index: int, labels: tuple[int, ...], spacing: Sequence[float | int]) -> Tensor:
    """Give the mask of one structure, ``(1, *S)``."""
    if array.ndim > len(spacing):
        return array[index : index + 1]
    found = array == labels[0]
    for label in labels[1:]:
        found |= array == label
    return found[None]


def _mask_values(
    pred: Tensor, ref: Tensor, spacing: Sequence[float | int], settings: Settings
) -> dict[str, float]:
    wanted, axes = set(settings.metrics), len(spacing)
    plain = {
        "dice": dice,
        "iou": iou,
        "precision": precision,
        "recall": recall,
        "specificity": specificity,
        "avd": absolute_volume_difference,
        "rvd": relative_volume_difference,
    }
    values = {
        metric: float(score(pred, ref, spatial_axes=axes))
        for metric, score in plain.items()
        if metric in wanted
    }
    if {"volume", "volume_ref"} & wanted:
        values["volume"] = float(volume_ml(pred, spacing=spacing))
        values["volume_ref"] = float(volume_ml(ref, spacing=spacing))
    if {"hd95", "hd", "assd", "masd", "surface_dice"} & wanted:
        values |= _surface_values(pred, ref, spacing, settings)
    if {"lesion_tpr", "lesion_fdr", "lesion_f1"} & wanted:
        lesions = lesion_detection(pred, ref, min_overlap=settings.min_overlap, spatial_axes=axes)
        values["lesion_tpr"] = float(lesions.true_positive_rate())
        values["lesion_fdr"] = float(lesions.false_detection_rate())
        values["lesion_f1"] = float(lesions.f1())
    return values


def _surface_values(
    pred: Tensor, ref: Tensor, spacing: Sequence[float | int], settings: Settings
) -> dict[str, float]:
    """Surface metrics from one computation of the surfaces."""
    surfaces, missing = surface_distances(pred, ref, spacing=spacing), _MISSING[settings.missing]
    return {
        "hd95": float(surfaces.hausdorff(percentile=95.0, missing=missing)),
        "hd": float(surfaces.hausdorff(percentile=100.0, missing=missing)),
        "assd": float(surfaces.assd(missing=missing)),
        "masd": float(surfaces.masd(missing=missing)),
        "surface_dice": float(surfaces.surface_dice(settings.tolerance_mm)),
    }


def _reason(pred: Tensor, ref: Tensor) -> str:
    return _name_of_emptiness(not bool(pred.any()), not bool(ref.any()))


def _name_of_emptiness(no_prediction: bool, no_reference: bool) -> str:  # noqa: FBT001 - two plain facts
    if no_prediction and no_reference:
        return "both_empty"
    if no_prediction:
        return "empty_prediction"
    return "empty_reference" if no_reference else "ok"


def _rows(
    values: Mapping[str, float], structure: str, reason: str, origin: Origin, metrics: list[str]
) -> list[Row]:
    """Give one row per metric: ``ok`` where the value is defined, else the reason why it is not."""
    told = dataclasses.asdict(origin)
    return [
        Row(
            structure=structure,
            metric=metric,
            value=values[metric],
            unit=UNITS_OF[metric],
            status=reason if math.isnan(values[metric]) else "ok",
            **told,
        )
        for metric in metrics
    ]
