"""Phantoms: made-up objects with known answers, and tiny data sets of them in every layout."""

from sfumato.data.phantoms.layouts import LAYOUT_NAMES, write_layout
from sfumato.data.phantoms.phantom import (
    Appearance,
    Phantom,
    ball_scene,
    intensity_image,
    phantom,
    tumour_scene,
)
from sfumato.data.phantoms.raters import RaterModel, rater_labels, rater_shares
from sfumato.data.phantoms.scene import Scene, SmoothField, centre_labels, class_fractions
from sfumato.data.phantoms.solids import Box, Ellipsoid, HalfSpace, Solid

__all__ = [
    "LAYOUT_NAMES",
    "Appearance",
    "Box",
    "Ellipsoid",
    "HalfSpace",
    "Phantom",
    "RaterModel",
    "Scene",
    "SmoothField",
    "Solid",
    "ball_scene",
    "centre_labels",
    "class_fractions",
    "intensity_image",
    "phantom",
    "rater_labels",
    "rater_shares",
    "tumour_scene",
    "write_layout",
]
