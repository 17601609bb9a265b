"""How a prediction grew: one slice, a row per method and a column per epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sfumato.report.data import Progression, ReportData
from sfumato.report.figures import WIDTH
from sfumato.report.pictures import outline
from sfumato.report.slices import grey, numbers, view, window
from sfumato.types import Array, ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RED = LinearSegmentedColormap.from_list("transparent to red", [(1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 1.0)])
WHITE_TO_RED = LinearSegmentedColormap.from_list("white to red", [(1.0, 1.0, 1.0), (1.0, 0.0, 0.0)])
LINE = "#56B4E9"  # light blue stands out from grey and from red
THIN = 0.8  # points
MARGIN = 0.45  # around the reference, as a fraction of its size
# Inches: a letter of the methods' names; a panel's width, and around it; the lines above, the bar below all.
LETTER, MOST_SIDE, GAP, BELOW, TOP, BAR = 0.09, 1.5, 0.08, 0.22, 0.25, 0.75


def first_progressions(data: ReportData) -> dict[str, Progression]:
    """Return each method's progression, of its first run that has one: seed and fold make no second row."""
    progressions: dict[str, Progression] = {}
    for run, shown in data.progressions.items():
        progressions.setdefault(data.method_of(run), shown)
    return progressions


def slice_text(progressions: Iterable[Progression]) -> str:
    """Say which structure is predicted on which slice: ``lesion, validation case c7, slice 12``."""
    several = {(one.structure, one.case, one.index, one.axis is None) for one in progressions}
    return "; ".join(
        f"{structure}, validation case {case}" + ("" if picture else f", slice {index + 1}")
        for structure, case, index, picture in sorted(several)
    )


def progress_panels(progressions: Mapping[str, Progression]) -> Figure | None:
    """Draw each method's prediction on one slice, epoch by epoch (SoftSeg, figure 2).

    A row per method, a column per epoch, and the last epoch, whichever it was, in a column of its own.
    Predictions lie over the image, transparent at 0, red at 1, and under a thin outline of the
    reference; the part around that is shown.

    Args:
        progressions: Method to what one of its runs predicted.

    Returns:
        None without a progression.
    """
    if not progressions:
        return None
    several = list(progressions.values())
    early = sorted({epoch for one in several for epoch in one.predictions if epoch != one.last})
    left = LETTER * max(map(len, progressions)) + GAP
    side = min(MOST_SIDE, (WIDTH - left) / (len(early) + 1) - GAP)
    height = side * max(map(_height, several))
    # Everything is placed in inches: the shapes are known, and a layout engine would only guess them.
    width, top = left + (len(early) + 1) * (side + GAP), BAR + len(several) * (height + BELOW)
    figure = Figure(figsize=(width, top + TOP))
    for row, (method, shown) in enumerate(progressions.items()):
        bottom = top - row * (height + BELOW) - height
        for column, epoch in enumerate([*early, shown.last]):
            axes = _axes(figure, (left + column * (side + GAP), bottom, side, height))
            _panel(axes, shown, epoch)
            if row == 0:
                axes.set_title("Last epoch" if column == len(early) else f"Epoch {epoch}", loc="center")
            if column == 0:
                axes.set_ylabel(method, rotation=0, ha="right", va="center", fontweight="bold", labelpad=6)
            if column == len(early):
                axes.set_xlabel(f"epoch {epoch}", fontsize=7.5, labelpad=2)
    _bar(_axes(figure, (left, 0.57, min(2.0, width - left - 2 * GAP), 0.08)))
    return figure


def _axes(figure: Figure, inches: tuple[float, float, float, float]) -> Axes:
    width, height = figure.get_size_inches()
    return figure.add_axes((inches[0] / width, inches[1] / height, inches[2] / width, inches[3] / height))


def _bar(axes: Axes) -> None:
    # The bar lies on the white page: there, transparent is white.
    bar = ScalarMappable(cmap=WHITE_TO_RED)
    axes.figure.colorbar(bar, cax=axes, orientation="horizontal", ticks=[0.0, 0.5, 1.0])
    axes.set_xlabel("Prediction; 0 is transparent\nBlue line: the reference", fontsize=8)


def _panel(axes: Axes, shown: Progression, epoch: int) -> None:
    """Draw one prediction; where the training was over before this epoch, nothing."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if epoch not in shown.predictions:
        return
    prediction = np.clip(_cut(shown, shown.predictions[epoch]), 0.0, 1.0)
    style: dict[str, Any] = {"vmin": 0, "vmax": 1, "aspect": _ratio(shown), "interpolation": "nearest"}
    axes.imshow(_cut(shown, grey(shown.image[None])), cmap="gray", **style)
    axes.imshow(prediction, cmap=RED, **style)
    outline(axes, (_cut(shown, shown.reference) > 0).astype(np.int64), LINE, width=THIN)


def _turned(shown: Progression, array: ArrayLike) -> Array:
    """Turn the slice of a volume like every slice of the report; keep a picture as stored."""
    values = numbers(array)
    return values if shown.axis is None else view(values[None], 0, 0).astype(np.float32)


def _cut(shown: Progression, array: ArrayLike) -> Array:
    around = window(_turned(shown, shown.reference) > 0, margin=MARGIN)
    return _turned(shown, array)[around]


def _height(shown: Progression) -> float:
    """Compute the height of a panel over its width."""
    rows, columns = _cut(shown, shown.reference).shape
    return float(_ratio(shown) * rows / columns)


def _ratio(shown: Progression) -> float:
    """Compute the height of a shown voxel over its width."""
    first, second = shown.spacing
    return first / second if shown.axis is None else second / first
