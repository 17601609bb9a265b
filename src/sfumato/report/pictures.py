"""The report's pictures of cases: overlays of every method, and what several raters drew."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from scipy import ndimage

from sfumato.report.data import RaterPanel, ReportCase
from sfumato.report.figures import WIDTH
from sfumato.report.slices import (
    across,
    aspect,
    foreground_maps,
    fullest,
    grey,
    numbers,
    painted,
    shown_mask,
    view,
    whole,
    window,
)
from sfumato.report.style import DASHES, MUTED, OKABE_ITO, label_colour
from sfumato.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METHODS_A_ROW = 6
ZOOM = 0.22  # side of the enlarged window over the picture's longer side


def case_overlay(case: ReportCase, methods: Sequence[str], label_names: Mapping[int, str]) -> Figure:
    """Draw one slice of a case: image, reference, and each method's labels above its soft prediction.

    The slice is the one with most reference foreground. The reference is outlined in white on every
    method's labels. More than six methods take a second pair of rows.
    """
    mask, axis = shown_mask(case), across(case.spacing)
    index = fullest(mask, axis)
    rows, columns = window(view(mask, axis, index).astype(np.bool_))

    def cut(array: Array) -> Array:
        return view(array, axis, index)[rows, columns]

    ratio = aspect(case.spacing, axis)
    image = cut(grey(case.image)).astype(np.float32)
    reference = None if case.reference is None else cut(whole(case.reference)).astype(np.int64)
    chosen = [method for method in methods if method in case.predictions]
    blocks = [chosen[i : i + METHODS_A_ROW] for i in range(0, len(chosen), METHODS_A_ROW)] or [[]]
    wide = 2 + max(len(block) for block in blocks)
    side = WIDTH / wide
    height = side * min(2.0, max(0.5, image.shape[0] * ratio / max(image.shape[1], 1)))
    has_soft = any(case.predictions[method].soft is not None for method in chosen)
    lines = (2 if has_soft else 1) * len(blocks)
    figure = Figure(
        figsize=(WIDTH, lines * (height + 0.04) + 0.17 * len(blocks)),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02),
    )
    grid = figure.subplots(lines, wide, squeeze=False)
    for axes in grid.flatten():
        axes.set_axis_off()
    _image(grid[0, 0], image, ratio, title="image")
    if reference is not None:
        _image(grid[0, 1], image, ratio, title="reference")
        _fill(grid[0, 1], reference, ratio)
    for block, names in enumerate(blocks):
        for column, method in enumerate(names, start=2):
            overlay = case.predictions[method]
            upper = grid[block * lines // len(blocks), column]
            _image(upper, image, ratio, title=method)
            _fill(upper, cut(whole(overlay.labels)).astype(np.int64), ratio)
            if reference is not None:
                outline(upper, reference, "white")
            if overlay.soft is not None:
                maps = [cut(values).astype(np.float32) for values in foreground_maps(overlay.soft, overlay)]
                lower = grid[block * lines // len(blocks) + 1, column]
                lower.imshow(painted(image, maps), aspect=ratio, interpolation="nearest")
    _key(figure, grid, label_names, has_soft=has_soft and lines > 1)
    return figure


def _key(figure: Figure, grid: Array, label_names: Mapping[int, str], *, has_soft: bool) -> None:
    """Say what the colours mean, in the corner that the soft row leaves free."""
    names = [(label, name) for label, name in label_names.items() if label]
    handles: list[Artist] = [
        Rectangle((0, 0), 1, 1, facecolor=label_colour(label), label=_broken(name)) for label, name in names
    ]
    handles.append(Line2D([], [], color=MUTED, linewidth=1.2, label="reference"))
    if has_soft:
        axes = grid[1, 0]
        axes.legend(handles=handles, loc="center left", fontsize=7, handlelength=1.2, borderaxespad=0)
        grid[1, 1].text(
            0.98, 0.5, "soft\nprediction", ha="right", va="center", fontsize=8, transform=grid[1, 1].transAxes
        )
    else:
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), fontsize=7)


def _broken(name: str, length: int = 18) -> str:
    words, lines = name.split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) >= length:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _image(axes: Axes, image: Array, ratio: float, *, title: str) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=ratio, interpolation="nearest")
    axes.set_title(title, fontsize=8, fontweight="bold", loc="left", pad=2)


def _fill(axes: Axes, labels: Array, ratio: float) -> None:
    picture = np.zeros((*labels.shape, 4), dtype=np.float32)
    for label in np.unique(labels[labels > 0]):
        red, green, blue = (int(label_colour(int(label))[i : i + 2], 16) / 255 for i in (1, 3, 5))
        picture[labels == label] = (red, green, blue, 0.62)
    axes.imshow(picture, aspect=ratio, interpolation="nearest")


def outline(axes: Axes, labels: Array, ink: str, *, width: float = 1.0) -> None:
    """Follow the voxels' edges, exactly, where the label changes, by a line of ``width`` points."""
    edges = [((start[1], start[0]), (end[1], end[0])) for start, end in _edges(labels)]
    # A dark casing keeps the line visible over bright tissue.
    axes.add_collection(
        LineCollection(edges, colors="black", linewidths=2.2 * width, alpha=0.55, capstyle="round")
    )
    axes.add_collection(LineCollection(edges, colors=ink, linewidths=width, capstyle="round"))


