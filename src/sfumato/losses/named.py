"""Losses by their printed names, each on the activation that a method chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from sfumato.errors import InputError
from sfumato.losses.adaptive_wing import AdaptiveWingLoss
from sfumato.losses.base import Activation
from sfumato.losses.calibration_error import DiceCEACELoss
from sfumato.losses.cross_entropy import FocalLoss, SoftCrossEntropyLoss
from sfumato.losses.margin_smoothing import MarginBasedLabelSmoothingLoss
from sfumato.losses.neighbor_aware import NeighborAwareCalibrationLoss
from sfumato.losses.overlap import DiceCELoss, DiceLoss, DiceSemimetricLoss, JaccardMetricLoss
from sfumato.losses.regression import FocalL1Loss, L1Loss, L2Loss, ProductLoss

LOSSES: dict[str, Callable[..., nn.Module]] = {
    "soft cross-entropy": SoftCrossEntropyLoss,
    "focal": FocalLoss,
    "NACL": NeighborAwareCalibrationLoss,
    "MbLS": MarginBasedLabelSmoothingLoss,
    "Dice": DiceLoss,
    "Dice + cross-entropy": DiceCELoss,
    "Dice + cross-entropy + ACE": DiceCEACELoss,
    "Dice semimetric": DiceSemimetricLoss,
    "Jaccard metric": JaccardMetricLoss,
    "Focal-L1": FocalL1Loss,
    "L1": L1Loss,
    "L2": L2Loss,
    "product": ProductLoss,
    "Adaptive Wing": AdaptiveWingLoss,
}

# These take logits and choose between softmax and sigmoid themselves.
_OWN_ACTIVATION: dict[str, dict[str, dict[str, bool]]] = {
    "soft cross-entropy": {"softmax": {}, "sigmoid": {"sigmoid": True}},
    "focal": {"softmax": {}, "sigmoid": {"use_softmax": False}},
    "NACL": {"softmax": {}},
    "MbLS": {"softmax": {}},
    "Dice + cross-entropy + ACE": {"softmax": {"softmax": True}, "sigmoid": {"sigmoid": True}},
    "Dice + cross-entropy": {"softmax": {"softmax": True}, "sigmoid": {"sigmoid": True}},
}


def build_loss(
    name: str, *, activation_name: str, activation: Activation, options: Mapping[str, Any]
) -> nn.Module:
    """Build a loss that takes raw logits.

    Args:
        name: A key of ``LOSSES``.
        activation_name: The activation's name, for the losses that compute it themselves, more accurately.
        activation: The activation, for the others.
        options: Further arguments of the loss.

    Raises:
        InputError: a cross-entropy with an activation that it does not know.
    """
    if name not in _OWN_ACTIVATION:
        return LOSSES[name](other_act=activation, **options)
    known = _OWN_ACTIVATION[name]
    if activation_name not in known:
        raise InputError(f"the loss {name!r} needs {' or '.join(known)}, not {activation_name!r}")
    return LOSSES[name](**known[activation_name], **options)
