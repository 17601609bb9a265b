"""The table of methods: the one place that joins the four parts under a name."""

from __future__ import annotations

from sfumato.errors import UnknownNameError
from sfumato.methods.definition import Method
from sfumato.methods.rows import (
    DICE_BCE_OPTIONS,
    DICE_CE_OPTIONS,
    DICE_OPTIONS,
    FOCAL_L1_OPTIONS,
    GEOLS,
    GEOLS_OPTIONS,
    JACCARD_OPTIONS,
    SING_OPTIONS,
    SINGR,
    SVLS,
    SVLS_OPTIONS,
    UNIFORM_OPTIONS,
    class_method,
    region_method,
    signed_method,
    softseg_method,
)

_HARD = (
    class_method("ce", "CE", "Cross-entropy on the annotated class.", "-", "one-hot"),
    class_method(
        "dice-ce",
        "Dice + CE",
        "Dice loss plus cross-entropy on the annotated class.",
        "Isensee et al. (2021)",
        "one-hot",
        loss="Dice + cross-entropy",
        loss_options=DICE_CE_OPTIONS,
    ),
    region_method(
        "dice-bce",
        "Dice + BCE",
        "Dice loss plus binary cross-entropy, each region by itself.",
        "Isensee et al. (2021)",
        "region mask",
        loss="Dice + cross-entropy",
        when="after",
        loss_options=DICE_BCE_OPTIONS,
    ),
    class_method(
        "focal",
        "Focal loss",
        "Cross-entropy that quiets the voxels already predicted well.",
        "Lin et al. (2017)",
        "one-hot",
        loss="focal",
        loss_options={"gamma": 2.0},
    ),
)

_CALIBRATED = (
    class_method(
        "nacl",
        "NACL",
        "Cross-entropy, with logits drawn towards the classes around each voxel.",
        "Murugesan et al. (2023)",
        "one-hot",
        loss="NACL",
        loss_options={"weight": 0.1, "size": 3, "kernel": "mean", "sigma": 1.0, "norm": "l1"},
    ),
    class_method(
        "mbls",
        "MbLS",
        "Cross-entropy, with a penalty on logits more than a margin apart.",
        "Liu et al. (2022)",
        "one-hot",
        loss="MbLS",
        loss_options={"weight": 0.1, "margin": 10.0},
    ),
    class_method(
        "ace",
        "Dice + CE + ACE",
        "Dice loss plus cross-entropy plus the average calibration error of each image.",
        "Barfoot et al. (2024)",
        "one-hot",
        loss="Dice + cross-entropy + ACE",
        loss_options={
            "include_background": True,
            "num_bins": 20,
            "binning": "hard",
            "lambda_dice": 1.0,
            "lambda_ce": 1.0,
            "lambda_ace": 1.0,
        },
    ),
)

_SMOOTHED = (
    class_method(
        "ls",
        "LS",
        "Every class gets the same small share of every voxel.",
        "Szegedy et al. (2016)",
        "uniform",
        label_options=UNIFORM_OPTIONS,
    ),
    region_method(
        "ls-jml",
        "LS + JML",
        "Label smoothing of each region, with the Jaccard metric loss.",
        "Wang and Blaschko (2023)",
        "uniform per region",
        loss="Jaccard metric",
        when="after",
        label_options=UNIFORM_OPTIONS,
        loss_options=JACCARD_OPTIONS,
    ),
    class_method(
        "ordinal",
        "Ordinal LS",
        "A small share of every voxel goes to the classes whose index is near.",
        "Galdran et al. (2020)",
        "ordinal",
        label_options={"alpha": 0.1, "sigma": 1.0},
    ),
    class_method(
        "svls",
        "SVLS",
        "Every voxel shares half its weight with its neighbours' classes.",
        SVLS,
        "SVLS",
        label_options=SVLS_OPTIONS,
    ),
)

_RATERS = (
    class_method(
        "moh",
        "mOH",
        "The mean of the raters' labels.",
        SVLS,
        "mean one-hot",
        when="before",
        takes_raters=True,
    ),
    class_method(
        "msvls",
        "mSVLS",
        "The mean of the raters' SVLS labels.",
        SVLS,
        "mean SVLS",
        when="before",
        takes_raters=True,
        label_options=SVLS_OPTIONS,
    ),
    class_method(
        "majority",
        "Majority vote",
        "The class that most raters chose.",
        "-",
        "majority vote",
        when="before",
        takes_raters=True,
        binarise=True,
    ),
    class_method(
        "staple",
        "STAPLE",
        "The most probable class, with raters weighed by how well each agrees with the others.",
        "Warfield, Zou and Wells (2004)",
        "STAPLE",
        when="before",
        takes_raters=True,
        binarise=True,
        label_options={"max_iterations": 1000, "tolerance": 1e-7},
    ),
)

