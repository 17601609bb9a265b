"""The report's plots, each a matplotlib figure made of the report's data; nothing here touches files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sfumato.evaluation.rows import Row
from sfumato.report.data import BinSet, ReliabilityBin, ReportData, ValueBin
from sfumato.report.style import INK, MUTED, RULE, SETTINGS, Pen, pens
from sfumato.statistics.tidy import tidy
from sfumato.statistics.units import AVERAGE, consensus, unit_values
from sfumato.tables.metrics import metric_direction, metric_title
from sfumato.tables.table import ARROWS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 11.0  # inches: the page's column
MOST_COLUMNS = 4


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save with the report's type and colours, and leave matplotlib's own settings alone."""
    with mpl.rc_context(dict(SETTINGS)):
        yield


def _panels(count: int, *, height: float, rows_each: int = 1) -> tuple[Figure, int, int]:
    columns = min(count, MOST_COLUMNS if count != 5 else 5)
    if count in (5, 6):
        columns = 3
    lines = math.ceil(count / columns)
    size = (WIDTH * min(1.0, 0.3 + 0.7 * columns / 3), height * lines + 0.3)
    return Figure(figsize=size, layout="constrained"), lines * rows_each, columns


def learning_curves(data: ReportData) -> Figure | None:
    """Draw the validation Dice of all methods together, and each method's losses in its own panel.

    The losses of two methods are not one quantity, so they share no axis. Each run is one line. Epochs are
    counted from 1, as everywhere on the page; in the data the first is 0.
    """
    histories = {run: curve for run, curve in data.histories.items() if curve}
    if not histories:
        return None
    methods = list(dict.fromkeys(data.method_of(run) for run in histories))
    drawn = pens(data.method_names)
    columns = min(len(methods), 3)
    lines = math.ceil(len(methods) / columns)
    figure = Figure(figsize=(WIDTH, 2.9 + 1.75 * lines), layout="constrained")
    grid = figure.add_gridspec(1 + lines, columns, height_ratios=[2.9, *[1.75] * lines])
    top = figure.add_subplot(grid[0, :])
    for run, curve in histories.items():
        method = data.method_of(run)
        _curve(top, curve, "val_dice", drawn[method], label=method, marker=True)
    top.set(title="Dice on the validation cases", ylabel="Dice", xlabel="Epoch")
    _count_epochs(top)
    whole_range_if_flat([top])
    _legend(top)
    for index, method in enumerate(methods):
        axes = figure.add_subplot(grid[1 + index // columns, index % columns])
        for run, curve in histories.items():
            if data.method_of(run) == method:
                _curve(axes, curve, "train_loss", Pen(drawn[method].colour, "", "-"), label="training")
                _curve(axes, curve, "val_loss", Pen(INK, "", (0, (4, 2))), label="validation")
        axes.set(title=method, ylabel="Loss" if index % columns == 0 else "")
        _count_epochs(axes)
        if index >= len(methods) - columns:
            axes.set_xlabel("Epoch")
        if index == 0:
            _legend(axes)
    return figure


def _curve(
    axes: Axes, curve: Sequence[Mapping[str, float]], name: str, pen: Pen, *, label: str, marker: bool = False
) -> None:
    points = [(row.get("epoch", math.nan), row.get(name, math.nan)) for row in curve]
    points = [(epoch, value) for epoch, value in points if math.isfinite(epoch) and math.isfinite(value)]
    if not points:
        return
    epochs, values = zip(*points, strict=True)
    # A line of one point is invisible without its mark.
    marked = len(points) == 1 or (marker and len(points) <= 60)
    axes.plot(
        [epoch + 1 for epoch in epochs],
        values,
        color=pen.colour,
        linestyle=pen.dash,
        marker=(pen.marker or "o") if marked else None,
        markersize=4,
        label=label,
    )


def _count_epochs(axes: Axes) -> None:
    """Show the epochs from 1 to the last, and mark whole ones only; one alone is in the middle."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, max(axes.dataLim.x1, 1.0) + 0.5)


def whole_range_if_flat(panels: Iterable[Axes]) -> None:
    """Show 0 to 1 in panels whose values are all one, which alone would be magnified without a reason."""
    several = list(panels)
    low = min(axes.dataLim.y0 for axes in several)
    high = max(axes.dataLim.y1 for axes in several)
    if not high > low:
        for axes in several:
            # A line at 0 or at 1 stays whole.
            axes.set_ylim(-0.02, 1.02)


def _legend(axes: Axes) -> None:
    """Add a legend with one entry per label, however many runs share it."""
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if once:
        axes.legend(once.values(), once.keys(), ncols=1 if len(once) < 8 else 2)


def pooled_bins(data: ReportData, name: BinSet) -> dict[str, tuple[ReliabilityBin, ...]]:
    """Join the reliability bins of each method's runs, weighted by their voxels."""
    groups: dict[str, dict[tuple[float, float], list[ReliabilityBin]]] = {}
    for run, sets in data.reliability.items():
        for bin_ in sets.get(name, ()):
            edges = (bin_.low, bin_.high)
            groups.setdefault(data.method_of(run), {}).setdefault(edges, []).append(bin_)
    return {
        method: tuple(_joined(bins) for _, bins in sorted(edges.items())) for method, edges in groups.items()
    }


def _joined(bins: Sequence[ReliabilityBin]) -> ReliabilityBin:
    count = sum(bin_.count for bin_ in bins)

    def mean(name: str) -> float:
        parts = [getattr(bin_, name) * bin_.count for bin_ in bins if bin_.count]
        return math.fsum(parts) / count if count else math.nan

    return ReliabilityBin(bins[0].low, bins[0].high, count, mean("confidence"), mean("accuracy"))


def reliability(data: ReportData, name: BinSet) -> Figure | None:
    """Draw accuracy against confidence per method, with the number of voxels of each bin below."""
    pooled = pooled_bins(data, name)
    if not pooled:
        return None
    drawn = pens(data.method_names)
    figure, _, columns = _panels(len(pooled), height=3.1)
    lines = math.ceil(len(pooled) / columns)
    outer = figure.add_gridspec(lines, columns)
    most = max((bin_.count for bins in pooled.values() for bin_ in bins), default=1)
    for index, (method, bins) in enumerate(pooled.items()):
        inner = outer[index // columns, index % columns].subgridspec(
            2, 1, height_ratios=[3, 1.1], hspace=0.04
        )
        upper, lower = figure.add_subplot(inner[0]), figure.add_subplot(inner[1])
        _reliability_panel(upper, lower, bins, drawn[method])
        upper.set_title(method)
        lower.set_ylim(0.5, most * 3)
        if index % columns == 0:
            upper.set_ylabel("Accuracy")
            lower.set_ylabel("Voxels")
        if index >= len(pooled) - columns:
            lower.set_xlabel("Confidence")
    return figure


def _reliability_panel(upper: Axes, lower: Axes, bins: Sequence[ReliabilityBin], pen: Pen) -> None:
    filled = [bin_ for bin_ in bins if bin_.count > 0]
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for bin_ in filled:
        width = bin_.high - bin_.low
        upper.bar(bin_.low, bin_.accuracy, width, align="edge", color=pen.colour, alpha=0.25, linewidth=0)
        # The gap to the diagonal is what the calibration error averages.
        upper.plot([bin_.confidence] * 2, [bin_.confidence, bin_.accuracy], color=pen.colour, linewidth=1.2)
        lower.bar(bin_.low, bin_.count, width, align="edge", color=pen.colour, alpha=0.55, edgecolor="white")
    upper.plot(
        [bin_.confidence for bin_ in filled],
        [bin_.accuracy for bin_ in filled],
        color=pen.colour,
        marker=pen.marker,
        markersize=5,
        linewidth=0,
    )
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    upper.tick_params(labelbottom=False)
    lower.set(xlim=(0, 1), yscale="log")


def value_distribution(data: ReportData) -> Figure | None:
    """Draw the density of the soft predictions' values per method, the others in grey behind it."""
    pooled: dict[str, dict[tuple[float, float], int]] = {}
    for run, bins in data.values.items():
        mine = pooled.setdefault(data.method_of(run), {})
        for bin_ in bins:
            mine[bin_.low, bin_.high] = mine.get((bin_.low, bin_.high), 0) + bin_.count
    densities = {method: _density(counts) for method, counts in pooled.items() if any(counts.values())}
    if not densities:
        return None
    drawn = pens(data.method_names)
    figure, lines, columns = _panels(len(densities), height=1.9)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    for index, (method, (edges, values)) in enumerate(densities.items()):
        axes = grid[index]
        for other, (others_edges, others) in densities.items():
            # A signed map and a probability share no axis.
            if other != method and (others_edges[0], others_edges[-1]) == (edges[0], edges[-1]):
                axes.stairs(others, others_edges, color=RULE, linewidth=1.0)
        axes.stairs(values, edges, color=drawn[method].colour, fill=True, alpha=0.25)
        axes.stairs(values, edges, color=drawn[method].colour, linewidth=1.6)
        axes.set(title=method, yscale="log", ylabel="Density" if index % columns == 0 else "")
        axes.set_xticks(np.linspace(edges[0], edges[-1], 5))
        if index >= len(densities) - columns:
            axes.set_xlabel("Prediction value")
    for axes in grid[len(densities) :]:
        axes.set_axis_off()
    return figure


def _density(counts: Mapping[tuple[float, float], int]) -> tuple[np.ndarray, np.ndarray]:
    bins = [ValueBin(low, high, count) for (low, high), count in sorted(counts.items())]
    total = sum(bin_.count for bin_ in bins)
    edges = np.array([*(bin_.low for bin_ in bins), bins[-1].high])
    # Where nothing fell a logarithmic axis has no place: the line breaks there.
    values = np.array([bin_.count / (total * (bin_.high - bin_.low)) or math.nan for bin_ in bins])
    return edges, values


def thresholds(data: ReportData) -> Figure | None:
    """Draw Dice against the threshold: the mean over a method's runs, and the band of its runs."""
    groups: dict[str, list[Mapping[float, float]]] = {}
    for run, sweep in data.thresholds.items():
        if sweep:
            groups.setdefault(data.method_of(run), []).append(dict(sweep))
    if not groups:
        return None
    drawn = pens(data.method_names)
    figure = Figure(figsize=(WIDTH * 0.72, 3.3), layout="constrained")
    axes = figure.subplots()
    for method, sweeps in groups.items():
        common = sorted(set.intersection(*(set(sweep) for sweep in sweeps)))
        dice = np.array([[sweep[value] for value in common] for sweep in sweeps])
        if not common:
            continue
        pen = drawn[method]
        axes.fill_between(
            common, dice.min(axis=0), dice.max(axis=0), color=pen.colour, alpha=0.2, linewidth=0
        )
        mean = dice.mean(axis=0)
        axes.plot(common, mean, color=pen.colour, linestyle=pen.dash, label=method)
        best = int(np.nanargmax(mean)) if np.isfinite(mean).any() else 0
        axes.plot(common[best], mean[best], color=pen.colour, marker=pen.marker, markersize=7, linewidth=0)
    axes.set(xlabel="Threshold", ylabel="Dice")
    whole_range_if_flat([axes])
    _legend(axes)
    return figure


def case_strips(rows: Sequence[Row], metric: str, methods: Sequence[str]) -> Figure | None:
    """Draw every case's value per structure and method, over a box of the quartiles; outliers are named."""
    if not rows:
        return None
    checked = consensus(tidy(rows))
    checked = checked[checked["metric"] == metric]
    table = unit_values(checked, unit="case")
    values = {
        str(structure): part
        for structure, part in table.groupby("structure", sort=False)
        if structure != AVERAGE
    }
    if not values:
        return None
    drawn = pens(methods)
    start = len(common_start(table["unit"]))
    columns = min(len(values), 3 if len(methods) <= 6 else 2)
    lines = math.ceil(len(values) / columns)
    width = WIDTH if columns > 1 else WIDTH * 0.62
    figure = Figure(figsize=(width, 3.6 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).flatten()
    unit = str(table["measure"].iloc[0])
    for index, (structure, part) in enumerate(values.items()):
        axes = grid[index]
        for place, method in enumerate(methods):
            mine = part[part["method"] == method]
            named = list(zip(mine["unit"], mine["value"], strict=True))
            _strip(axes, place, named, drawn[method], start)
        axes.set_title("all classes" if structure == "all" else structure)
        axes.set_xticks(range(len(methods)), methods, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.6, len(methods) - 0.2)
        axes.grid(visible=False, axis="x")
        if index % columns == 0:
            arrow = ARROWS[metric_direction(metric)][0]
            shown = "" if unit == "fraction" else f" ({unit})"
            axes.set_ylabel(f"{metric_title(metric)} {arrow}".strip() + shown)
    for axes in grid[len(values) :]:
        axes.set_axis_off()
    return figure


def common_start(names: Iterable[str]) -> str:
    """Return what all names begin with, up to a mark between words: ``case_`` of ``case_01``, ``case_02``."""
    several = sorted(set(names))
    if len(several) < 2:
        return ""
    first, last = several[0], several[-1]
    # Of sorted names the first and the last differ earliest.
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    start = re.match(r".*[^A-Za-z0-9]", first[:same])
    return start.group() if start else ""


def outliers(named: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """List the cases more than 1.5 interquartile ranges beyond the quartiles (Tukey's rule)."""
    if len(named) < 4:
        return []
    low, high = np.percentile([value for _, value in named], [25, 75])
    reach = 1.5 * (high - low)
    return [(case, value) for case, value in named if value < low - reach or value > high + reach]


def _strip(axes: Axes, place: int, named: Sequence[tuple[str, float]], pen: Pen, start: int) -> None:
    if not named:
        return
    values = np.array([value for _, value in named])
    # Spread by rank, not by chance: the same data always give the same picture.
    order = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    shift = ((order * 0.618034) % 1.0 - 0.5) * 0.44
    if len(values) >= 4:
        axes.boxplot(
            [values],
            positions=[place],
            widths=0.62,
            showfliers=False,
            patch_artist=True,
            manage_ticks=False,
            boxprops={"facecolor": pen.colour, "alpha": 0.18, "edgecolor": pen.colour},
            medianprops={"color": INK, "linewidth": 1.6},
            whiskerprops={"color": pen.colour},
            capprops={"color": pen.colour},
        )
    axes.scatter(
        place + shift, values, s=13, color=pen.colour, marker=pen.marker, alpha=0.8, linewidths=0, zorder=3
    )
    shifts = dict(zip((case for case, _ in named), shift, strict=True))
    for case, value in outliers(named)[:4]:
        axes.annotate(
            case[start:],
            (place + shifts[case], value),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=6.5,
            color=INK,
            va="center",
        )
