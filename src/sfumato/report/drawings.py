"""Every figure of the page, drawn and encoded."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from sfumato.report import figures, pictures
from sfumato.report.data import BIN_SETS, SET_TITLES, ReportCase, ReportData
from sfumato.report.progress import first_progressions, progress_panels, slice_text
from sfumato.report.volumes import volume_figures
from sfumato.tables.metrics import grouped_metrics, metric_direction, metric_title, metrics_shown_in
from sfumato.tables.results import case_lines

PICTURES = ("progress", "overlays", "raters")  # parts whose figures hold images: PNG alone
MOST_STRIPS = 6
# Part of the page, file name without ending, tab, description, figure.
Drawn = tuple[str, str, str, str, Figure | None]


@dataclass(frozen=True)
class Drawing:
    """One figure of the page: its file name without ending, tab, description, and encoded forms."""

    name: str
    tab: str
    alt: str
    files: Mapping[str, bytes]

    @property
    def source(self) -> str:
        """The figure as a data address; plots as SVG, pictures as PNG."""
        ending, mime = (".svg", "svg+xml") if ".svg" in self.files else (".png", "png")
        return f"data:image/{mime};base64,{base64.b64encode(self.files[ending]).decode('ascii')}"


def draw(data: ReportData) -> dict[str, list[Drawing]]:
    """Draw every figure, by the part of the page; parts without a figure are empty."""
    parts = ("learning", "reliability", "values", "thresholds", "strips", "volumes", "sections", *PICTURES)
    drawings: dict[str, list[Drawing]] = {part: [] for part in parts}
    with figures.styled():
        for part, name, tab, alt, figure in _drawn(data):
            if figure is not None:
                files = _encoded(figure, picture=part in PICTURES)
                drawings[part].append(Drawing(_file_name(name), tab, alt, files))
    return drawings


def _encoded(figure: Figure, *, picture: bool) -> dict[str, bytes]:
    if picture:
        return {".png": _saved(figure, "png", dpi=170)}
    svg = _saved(figure, "svg", metadata={"Date": None})
    # The panels are in place now; laying them out again for the other format would only cost time.
    figure.set_layout_engine("none")
    return {".svg": svg, ".png": _saved(figure, "png", dpi=150)}


def _saved(figure: Figure, form: str, **options: Any) -> bytes:  # noqa: ANN401 - matplotlib's own options
    file = io.BytesIO()
    figure.savefig(file, format=form, **options)
    return file.getvalue()


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"


def _drawn(data: ReportData) -> Iterator[Drawn]:
    methods = data.method_names
    yield "learning", "learning-curves", "", "Learning curves", figures.learning_curves(data)
    shown = first_progressions(data)
    alt = f"Each method's prediction as it learned: {slice_text(shown.values())}"
    yield "progress", "progress", "", alt, progress_panels(shown)
    for bin_set in BIN_SETS:
        title = SET_TITLES[bin_set]
        alt = f"Reliability diagrams, {title.lower()}: accuracy against confidence, and voxels per bin"
        yield "reliability", f"reliability-{bin_set}", title, alt, figures.reliability(data, bin_set)
    alt = "Density of the values of the soft predictions, per method"
    yield "values", "value-distribution", "", alt, figures.value_distribution(data)
    yield "thresholds", "thresholds", "", "Dice against the threshold, per method", figures.thresholds(data)
    for metric in _strip_metrics(data):
        title = metric_title(metric)
        alt = f"{title} of every case, per structure and method"
        yield "strips", f"cases-{metric}", title, alt, figures.case_strips(data.rows, metric, methods)
    for title, figure in (volume_figures(data.rows, methods) if data.rows else {}).items():
        alt = f"Bland-Altman plots of the volume of {title}, per method"
        yield "volumes", f"volumes-{title}", title, alt, figure
    for title, case in _chosen(data):
        alt = f"{case.name}: image, reference, and each method's prediction and soft output"
        overlay = pictures.case_overlay(case, methods, data.label_names)
        yield "overlays", f"overlay-{case.name}", title, alt, overlay
    for panel in data.raters:
        alt = f"{panel.name}: outlines of {len(panel.rater_names)} raters and the soft labels made of them"
        yield "raters", f"raters-{panel.name}", panel.name, alt, pictures.rater_panel(panel)
    for section in data.sections:
        for name, alt, figure in section.figures:
            yield "sections", name, "", alt, figure


def _strip_metrics(data: ReportData) -> list[str]:
    """Choose the metrics drawn case by case: those that are scores, the most important first."""
    scores = {row.metric: None for row in data.rows if metric_direction(row.metric)}
    known = [metric for metrics in grouped_metrics(scores).values() for metric in metrics]
    return list(dict.fromkeys([*metrics_shown_in("strips", scores), *known]))[:MOST_STRIPS]


def _chosen(data: ReportData) -> list[tuple[str, ReportCase]]:
    """Choose the cases drawn in the page: the worst, the median and the best by mean Dice."""
    lines = case_lines(data.rows) if data.rows else ()
    place = {line.case: index for index, line in enumerate(lines)}
    ordered = sorted(data.cases, key=lambda case: place.get(case.name, len(place)))
    if len(ordered) <= 3 or not place:
        return [(case.name, case) for case in ordered[:3]]
    chosen = {"Worst": ordered[0], "Median": ordered[len(ordered) // 2], "Best": ordered[-1]}
    return [(f"{word}: {case.name}", case) for word, case in chosen.items()]