def _edges(labels: Array) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    padded = np.pad(labels, 1)
    for row, column in zip(*np.nonzero(np.diff(padded, axis=0)), strict=True):
        yield (row - 0.5, column - 1.5), (row - 0.5, column - 0.5)
    for row, column in zip(*np.nonzero(np.diff(padded, axis=1)), strict=True):
        yield (row - 1.5, column - 0.5), (row - 0.5, column - 0.5)


def rater_panel(panel: RaterPanel) -> Figure:
    """Draw each rater's outline on the image, and the soft labels; below, where the raters differ most."""
    labels = whole(panel.labels_per_rater)
    spread = _disagreement(labels)
    spacing = (1.0,) * spread.ndim
    axis = across(spacing)
    index = 0 if axis is None else int(spread.sum(axis=tuple(range(spread.ndim - 1))).argmax())
    image = view(grey(panel.image), axis, index).astype(np.float32)
    drawn = [view(mask, axis, index).astype(np.int64) for mask in labels]
    maps = {
        name: view(1.0 - numbers(weights)[0], axis, index).astype(np.float32)
        for name, weights in panel.soft.items()
    }
    box = _busiest(view(spread, axis, index).astype(np.float32))
    wide = 2 + len(maps)
    side = WIDTH / wide
    ratio = min(1.4, max(0.6, image.shape[0] / image.shape[1]))
    across_legend = max(1, min(10, 130 // (max(len(name) for name in panel.rater_names) + 7)))
    figure = Figure(
        figsize=(WIDTH, side * 0.94 * (ratio + 1.0) + 0.2 + 0.2 * math.ceil(len(drawn) / across_legend)),
        layout="constrained",
    )
    grid = figure.subplots(2, wide, squeeze=False, height_ratios=[ratio, 1.0])
    for line, part in enumerate(((slice(None), slice(None)), box)):
        _rater_row(
            grid[line], image[part], [mask[part] for mask in drawn], {k: v[part] for k, v in maps.items()}
        )
    titles = ["image", f"{len(drawn)} raters' outlines", *(f"{name} soft label" for name in maps)]
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=8.5)
        rows, columns = box
        axes.add_patch(
            Rectangle(
                (columns.start - 0.5, rows.start - 0.5),
                columns.stop - columns.start,
                rows.stop - rows.start,
                fill=False,
                edgecolor="white",
                linewidth=1.1,
            )
        )
    if maps:
        bar = figure.colorbar(grid[0, -1].images[0], ax=list(grid[:, -1]), shrink=0.6, pad=0.02)
        bar.set_label("weight of the foreground", fontsize=8)
    handles = [
        Line2D([], [], **_rater_pen(number), label=name) for number, name in enumerate(panel.rater_names)
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=across_legend, fontsize=7.5)
    return figure


def _rater_row(row: Array, image: Array, drawn: Sequence[Array], maps: Mapping[str, Array]) -> None:
    for axes in row:
        axes.set_axis_off()
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    for number, labels in enumerate(drawn):
        for label in np.unique(labels[labels > 0]):
            mask = labels == label
            if not mask.all():
                pen = _rater_pen(number)
                row[1].contour(
                    mask, levels=[0.5], colors=[pen["color"]], linestyles=[pen["linestyle"]], linewidths=1.1
                )
    for axes, weights in zip(row[2:], maps.values(), strict=True):
        axes.clear()
        axes.set_axis_off()
        axes.imshow(weights, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")


def _rater_pen(number: int) -> dict[str, Any]:
    # Black cannot be seen on a dark image: white takes its place.
    colours = [*OKABE_ITO[:-1], "#F0E442"]
    return {
        "color": colours[number % len(colours)],
        "linestyle": DASHES[number // len(colours) % len(DASHES)],
    }


def _disagreement(labels: Array) -> Array:
    """Compute per voxel the fraction of raters that do not hold the commonest label."""
    counts = np.stack([(labels == value).sum(axis=0) for value in np.unique(labels)])
    return np.asarray(1.0 - counts.max(axis=0) / len(labels), dtype=np.float32)


def _busiest(spread: Array) -> tuple[slice, slice]:
    side = min(*spread.shape, max(12, math.ceil(ZOOM * max(spread.shape))))
    near = ndimage.uniform_filter(spread, size=side, mode="constant")
    middle = np.unravel_index(int(near.argmax()), near.shape)
    starts = [
        min(max(0, int(place) - side // 2), length - side)
        for place, length in zip(middle, spread.shape, strict=True)
    ]
    return slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)
