"""Metrics of segmentations: overlap, surfaces, volumes, lesions, calibration, raters."""

from sfumato.metrics.calibration.bins import CalibrationBins
from sfumato.metrics.calibration.boundary import boundary_band
from sfumato.metrics.calibration.errors import (
    expected_calibration_error,
    thresholded_adaptive_calibration_error,
)
from sfumato.metrics.calibration.reliability import CalibrationScores, ReliabilityBins
from sfumato.metrics.calibration.temperature import (
    fit_map_temperature,
    fit_temperature,
    map_logits,
    scale_maps,
    scale_probabilities,
)
from sfumato.metrics.lesions import LesionDetection, lesion_detection
from sfumato.metrics.overlap import (
    dice,
    iou,
    mean_squared_error,
    precision,
    recall,
    soft_dice,
    soft_iou,
    specificity,
)
from sfumato.metrics.raters import (
    RaterScores,
    generalised_energy_distance,
    mean_rater_agreement,
    qubiq_score,
    rater_agreement,
    rater_scores,
    soft_consensus,
)
from sfumato.metrics.surface.distances import SurfaceDistances, hausdorff, surface_dice, surface_distances
from sfumato.metrics.volume import (
    BlandAltman,
    absolute_volume_difference,
    bland_altman,
    relative_volume_difference,
    volume_ml,
)

__all__ = [
    "BlandAltman",
    "CalibrationBins",
    "CalibrationScores",
    "LesionDetection",
    "RaterScores",
    "ReliabilityBins",
    "SurfaceDistances",
    "absolute_volume_difference",
    "bland_altman",
    "boundary_band",
    "dice",
    "expected_calibration_error",
    "fit_map_temperature",
    "fit_temperature",
    "generalised_energy_distance",
    "hausdorff",
    "iou",
    "lesion_detection",
    "map_logits",
    "mean_rater_agreement",
    "mean_squared_error",
    "precision",
    "qubiq_score",
    "rater_agreement",
    "rater_scores",
    "recall",
    "relative_volume_difference",
    "scale_maps",
    "scale_probabilities",
    "soft_consensus",
    "soft_dice",
    "soft_iou",
    "specificity",
    "surface_dice",
    "surface_distances",
    "thresholded_adaptive_calibration_error",
    "volume_ml",
]
