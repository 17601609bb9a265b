"""Dice and volume bias against the threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from sfumato.model.threshold import EVERY, Sweep
from sfumato.report.style import MUTED, pens


def threshold_figure(sweeps: Sequence[Sweep], label: str) -> Figure:
    """Draw Dice and volume bias against the threshold: a method's mean, and the band of its runs."""
    drawn = pens(dict.fromkeys(sweep.method for sweep in sweeps))
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    for panel, quantity, title in zip(
        panels, ("dice", "rvd"), ("Dice", "Volume bias (reference - prediction) / reference, %"), strict=True
    ):
        scale = 100 if quantity == "rvd" else 1
        for method, pen in drawn.items():
            group = [sweep for sweep in sweeps if sweep.method == method]
            edges = np.array(group[0].thresholds)
            values = scale * np.array([getattr(sweep.curves[EVERY], quantity) for sweep in group])
            mean = values.mean(axis=0)
            if len(group) > 1:
                panel.fill_between(
                    edges, values.min(axis=0), values.max(axis=0), color=pen.colour, alpha=0.2, linewidth=0
                )
            name = f"{method} ({len(group)} runs)" if len(group) > 1 else method
            panel.plot(edges, mean, color=pen.colour, linestyle=pen.dash, label=name)
            # Each run's chosen value, on the run's own curve.
            for sweep, row in zip(group, values, strict=True):
                place = sweep.thresholds.index(sweep.chosen)
                panel.plot(edges[place], row[place], color=pen.colour, marker=pen.marker, markersize=5)
        panel.set(xlabel="Threshold", title=title, xlim=(0, 1))
    panels[1].axhline(0, color=MUTED, linewidth=0.8)
    handles, names = panels[0].get_legend_handles_labels()
    title = f"{label} cases; marked: the threshold chosen for each run"
    figure.legend(handles, names, title=title, loc="outside lower center", ncols=min(len(names), 6))
    return figure
