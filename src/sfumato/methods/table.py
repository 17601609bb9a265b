"""The table of methods: the one place that joins the four parts under a name."""

from __future__ import annotations

from sfumato.errors import UnknownNameError
from sfumato.methods.definition import Method, Options, When

_SVLS_OPTIONS: Options = {"sigma": 1.0, "size": 3, "unit": "voxel"}
_GEOLS_OPTIONS: Options = {
    "alpha": 0.1,
    "seeds": "skeleton",
    "num_seeds": 5,
    "erosion_radius": 1,
    "preset": "paper",
    "gamma": 1.0,
    "intensity": None,
    "channels": None,
    "normalise": False,
}
_SING_OPTIONS: Options = {
    "lam": 0.5,
    "margin": 0.5,
    "boundary": "canny",
    "preset": "paper",
    "slice_axis": -1,
    "intensity": None,
    "channels": None,
    "foreground": None,
}
_DICE_OPTIONS: Options = {
    "include_background": True,
    "denominator": "sum",
    "smooth_nr": 1e-5,
    "smooth_dr": 1e-5,
    "batch": False,
}
_WING_OPTIONS: Options = {"omega": 8.0, "theta": 0.5, "epsilon": 1.0, "alpha": 2.1}
_SVLS = "Islam and Glocker (2021)"
_SOFTSEG = "Gros, Lemay and Cohen-Adad (2021)"


def _classes(
    name: str,
    title: str,
    summary: str,
    reference: str,
    label: str,
    *,
    loss: str = "soft cross-entropy",
    when: When = "after",
    needs_image: bool = False,
    label_options: Options | None = None,
    loss_options: Options | None = None,
) -> Method:
    """A method on class distributions: softmax and argmax, soft cross-entropy unless changed."""
    return Method(
        name,
        title,
        summary,
        reference,
        label,
        activation="softmax",
        loss=loss,
        decoder="argmax",
        kind="classes",
        when=when,
        needs_image=needs_image,
        label_options=label_options or {},
        loss_options=loss_options or {},
    )


def _softseg(name: str, title: str, summary: str, activation: str, loss: str) -> Method:
    """SoftSeg or one of its ablations: hard ones round the moved mask at 0.5."""
    binarise = name.startswith("hard-")
    return Method(
        name,
        title,
        summary,
        _SOFTSEG,
        label="binarised mask" if binarise else "interpolated mask",
        activation=activation,
        loss=loss,
        decoder="tuned",
        kind="regions",
        when="before",
        binarise=binarise,
        moves_mask=True,
        loss_options=_DICE_OPTIONS if loss == "Dice" else _WING_OPTIONS,
    )


_TABLE = (
    _classes("ce", "CE", "Cross-entropy on the annotated class.", "-", "one-hot"),
    _classes(
        "dice-ce",
        "Dice + CE",
        "Dice loss plus cross-entropy on the annotated class.",
        "Isensee et al. (2021)",
        "one-hot",
        loss="Dice + cross-entropy",
        loss_options={**_DICE_OPTIONS, "lambda_dice": 1.0, "lambda_ce": 1.0},
    ),
    _classes(
        "focal",
        "Focal loss",
        "Cross-entropy that quiets the voxels already predicted well.",
        "Lin et al. (2017)",
        "one-hot",
        loss="focal",
        loss_options={"gamma": 2.0},
    ),
    _classes(
        "ls",
        "LS",
        "Every class gets the same small share of every voxel.",
        "Szegedy et al. (2016)",
        "uniform",
        label_options={"alpha": 0.1, "scheme": "all"},
    ),
    _classes(
        "svls",
        "SVLS",
        "Every voxel shares half its weight with its neighbours' classes.",
        _SVLS,
        "SVLS",
        label_options=_SVLS_OPTIONS,
    ),
    _classes("moh", "mOH", "The mean of the raters' labels.", _SVLS, "mean one-hot", when="before"),
    _classes(
        "msvls",
        "mSVLS",
        "The mean of the raters' SVLS labels.",
        _SVLS,
        "mean SVLS",
        when="before",
        label_options=_SVLS_OPTIONS,
    ),
    _classes(
        "geols",
        "GeoLS",
        "A small share of every voxel goes to the classes that are near along the image's intensities.",
        "Adiga Vasudeva, Dolz and Lombaert (2024)",
        "geodesic",
        when="before",
        needs_image=True,
        label_options=_GEOLS_OPTIONS,
    ),
    Method(
        "singr",
        "SiNGR",
        "Regression of signed geodesic distance maps, one per region.",
        "Dang, Nguyen and Tiulpin (2024)",
        label="SiNG",
        activation="tanh",
        loss="Focal-L1",
        decoder="zero",
        kind="signed",
        when="before",
        needs_image=True,
        label_options=_SING_OPTIONS,
        loss_options={"gamma": 1.0, "eps": 0.0, "denominator": True, "scale": 1.0},
    ),
    _softseg("softseg", "SoftSeg", "Masks moved but never rounded.", "norm_relu", "Adaptive Wing"),
    _softseg("hard-sig-dice", "Hard-Sig-Dice", "The usual training.", "sigmoid", "Dice"),
    _softseg("hard-relu-wing", "Hard-ReLU-Wing", "SoftSeg, masks rounded.", "norm_relu", "Adaptive Wing"),
    _softseg("soft-sig-wing", "Soft-Sig-Wing", "SoftSeg with a sigmoid.", "sigmoid", "Adaptive Wing"),
    _softseg("soft-relu-dice", "Soft-ReLU-Dice", "SoftSeg with the Dice loss.", "norm_relu", "Dice"),
)

METHODS: dict[str, Method] = {each.name: each for each in _TABLE}


def method(name: str) -> Method:
    """Look a method up by name.

    Raises:
        UnknownNameError: no method has that name; the nearest one is suggested.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]
