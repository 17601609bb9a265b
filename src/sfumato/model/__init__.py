"""A trained network with its recipe: load it, predict, choose a threshold, fit a temperature."""

from sfumato.errors import optional_libraries

with optional_libraries():
    from sfumato.model.checkpoint import load
    from sfumato.model.model import Model, Prediction, SegmentationTask
    from sfumato.model.predict import predict
    from sfumato.model.uncertainty import Sampling, predict_uncertain, predict_with_uncertainty

__all__ = [
    "Model",
    "Prediction",
    "Sampling",
    "SegmentationTask",
    "load",
    "predict",
    "predict_uncertain",
    "predict_with_uncertainty",
]
