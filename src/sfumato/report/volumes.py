"""How predicted volumes agree with the reference's: a table, and one Bland-Altman plot per method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from sfumato.evaluation.rows import SCALED
from sfumato.report.figures import WIDTH
from sfumato.report.style import INK, MUTED, pens
from sfumato.statistics.tidy import Rows, tidy
from sfumato.statistics.units import consensus
from sfumato.statistics.volumes import VolumePairs, volume_pairs, volume_table
from sfumato.tables.table import Table, record_table

COLUMNS = 4  # panels side by side


def volume_report(rows: Rows) -> Table | None:
    """Tabulate the agreement, one row per structure and method; None where no row has both volumes.

    Volumes against single raters count only where there are none against their consensus.
    """
    table = volume_table(consensus(tidy(rows)))
    if table.empty:
        return None
    several = table["dataset"].nunique() > 1
    lines = []
    for record in table.to_dict("records"):
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
    return record_table("", lines, decimals=3)


def volume_figures(rows: Rows, methods: Sequence[str]) -> dict[str, Figure]:
    """Draw a panel per method for each structure: difference against mean, with the limits of agreement.

    A temperature-scaled model has the decisions of its model and no panel of its own.

    Args:
        rows: The tidy rows.
        methods: All methods of the page, which give each its pen.

    Returns:
        Title to figure; a structure whose methods all have fewer than two cases has none.
    """
    all_pairs = volume_pairs(consensus(tidy(rows)))
    several = len({pairs.dataset for pairs in all_pairs}) > 1
    groups: dict[str, list[VolumePairs]] = {}
    for pairs in all_pairs:
        if len(pairs.predicted) > 1 and not pairs.method.endswith(SCALED):
            title = f"{pairs.dataset}, {pairs.structure}" if several else pairs.structure
            groups.setdefault(title, []).append(pairs)
    colours = {method: pen.colour for method, pen in pens(methods).items()}
    return {title: _bland_altman(group, colours) for title, group in groups.items()}


def _bland_altman(group: Sequence[VolumePairs], colours: Mapping[str, str]) -> Figure:
    columns = min(len(group), COLUMNS)
    lines = math.ceil(len(group) / columns)
    size = (WIDTH * min(1.0, 0.2 + 0.27 * columns), 2.9 * lines + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for index, pairs in enumerate(group):
        axes, limits = grid[index], pairs.agreement
        predicted, reference = np.array(pairs.predicted), np.array(pairs.reference)
        colour = colours[pairs.method]
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        axes.axhspan(limits.lower, limits.upper, color=colour, alpha=0.12, linewidth=0)
        axes.axhline(limits.bias, color=INK, linewidth=1.4)
        for limit in (limits.lower, limits.upper):
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
