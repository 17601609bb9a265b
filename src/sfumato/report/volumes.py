"""How predicted volumes agree with the reference's: a table, and one Bland-Altman plot per method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from sfumato.evaluation.rows import SCALED, Row
from sfumato.report.data import TableRow
from sfumato.report.figures import WIDTH
from sfumato.report.style import INK, MUTED, pens
from sfumato.statistics.volumes import PREDICTED, REFERENCE, VolumePairs, volume_pairs, volume_table
from sfumato.tables.report import consensus

COLUMNS = 4  # panels side by side


def volume_lines(rows: Sequence[Row]) -> list[TableRow]:
    """Give the table's lines, one per structure and method; none where no row has both volumes.

    Volumes against single raters count only where there are none against their consensus.
    """
    mine = _volumes(rows)
    if not mine:
        return []
    several = len({row.dataset for row in mine}) > 1
    lines: list[TableRow] = []
    for record in volume_table(mine).to_dict("records"):
        unit = record["unit"]
        line = {"data set": record["dataset"]} if several else {}
        lines.append(
            line
            | {
                "structure": record["structure"],
                "method": record["method"],
                "cases": record["n"],
                "left out": record["left_out"],
                "r (Pearson)": record["correlation"],
                f"mean difference ({unit})": record["mean_difference"],
                f"lower limit ({unit})": record["lower"],
                f"upper limit ({unit})": record["upper"],
                "status": str(record["status"]).replace("_", " "),
            }
        )
    return lines


def volume_figures(rows: Sequence[Row], methods: Sequence[str]) -> dict[str, Figure]:
    """Draw a panel per method for each structure: difference against mean, with the limits of agreement.

    A temperature-scaled twin has the decisions of its model and no panel of its own.

    Args:
        rows: The tidy rows.
        methods: All methods of the page, which give each its pen.

    Returns:
        Title to figure; a structure whose methods all have fewer than two cases has none.
    """
    mine = _volumes(rows)
    several = len({row.dataset for row in mine}) > 1
    groups: dict[str, list[VolumePairs]] = {}
    for pairs in volume_pairs(mine) if mine else ():
        if len(pairs.predicted) > 1 and not pairs.method.endswith(SCALED):
            title = f"{pairs.dataset}, {pairs.structure}" if several else pairs.structure
            groups.setdefault(title, []).append(pairs)
    colours = {method: pen.colour for method, pen in pens(methods).items()}
    return {title: _bland_altman(group, colours) for title, group in groups.items()}


def _volumes(rows: Sequence[Row]) -> list[Row]:
    return consensus(row for row in rows if row.metric in (PREDICTED, REFERENCE))


def _bland_altman(group: Sequence[VolumePairs], colours: Mapping[str, str]) -> Figure:
    columns = min(len(group), COLUMNS)
    lines = math.ceil(len(group) / columns)
    size = (WIDTH * min(1.0, 0.2 + 0.27 * columns), 2.9 * lines + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for index, pairs in enumerate(group):
        axes, found = grid[index], pairs.agreement
        predicted, reference = np.array(pairs.predicted), np.array(pairs.reference)
        colour = colours[pairs.method]
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        axes.axhspan(found.lower, found.upper, color=colour, alpha=0.12, linewidth=0)
        axes.axhline(found.bias, color=INK, linewidth=1.4)
        for limit in (found.lower, found.upper):
            axes.axhline(limit, color=INK, linewidth=1.0, linestyle=(0, (4, 2)))
        axes.scatter(
            (predicted + reference) / 2, predicted - reference, s=16, color=colour, linewidths=0, zorder=3
        )
        axes.set_title(pairs.method)
        if index >= len(group) - columns:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel(f"Mean of both volumes ({pairs.measure})")
        if index % columns == 0:
            axes.set_ylabel(f"Predicted − reference ({pairs.measure})")
    for axes in grid[len(group) :]:
        axes.set_axis_off()
    return figure
