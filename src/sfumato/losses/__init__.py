"""Losses for soft targets: torch modules with MONAI's argument names."""

from sfumato.losses.adaptive_wing import AdaptiveWingLoss, foreground_weight_map
from sfumato.losses.calibration_error import AverageCalibrationErrorLoss, DiceCEACELoss
from sfumato.losses.cross_entropy import FocalLoss, SoftCrossEntropyLoss
from sfumato.losses.margin_smoothing import MarginBasedLabelSmoothingLoss
from sfumato.losses.neighbor_aware import NeighborAwareCalibrationLoss
from sfumato.losses.overlap import DiceCELoss, DiceLoss, DiceSemimetricLoss, JaccardMetricLoss
from sfumato.losses.regression import FocalL1Loss, L1Loss, L2Loss, ProductLoss

__all__ = [
    "AdaptiveWingLoss",
    "AverageCalibrationErrorLoss",
    "DiceCEACELoss",
    "DiceCELoss",
    "DiceLoss",
    "DiceSemimetricLoss",
    "FocalL1Loss",
    "FocalLoss",
    "JaccardMetricLoss",
    "L1Loss",
    "L2Loss",
    "MarginBasedLabelSmoothingLoss",
    "NeighborAwareCalibrationLoss",
    "ProductLoss",
    "SoftCrossEntropyLoss",
    "foreground_weight_map",
]
