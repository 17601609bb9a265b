"""What the rows of the table share: default options, and the parts that go with each kind of target."""

from __future__ import annotations

from sfumato.labels.definition import When
from sfumato.methods.definition import Method, Options
from sfumato.structures import CLASSES, REGIONS, SIGNED

SVLS_OPTIONS: Options = {"sigma": 1.0, "size": 3, "unit": "voxel"}
GEOLS_OPTIONS: Options = {
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
UNIFORM_OPTIONS: Options = {"alpha": 0.1, "scheme": "all"}
SING_OPTIONS: Options = {
    "lam": 0.5,
    "margin": 0.5,
    "boundary": "canny",
    "preset": "paper",
    "slice_axis": -1,
    "intensity": None,
    "channels": None,
    "foreground": None,
}
_OVERLAP_OPTIONS: Options = {"smooth_nr": 1e-5, "smooth_dr": 1e-5, "batch": False}
# No background to leave out: channel 0 of a region method is a region.
DICE_OPTIONS: Options = {"denominator": "sum", **_OVERLAP_OPTIONS}
DICE_BCE_OPTIONS: Options = {**DICE_OPTIONS, "lambda_dice": 1.0, "lambda_ce": 1.0}
DICE_CE_OPTIONS: Options = {"include_background": True, **DICE_BCE_OPTIONS}
JACCARD_OPTIONS: Options = {"form": "l1", **_OVERLAP_OPTIONS}
FOCAL_L1_OPTIONS: Options = {"gamma": 1.0, "eps": 0.0, "denominator": True, "scale": 1.0}
WING_OPTIONS: Options = {"omega": 8.0, "theta": 0.5, "epsilon": 1.0, "alpha": 2.1}

SVLS = "Islam and Glocker (2021)"
GEOLS = "Adiga Vasudeva, Dolz and Lombaert (2024)"
SINGR = "Dang, Nguyen and Tiulpin (2024)"
SOFTSEG = "Gros, Lemay and Cohen-Adad (2021)"


def class_method(
    name: str,
    title: str,
    summary: str,
    reference: str,
    label: str,
    *,
    loss: str = "soft cross-entropy",
    when: When = "after",
    needs_image: bool = False,
    takes_raters: bool = False,
    binarise: bool = False,
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
        kind=CLASSES,
        when=when,
        needs_image=needs_image,
        takes_raters=takes_raters,
        binarise=binarise,
        label_options=label_options or {},
        loss_options=loss_options or {},
    )


def region_method(
    name: str,
    title: str,
    summary: str,
    reference: str,
    label: str,
    *,
    loss: str = "soft cross-entropy",
    when: When = "before",
    needs_image: bool = False,
    label_options: Options | None = None,
    loss_options: Options | None = None,
) -> Method:
    """A method on regions that may overlap: sigmoid and 0.5, binary cross-entropy unless changed."""
    return Method(
        name,
        title,
        summary,
        reference,
        label,
        activation="sigmoid",
        loss=loss,
        decoder="half",
        kind=REGIONS,
        when=when,
        needs_image=needs_image,
        label_options=label_options or {},
        loss_options=loss_options or {},
    )


def signed_method(
    name: str,
    title: str,
    summary: str,
    reference: str,
    label: str,
    loss: str,
    *,
    label_options: Options | None = None,
    loss_options: Options | None = None,
) -> Method:
    """A regression of signed maps: tanh, and 0 as threshold."""
    return Method(
        name,
        title,
        summary,
        reference,
        label,
        activation="tanh",
        loss=loss,
        decoder="zero",
        kind=SIGNED,
        when="before",
        needs_image=label == "SiNG",
        label_options=label_options or {},
        loss_options=loss_options or {},
    )


def softseg_method(name: str, title: str, summary: str, activation: str, loss: str) -> Method:
    """SoftSeg or one of its ablations: hard ones round the moved mask at 0.5."""
    binarise = name.startswith("hard-")
    return Method(
        name,
        title,
        summary,
        SOFTSEG,
        label="binarised mask" if binarise else "interpolated mask",
        activation=activation,
        loss=loss,
        decoder="tuned",
        kind=REGIONS,
        when="before",
        binarise=binarise,
        moves_mask=True,
        loss_options=DICE_OPTIONS if loss == "Dice" else WING_OPTIONS,
    )
