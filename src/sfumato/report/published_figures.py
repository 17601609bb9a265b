"""The papers' figures, drawn from our runs; numbers that their tables print are marked beside ours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from sfumato.report.data import ReliabilityBin, ValueBin
from sfumato.report.figures import WIDTH, whole_range_if_flat
from sfumato.report.style import INK, MUTED, pens
from sfumato.reproduction.side_by_side import Compared
from sfumato.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Bins = Mapping[str, Sequence[ReliabilityBin]]  # per method
Sweeps = Mapping[str, Sequence[Mapping[float, float]]]  # per method and run: threshold to Dice
Histograms = Mapping[str, Sequence[ValueBin]]  # per method
HARD, SOFT = "#0072B2", "#D55E00"
ZERO = 0.01  # up to here a prediction says nothing
PLACES: Array = np.linspace(-0.2, 1.2, 561)  # where a density is drawn


def alpha_sweep(cells: Sequence[Compared]) -> Figure | None:
    """Draw each metric against the smoothing factor, one line per data set (GeoLS, figure 3).

    A training's factor is its label's ``alpha``, 0 without one. Bars are our spread; a ring is the published
    number, where a table prints one.

    Returns:
        None where we have no number.
    """
    metrics = list(dict.fromkeys(cell.metric for cell in cells))
    if all(cell.missing for cell in cells):
        return None
    figure = Figure(figsize=(WIDTH * 0.85, 3.4), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    low, high = min(map(_alpha, cells)), max(map(_alpha, cells))
    aside = 0.05 * (high - low or 1.0)
    drawn = pens(dict.fromkeys(cell.part.dataset for cell in cells))
    for axes, metric in zip(panels, metrics, strict=True):
        for dataset, pen in drawn.items():
            mine = [cell for cell in cells if (cell.metric, cell.part.dataset) == (metric, dataset)]
            mine.sort(key=_alpha)
            axes.errorbar(
                [_alpha(cell) for cell in mine],
                [cell.ours.mean for cell in mine],
                yerr=[cell.ours.spread for cell in mine],
                color=pen.colour,
                marker=pen.marker,
                linestyle=pen.dash,
                capsize=2.5,
                label=dataset,
            )
            printed = [cell for cell in mine if cell.published]
            _ring(axes, [_alpha(cell) for cell in printed], printed, colour=pen.colour)
        unit = next(cell.unit for cell in cells if cell.metric == metric)
        axes.set(title=metric, xlabel="Smoothing factor alpha", ylabel=f"{metric} ({unit})")
        # The same factors in every panel, also where few of them have a number.
        axes.set_xlim(low - aside, high + aside)
    panels[0].legend()
    return figure


def _alpha(cell: Compared) -> float:
    return float(cell.training.label.options.get("alpha", 0.0))


def _ring(axes: Axes, places: Sequence[float], cells: Sequence[Compared], *, colour: str = INK) -> None:
    """Mark published numbers; they get a place in the legend once."""
    _, labels = axes.get_legend_handles_labels()
    values = [cell.published.value for cell in cells if cell.published]
    if values:
        label = None if "published" in labels else "published"
        axes.scatter(
            places, values, s=48, color="none", edgecolors=colour, linewidths=1.1, zorder=4, label=label
        )


def paired_networks(cells: Sequence[Compared]) -> Figure | None:
    """Draw hard labels and SiNGR side by side per network, a panel per data set and metric (SiNGR, figure 3).

    The pairs are the trainings of one architecture, in their order. Bars are our means and spreads; a ring is
    the published number, where a table prints one.

    Returns:
        None where we have no number.
    """
    if all(cell.missing for cell in cells):
        return None
    groups: dict[tuple[str, str], list[Compared]] = {}
    for cell in cells:
        groups.setdefault((cell.part.dataset, cell.metric), []).append(cell)
    columns = min(len(groups), 3)
    lines = math.ceil(len(groups) / columns)
    figure = Figure(figsize=(WIDTH, 2.9 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flatten()
    for axes, ((dataset, metric), mine) in zip(panels, groups.items(), strict=False):
        _pairs(axes, mine)
        axes.set(title=f"{dataset}: {metric}", ylabel=f"{metric} ({mine[0].unit})")
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _pairs(axes: Axes, cells: Sequence[Compared]) -> None:
    networks = list(dict.fromkeys(cell.training.architecture for cell in cells))
    methods = list(dict.fromkeys(cell.training.method for cell in cells))
    for side, (method, colour) in enumerate(zip(methods, (HARD, SOFT), strict=False)):
        mine = [cell for cell in cells if cell.training.method == method]
        places = [networks.index(cell.training.architecture) + (side - 0.5) * 0.38 for cell in mine]
        heights = [cell.ours.mean for cell in mine]
        spreads = [cell.ours.spread for cell in mine]
        label = "hard labels" if side == 0 else "SiNGR"
        axes.bar(
            *(places, heights, 0.36),
            yerr=spreads,
            color=colour,
            alpha=0.75,
            label=label,
            capsize=2.5,
            ecolor=INK,
        )
        printed = [(place, cell) for place, cell in zip(places, mine, strict=True) if cell.published]
        _ring(axes, [place for place, _ in printed], [cell for _, cell in printed])
    axes.set_xticks(range(len(networks)), networks)
    axes.set_xlim(-0.6, len(networks) - 0.4)
    # Room for the uppermost ring; without any number the range means nothing.
    highest = axes.dataLim.y1
    axes.set_ylim(0, 1.08 * highest if 0 < highest < math.inf else 1.0)
    axes.grid(visible=False, axis="x")


def reliability_panels(panels: Mapping[str, Bins]) -> Figure | None:
    """Draw share of voxels and accuracy against confidence, a column per data set (SVLS, figure 5).

    Args:
        panels: Data set to the reliability bins of each method.

    Returns:
        None without a bin.
    """
    panels = {dataset: bins for dataset, bins in panels.items() if any(bins.values())}
    if not panels:
        return None
    figure = Figure(figsize=(WIDTH * max(0.4, len(panels) / 4), 5.0), layout="constrained")
    rows = figure.subplots(2, len(panels), squeeze=False, sharex=True, height_ratios=[1, 1.4])
    for column, (dataset, methods) in enumerate(panels.items()):
        upper, lower = rows[:, column]
        lower.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for method, pen in pens(methods).items():
            filled = [bin_ for bin_ in methods[method] if bin_.count]
            total = sum(bin_.count for bin_ in filled)
            middles = [(bin_.low + bin_.high) / 2 for bin_ in filled]
            shares = [bin_.count / total for bin_ in filled]
            style = {"color": pen.colour, "marker": pen.marker, "markersize": 4, "linestyle": pen.dash}
            upper.plot(middles, shares, label=method, **style)
            lower.plot([bin_.confidence for bin_ in filled], [bin_.accuracy for bin_ in filled], **style)
        upper.set(title=dataset, yscale="log", ylim=(None, 2.0))
        lower.set(xlabel="Confidence", xlim=(0, 1), ylim=(0, 1.02))
        upper.legend(fontsize=7)
    rows[0, 0].set_ylabel("Share of voxels")
    rows[1, 0].set_ylabel("Accuracy")
    return figure


def threshold_panels(sweeps: Sweeps) -> Figure | None:
    """Draw Dice against the threshold, a panel per candidate (SoftSeg, figure 3).

    The line is the mean over trainings, the band their range; a dot is one training's best threshold.

    Args:
        sweeps: Method to one sweep per training: threshold to Dice.

    Returns:
        None without a sweep.
    """
    sweeps = {method: several for method, several in sweeps.items() if several}
    if not sweeps:
        return None
    columns = min(len(sweeps), 3)
    lines = math.ceil(len(sweeps) / columns)
    figure = Figure(figsize=(WIDTH, 2.6 * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
    drawn = pens(sweeps)
    for index, (axes, (method, several)) in enumerate(zip(panels, sweeps.items(), strict=False)):
        common = sorted(set.intersection(*(set(sweep) for sweep in several)))
        dice = np.array([[sweep[value] for value in common] for sweep in several])
        colour = drawn[method].colour
        axes.fill_between(common, dice.min(axis=0), dice.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        axes.plot(common, dice.mean(axis=0), color=colour)
        best = [max(sweep.items(), key=lambda pair: pair[1]) for sweep in several]
        axes.scatter(*zip(*best, strict=True), s=16, color=INK, zorder=3, linewidths=0)
        axes.set(title=method, ylabel="Dice" if index % columns == 0 else "")
        # A panel with none below it has the axis' numbers.
        axes.tick_params(labelbottom=index + columns >= len(sweeps))
        if index + columns >= len(sweeps):
            axes.set_xlabel("Threshold")
    whole_range_if_flat(panels[: len(sweeps)])
    for axes in panels[len(sweeps) :]:
        axes.set_axis_off()
    return figure


def value_panels(panels: Mapping[str, Histograms]) -> Figure | None:
    """Draw the density of the predictions' values other than 0, a panel per data set (SoftSeg, figure 4).

    A Gaussian kernel smooths the histogram, so that the curves reach a little beyond 0 and 1; the area under
    each is 1. Values up to 0.01 count as 0, as in the released toolbox, which sets them to 0.

    Args:
        panels: Data set to the histogram of each method, with an edge at 0.01.

    Returns:
        None where no prediction is above 0.01.
    """
    shown = {
        dataset: {method: bins for method, bins in methods.items() if _above_zero(bins)}
        for dataset, methods in panels.items()
    }
    shown = {dataset: methods for dataset, methods in shown.items() if methods}
    if not shown:
        return None
    figure = Figure(figsize=(WIDTH * max(0.5, len(shown) / 3), 3.4), layout="constrained")
    drawn = pens(dict.fromkeys(method for methods in panels.values() for method in methods))
    for axes, (dataset, methods) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True
    ):
        for method, bins in methods.items():
            pen = drawn[method]
            axes.plot(PLACES, _density(_above_zero(bins)), color=pen.colour, linestyle=pen.dash, label=method)
        axes.set(title=dataset, xlabel="Prediction value", ylim=(0, None))
        axes.set_xlim(PLACES[0], PLACES[-1])
    figure.axes[0].set_ylabel("Density of the values above 0")
    handles = dict(
        reversed(pair) for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)
    )
    # One panel is too narrow for all names in a line.
    ncols = 3 if len(shown) == 1 else 5
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols)
    return figure


def pooled_values(several: Iterable[Iterable[ValueBin]]) -> list[ValueBin]:
    """Join the histograms of several runs: bins of the same edges are added."""
    counts: dict[tuple[float, float], int] = {}
    for bins in several:
        for bin_ in bins:
            counts[bin_.low, bin_.high] = counts.get((bin_.low, bin_.high), 0) + bin_.count
    return [ValueBin(low, high, count) for (low, high), count in sorted(counts.items())]


def _above_zero(bins: Sequence[ValueBin]) -> list[ValueBin]:
    return [bin_ for bin_ in bins if bin_.low >= ZERO and bin_.count]


def _density(kept: Sequence[ValueBin]) -> Array:
    """Estimate the density at :data:`PLACES`.

    The kernel's width follows Scott (1992), Multivariate Density Estimation: standard deviation times
    ``n ** (-1/5)``; never below a bin's, which is all that a histogram knows.
    """
    counts = np.array([bin_.count for bin_ in kept], dtype=np.float64)
    middles = np.array([(bin_.low + bin_.high) / 2 for bin_ in kept])
    share = counts / counts.sum()
    deviation = math.sqrt(float(share @ (middles - share @ middles) ** 2))
    width = max(deviation * counts.sum() ** -0.2, kept[0].high - kept[0].low)
    distances = (PLACES[:, None] - middles) / width
    density: Array = np.exp(-(distances**2) / 2) @ share / (width * math.sqrt(2 * math.pi))
    return density


def centre_bars(
    values: Mapping[str, Mapping[int, float]], published: Mapping[int, float] | None = None
) -> Figure | None:
    """Draw the mean Dice of every candidate per test centre.

    Args:
        values: Method to the Dice on each test centre, counted from 0, in %.
        published: The paper's mean over its candidates per centre, in %.

    Returns:
        None without a value.
    """
    if not any(values.values()):
        return None
    centres = sorted({centre for mine in (*values.values(), published or {}) for centre in mine})
    figure = Figure(figsize=(WIDTH * 0.8, 3.3), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(values)
    for place, (method, pen) in enumerate(pens(values).items()):
        mine = values[method]
        left = [centre + (place + 0.5) * width - 0.4 for centre in mine]
        axes.bar(left, list(mine.values()), width * 0.94, color=pen.colour, alpha=0.8, label=method)
    for number, (centre, value) in enumerate((published or {}).items()):
        label = "published, mean of the candidates" if number == 0 else None
        axes.plot(
            [centre - 0.42, centre + 0.42], [value, value], color=INK, linestyle=(0, (3, 2)), label=label
        )
    axes.set_xticks(centres, [f"centre {centre + 1}" for centre in centres])
    axes.set(ylabel="Dice (%)", ylim=(0, 100))
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
