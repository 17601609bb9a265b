"""The table of methods: the one place that joins the four parts under a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfumato.labels.table import LABELS
from sfumato.methods.definition import Method
from sfumato.structures import CLASSES, REGIONS, SIGNED

SVLS = "Islam and Glocker (2021)"
GEOLS = "Adiga Vasudeva, Dolz and Lombaert (2024)"
SINGR = "Dang, Nguyen and Tiulpin (2024)"
SOFTSEG = "Gros, Lemay and Cohen-Adad (2021)"

# What goes with each kind of target, unless a row says otherwise: activation, loss, decoder.
_USUAL = {
    CLASSES: ("softmax", "soft-cross-entropy", "argmax"),
    REGIONS: ("sigmoid", "soft-cross-entropy", "half"),
    SIGNED: ("tanh", "focal-l1", "zero"),
}


def row(
    name: str,
    title: str,
    summary: str,
    reference: str,
    label: str,
    *,
    loss: str | None = None,
    activation: str | None = None,
    decoder: str | None = None,
    label_changes: Mapping[str, Any] | None = None,
    loss_changes: Mapping[str, Any] | None = None,
) -> Method:
    """Make a method; parts that are not given are the usual ones for the label's kind of target."""
    usual = _USUAL[LABELS[label].kind]
    return Method(
        name,
        title,
        summary,
        reference,
        label,
        activation or usual[0],
        loss or usual[1],
        decoder or usual[2],
        label_changes or {},
        loss_changes or {},
    )


_HARD = (
    row("ce", "CE", "Cross-entropy on the annotated class.", "-", "one-hot"),
    row(
        "dice-ce",
        "Dice + CE",
        "Dice loss plus cross-entropy on the annotated class.",
        "Isensee et al. (2021)",
        "one-hot",
        loss="dice-ce",
    ),
    row(
        "dice-bce",
        "Dice + BCE",
        "Dice loss plus binary cross-entropy, each region by itself.",
        "Isensee et al. (2021)",
        "region-mask",
        loss="dice-ce",
    ),
    row(
        "focal",
        "Focal loss",
        "Cross-entropy that quiets the voxels already predicted well.",
        "Lin et al. (2017)",
        "one-hot",
        loss="focal",
    ),
)

_CALIBRATED = (
    row(
        "nacl",
        "NACL",
        "Cross-entropy, with logits drawn towards the classes around each voxel.",
        "Murugesan et al. (2023)",
        "one-hot",
        loss="nacl",
    ),
    row(
        "mbls",
        "MbLS",
        "Cross-entropy, with a penalty on logits more than a margin apart.",
        "Liu et al. (2022)",
        "one-hot",
        loss="mbls",
    ),
    row(
        "ace",
        "Dice + CE + ACE",
        "Dice loss plus cross-entropy plus the average calibration error of each image.",
        "Barfoot et al. (2024)",
        "one-hot",
        loss="dice-ce-ace",
    ),
)

_SMOOTHED = (
    row(
        "ls",
        "LS",
        "Every class gets the same small share of every voxel.",
        "Szegedy et al. (2016)",
        "uniform",
    ),
    row(
        "ls-jml",
        "LS + JML",
        "Label smoothing of each region, with the Jaccard metric loss.",
        "Wang and Blaschko (2023)",
        "uniform-per-region",
        loss="jaccard-metric",
    ),
    row(
        "ordinal",
        "Ordinal LS",
        "A small share of every voxel goes to the classes whose index is near.",
        "Galdran et al. (2020)",
        "ordinal",
    ),
    row("svls", "SVLS", "Every voxel shares half its weight with its neighbours' classes.", SVLS, "svls"),
)

_RATERS = (
    row("moh", "mOH", "The mean of the raters' labels.", SVLS, "mean-one-hot"),
    row("msvls", "mSVLS", "The mean of the raters' SVLS labels.", SVLS, "mean-svls"),
    row("majority", "Majority vote", "The class that most raters chose.", "-", "majority-vote"),
    row(
        "staple",
        "STAPLE",
        "The most probable class, with raters weighed by how well each agrees with the others.",
        "Warfield, Zou and Wells (2004)",
        "staple",
    ),
)

_GEODESIC = (
    row(
        "geols",
        "GeoLS",
        "A small share of every voxel goes to the classes that are near along the image's intensities.",
        GEOLS,
        "geodesic",
    ),
    row(
        "geols-jml",
        "GeoLS + JML",
        "GeoLS of each region against the rest, with the Jaccard metric loss.",
        SINGR,
        "geodesic-per-region",
        loss="jaccard-metric",
    ),
    row("singr", "SiNGR", "Regression of signed geodesic distance maps, one per region.", SINGR, "sing"),
    row(
        "singr-no-denominator",
        "SiNGR, no denominator",
        "SiNGR, the loss weighted by the error alone.",
        SINGR,
        "sing",
        loss_changes={"denominator": False},
    ),
    row("singr-l1", "SiNGR, L1", "SiNGR with the absolute error.", SINGR, "sing", loss="l1"),
    row("singr-l2", "SiNGR, L2", "SiNGR with the squared error.", SINGR, "sing", loss="l2"),
    row("singr-product", "SiNGR, product", "SiNGR with the product loss.", SINGR, "sing", loss="product"),
)


def _softseg(name: str, title: str, summary: str, activation: str, loss: str) -> Method:
    label = "binarised-mask" if name.startswith("hard-") else "interpolated-mask"
    return row(name, title, summary, SOFTSEG, label, activation=activation, loss=loss, decoder="tuned")


_SOFTSEG = (
    _softseg("softseg", "SoftSeg", "Masks moved but never rounded.", "norm-relu", "adaptive-wing"),
    _softseg("hard-sig-dice", "Hard-Sig-Dice", "The usual training.", "sigmoid", "dice"),
    _softseg("hard-relu-wing", "Hard-ReLU-Wing", "SoftSeg, masks rounded.", "norm-relu", "adaptive-wing"),
    _softseg("soft-sig-wing", "Soft-Sig-Wing", "SoftSeg with a sigmoid.", "sigmoid", "adaptive-wing"),
    _softseg("soft-relu-dice", "Soft-ReLU-Dice", "SoftSeg with the Dice loss.", "norm-relu", "dice"),
)

_BORDERS = (
    row(
        "dilation",
        "Dilation",
        "The ring around each region counts a little.",
        "Kats, Goldberger and Greenspan (2019)",
        "dilation",
        loss="dice",
        loss_changes={"denominator": "squares"},
    ),
    row(
        "superpixel",
        "Superpixel",
        "Superpixels across a region's boundary are softened by the distance to it.",
        "Li et al. (2020)",
        "superpixel",
    ),
    row(
        "distance-sigmoid",
        "Distance sigmoid",
        "Each region fades over a width in millimetres.",
        "-",
        "distance-sigmoid",
    ),
    row(
        "signed-distance",
        "SDM",
        "Regression of signed Euclidean distance maps, one per region.",
        "Xue et al. (2020)",
        "signed-distance",
        loss="product",
    ),
)

GROUPS: dict[str, tuple[Method, ...]] = {
    "hard labels": _HARD,
    "calibrated": _CALIBRATED,
    "smoothed": _SMOOTHED,
    "several raters": _RATERS,
    "geodesic": _GEODESIC,
    "moved masks": _SOFTSEG,
    "around the boundary": _BORDERS,
}

METHODS: dict[str, Method] = {method.name: method for group in GROUPS.values() for method in group}