_GEODESIC = (
    class_method(
        "geols",
        "GeoLS",
        "A small share of every voxel goes to the classes that are near along the image's intensities.",
        GEOLS,
        "geodesic",
        when="before",
        needs_image=True,
        label_options=GEOLS_OPTIONS,
    ),
    region_method(
        "geols-jml",
        "GeoLS + JML",
        "GeoLS of each region against the rest, with the Jaccard metric loss.",
        SINGR,
        "geodesic per region",
        loss="Jaccard metric",
        needs_image=True,
        label_options=GEOLS_OPTIONS,
        loss_options=JACCARD_OPTIONS,
    ),
    signed_method(
        "singr",
        "SiNGR",
        "Regression of signed geodesic distance maps, one per region.",
        SINGR,
        "SiNG",
        "Focal-L1",
        label_options=SING_OPTIONS,
        loss_options=FOCAL_L1_OPTIONS,
    ),
    signed_method(
        "singr-no-denominator",
        "SiNGR, no denominator",
        "SiNGR, the loss weighted by the error alone.",
        SINGR,
        "SiNG",
        "Focal-L1",
        label_options=SING_OPTIONS,
        loss_options={**FOCAL_L1_OPTIONS, "denominator": False},
    ),
    signed_method(
        "singr-l1",
        "SiNGR, L1",
        "SiNGR with the absolute error.",
        SINGR,
        "SiNG",
        "L1",
        label_options=SING_OPTIONS,
    ),
    signed_method(
        "singr-l2",
        "SiNGR, L2",
        "SiNGR with the squared error.",
        SINGR,
        "SiNG",
        "L2",
        label_options=SING_OPTIONS,
    ),
    signed_method(
        "singr-product",
        "SiNGR, product",
        "SiNGR with the product loss.",
        SINGR,
        "SiNG",
        "product",
        label_options=SING_OPTIONS,
        loss_options={"weight_l1": 1.0},
    ),
)

_SOFTSEG = (
    softseg_method("softseg", "SoftSeg", "Masks moved but never rounded.", "norm_relu", "Adaptive Wing"),
    softseg_method("hard-sig-dice", "Hard-Sig-Dice", "The usual training.", "sigmoid", "Dice"),
    softseg_method(
        "hard-relu-wing", "Hard-ReLU-Wing", "SoftSeg, masks rounded.", "norm_relu", "Adaptive Wing"
    ),
    softseg_method("soft-sig-wing", "Soft-Sig-Wing", "SoftSeg with a sigmoid.", "sigmoid", "Adaptive Wing"),
    softseg_method("soft-relu-dice", "Soft-ReLU-Dice", "SoftSeg with the Dice loss.", "norm_relu", "Dice"),
)

_BORDERS = (
    region_method(
        "dilation",
        "Dilation",
        "The ring around each region counts a little.",
        "Kats, Goldberger and Greenspan (2019)",
        "dilation",
        loss="Dice",
        when="after",
        label_options={"values": (0.3,)},
        loss_options={**DICE_OPTIONS, "denominator": "squares"},
    ),
    region_method(
        "superpixel",
        "Superpixel",
        "Superpixels across a region's boundary are softened by the distance to it.",
        "Li et al. (2020)",
        "superpixel",
        needs_image=True,
        label_options={
            "superpixel_voxels": 100,
            "compactness": 0.1,
            "at_boundary": "half",
            "width_mm": 1.0,
            "beta": 1.0,
        },
    ),
    region_method(
        "distance-sigmoid",
        "Distance sigmoid",
        "Each region fades over a width in millimetres.",
        "-",
        "distance sigmoid",
        label_options={"width_mm": 1.0},
    ),
    signed_method(
        "signed-distance",
        "SDM",
        "Regression of signed Euclidean distance maps, one per region.",
        "Xue et al. (2020)",
        "signed distance",
        "product",
        loss_options={"weight_l1": 1.0},
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

METHODS: dict[str, Method] = {each.name: each for group in GROUPS.values() for each in group}


def method(name: str) -> Method:
    """Look a method up by name.

    Raises:
        UnknownNameError: no method has that name; the nearest one is suggested.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]
