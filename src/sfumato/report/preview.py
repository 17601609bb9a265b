"""A picture of one soft label: image, hard mask, and every channel, in the slice with most boundary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from sfumato.data.case import Case
from sfumato.errors import InputError
from sfumato.report.style import label_colour
from sfumato.structures import TargetKind
from sfumato.types import Array, Spacing

PANEL_INCHES = 2.6


def soft_label_preview(
    case: Case, target: Tensor, *, kind: TargetKind, channels: Sequence[str], title: str
) -> Figure:
    """Draw a case's image, its hard mask and each channel of its soft label.

    Args:
        case: The case, with labels.
        target: Its soft label, ``(channels, *S)``.
        kind: What the channels are; it gives the range of their colours.
        channels: Name of each channel.
        title: What the picture is headed with, after the case's name.
    """
    if case.labels is None:
        raise InputError(f"case {case.name} has no mask to draw")
    labels = case.labels.numpy()
    window, where = best_view(labels, case.spacing)
    # NIfTI's first axis runs to the right; a picture's first axis is its rows.
    turn = np.transpose if case.affine is not None else np.asarray
    picture, hard = turn(case.image[0].numpy()[window]), turn(labels[window])
    rows, columns = (case.spacing[axis] for axis, part in enumerate(window) if isinstance(part, slice))
    if case.affine is not None:
        rows, columns = columns, rows
    drawing = {"origin": "lower" if case.affine is not None else "upper", "aspect": rows / columns}
    ratio = picture.shape[0] / picture.shape[1] * rows / columns
    height = PANEL_INCHES * min(max(ratio, 0.4), 2.0) + 0.6
    figure = Figure(figsize=(PANEL_INCHES * (2 + len(channels)) + 0.8, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2 + len(channels))
    for panel, name in zip(panels, ("image", "hard mask", *channels), strict=True):
        panel.set_title(name, fontsize=10)
        panel.set(xticks=[], yticks=[])
    for panel in panels[:2]:
        panel.imshow(picture, cmap="gray", interpolation="nearest", **drawing, **_grey_window(picture))
    colours = ListedColormap([label_colour(label) for label in range(1, int(hard.max() or 1) + 1)])
    overlay = np.ma.masked_equal(hard, 0)
    style: dict[str, Any] = {"interpolation": "nearest", **drawing}
    panels[1].imshow(overlay, cmap=colours, vmin=0.5, vmax=colours.N + 0.5, alpha=0.65, **style)
    style |= {"cmap": "PuOr_r" if kind.low < 0 else "cividis", "vmin": kind.low, "vmax": kind.high}
    for panel, weights in zip(panels[2:], target.numpy(), strict=True):
        mapped = panel.imshow(turn(weights[window]), **style)
    figure.colorbar(mapped, ax=list(panels[2:]), fraction=0.05)
    figure.suptitle(f"{case.name}, {title}{where}", fontsize=10)
    return figure


def _grey_window(picture: Array) -> dict[str, float]:
    # A few very bright voxels would leave the rest black.
    low, high = np.percentile(picture, (0.5, 99.5))
    return {"vmin": float(low), "vmax": float(high)} if low < high else {}


def best_view(labels: Array, spacing: Spacing) -> tuple[tuple[int | slice, ...], str]:
    """Return the window around the structures, in 3-D in the slice with most boundary, and its name."""
    window: list[int | slice] = [slice(None)] * labels.ndim
    where = ""
    if labels.ndim == 3:
        # Slices run across the longest voxel side: the plane in which the images were taken.
        across = max(range(3), key=lambda axis: (spacing[axis], axis))
        slices = np.moveaxis(labels, across, 0)
        boundary = sum(
            (np.diff(slices, axis=axis) != 0).reshape(len(slices), -1).sum(axis=1) for axis in (1, 2)
        )
        best = int(np.argmax(boundary))
        window[across] = best
        where = f", slice {best} of axis {across}"
    shown = [axis for axis, part in enumerate(window) if isinstance(part, slice)]
    for axis, places in zip(shown, np.nonzero(labels[tuple(window)]), strict=True):
        if places.size:
            low, high = int(places.min()), int(places.max()) + 1
            margin = max(6, (high - low) // 3)
            window[axis] = slice(max(0, low - margin), high + margin)
    return tuple(window), where
