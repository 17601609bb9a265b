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
    reference: str,
    label: str,
    *,
    loss: str | None = None,
    activation: str | None = None,
    decoder: str | None = None,
    loss_changes: Mapping[str, Any] | None = None,
) -> Method:
    """Make a method; parts that are not given are the usual ones for the label's kind of target."""
    usual = _USUAL[LABELS[label].kind]
    return Method(
        name,
        title,
        reference,
        label,
        activation or usual[0],
        loss or usual[1],
        decoder or usual[2],
        loss_changes=loss_changes or {},
    )


def _softseg(name: str, title: str, activation: str, loss: str) -> Method:
    label = "binarised-mask" if name.startswith("hard-") else "interpolated-mask"
    return row(name, title, SOFTSEG, label, activation=activation, loss=loss, decoder="tuned")


GROUPS: dict[str, tuple[Method, ...]] = {
    "hard labels": (
        row("ce", "CE", "-", "one-hot"),
        row("dice-ce", "Dice + CE", "Isensee et al. (2021)", "one-hot", loss="dice-ce"),
        row("dice-bce", "Dice + BCE", "Isensee et al. (2021)", "region-mask", loss="dice-ce"),
        row("focal", "Focal loss", "Lin et al. (2017)", "one-hot", loss="focal"),
    ),
    "calibrated": (
        row("nacl", "NACL", "Murugesan et al. (2023)", "one-hot", loss="nacl"),
        row("mbls", "MbLS", "Liu et al. (2022)", "one-hot", loss="mbls"),
        row("ace", "Dice + CE + ACE", "Barfoot et al. (2024)", "one-hot", loss="dice-ce-ace"),
    ),
    "smoothed": (
        row("ls", "LS", "Szegedy et al. (2016)", "uniform"),
        row("ls-jml", "LS + JML", "Wang and Blaschko (2023)", "uniform-per-region", loss="jaccard-metric"),
        row("ordinal", "Ordinal LS", "Galdran et al. (2020)", "ordinal"),
        row("svls", "SVLS", SVLS, "svls"),
    ),
    "several raters": (
        row("moh", "mOH", SVLS, "mean-one-hot"),
        row("msvls", "mSVLS", SVLS, "mean-svls"),
        row("majority", "Majority vote", "-", "majority-vote"),
        row("staple", "STAPLE", "Warfield, Zou and Wells (2004)", "staple"),
    ),
    "geodesic": (
        row("geols", "GeoLS", GEOLS, "geodesic"),
        row("geols-jml", "GeoLS + JML", SINGR, "geodesic-per-region", loss="jaccard-metric"),
        row("singr", "SiNGR", SINGR, "sing"),
        row(
            "singr-no-denominator",
            "SiNGR, no denominator",
            SINGR,
            "sing",
            loss_changes={"denominator": False},
        ),
        row("singr-l1", "SiNGR, L1", SINGR, "sing", loss="l1"),
        row("singr-l2", "SiNGR, L2", SINGR, "sing", loss="l2"),
        row("singr-product", "SiNGR, product", SINGR, "sing", loss="product"),
    ),
    "moved masks": (
        _softseg("softseg", "SoftSeg", "norm-relu", "adaptive-wing"),
        _softseg("hard-sig-dice", "Hard-Sig-Dice", "sigmoid", "dice"),
        _softseg("hard-relu-wing", "Hard-ReLU-Wing", "norm-relu", "adaptive-wing"),
        _softseg("soft-sig-wing", "Soft-Sig-Wing", "sigmoid", "adaptive-wing"),
        _softseg("soft-relu-dice", "Soft-ReLU-Dice", "norm-relu", "dice"),
    ),
    "around the boundary": (
        row(
            "dilation",
            "Dilation",
            "Kats, Goldberger and Greenspan (2019)",
            "dilation",
            loss="dice",
            loss_changes={"denominator": "squares"},
        ),
        row("superpixel", "Superpixel", "Li et al. (2020)", "superpixel"),
        row("distance-sigmoid", "Distance sigmoid", "-", "distance-sigmoid"),
        row("signed-distance", "SDM", "Xue et al. (2020)", "signed-distance", loss="product"),
    ),
}

METHODS: dict[str, Method] = {method.name: method for group in GROUPS.values() for method in group}
