"""The report of a reproduction: the paper's figures drawn from our runs, and a page per data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from matplotlib.figure import Figure

from sfumato.output import atomic_output
from sfumato.report.assemble import assemble
from sfumato.report.data import ReportData, Section
from sfumato.report.document import write_report
from sfumato.report.figures import pooled_bins, styled
from sfumato.report.progress import progress_panels, slice_text
from sfumato.report.published_figures import (
    alpha_sweep,
    centre_bars,
    paired_networks,
    pooled_values,
    reliability_panels,
    threshold_panels,
    value_panels,
)
from sfumato.report.runs import load_runs
from sfumato.reproduction.experiments import Experiment
from sfumato.reproduction.published import SCGM_DICE_PER_CENTRE
from sfumato.reproduction.run import SMOKE_NOTE, Reproduction, Results
from sfumato.reproduction.side_by_side import Compared
from sfumato.reproduction.tables import caption, gaps, side_by_side_tables

T = TypeVar("T")


class Drawn(NamedTuple):
    """One figure: its file name without ending, what it shows, and itself."""

    name: str
    text: str
    figure: Figure


Figures = Iterator[tuple[str, str, Figure | None]]
Runs = Mapping[str, ReportData]  # layout of a data set to what its finished runs left


def write_reproduction(work: Reproduction, results: Results) -> list[Path]:
    """Write the paper's figures of our runs, and a page per data set; earlier ones are replaced.

    Returns:
        Every file that was written.
    """
    drawn = draw(work, results)
    return [*_write_figures(drawn, work.out), *write_pages(work, results, drawn)]


def draw(work: Reproduction, results: Results) -> list[Drawn]:
    """Draw the figures of an experiment; one that has none, or no number for it, leaves an empty list."""
    if work.experiment.content.figure is None:
        return []
    runs = {
        layout: load_runs(work.out / layout / "runs", without=results.finished[layout].others)
        for layout in results.shown
    }
    figures = {"alpha": _alpha, "pairs": _pairs, "reliability": _reliability, "softseg": _softseg}
    with styled():
        drawn = figures[work.experiment.content.figure](work.experiment, results.cells, runs)
        return [Drawn(name, text, figure) for name, text, figure in drawn if figure is not None]


def _alpha(experiment: Experiment, cells: Sequence[Compared], runs: Runs) -> Figures:
    yield experiment.name, "Score against the smoothing factor; rings: published numbers", alpha_sweep(cells)


def _pairs(experiment: Experiment, cells: Sequence[Compared], runs: Runs) -> Figures:
    yield (
        experiment.name,
        "Hard labels and SiNGR per network; rings: published numbers",
        paired_networks(cells),
    )


def _reliability(
    experiment: Experiment, cells: Sequence[Compared], runs: Mapping[str, ReportData]
) -> Figures:
    panels = {}
    for part in experiment.content.data:
        if part.layout in runs:
            pooled = pooled_bins(runs[part.layout], "foreground")
            names = [training.name for training in experiment.trainings(part.layout)]
            panels[part.dataset] = {name: pooled[name] for name in names if name in pooled}
    text = "Share of voxels and accuracy against confidence, over voxels whose reference is foreground"
    yield experiment.name, text, reliability_panels(panels)


def _softseg(experiment: Experiment, cells: Sequence[Compared], runs: Runs) -> Figures:
    scgm = runs.get("scgm")
    names = [training.name for training in experiment.content.trainings]
    if scgm is not None:
        shown = {name: several[0] for name, several in _per_method(scgm, scgm.progressions, names).items()}
        text = f"Predictions while learning: {slice_text(shown.values())}; transparent is 0, red is 1"
        yield "softseg-figure2", text, progress_panels(shown)
        sweeps = _per_method(scgm, scgm.thresholds, names)
        dice = {name: [dict(sweep) for sweep in several] for name, several in sweeps.items()}
        text = (
            "Dice on training and validation cases against the threshold: mean and range over the trainings; "
            "dots: each training's best"
        )
        yield "softseg-figure3", text, threshold_panels(dice)
    histograms = {
        part.dataset: {
            name: pooled_values(several)
            for name, several in _per_method(runs[part.layout], runs[part.layout].values, names).items()
        }
        for part in experiment.content.data
        if part.layout in runs
    }
    text = "Density of the predictions' values above 0 (0.01 and less count as 0); each area is 1"
    yield "softseg-figure4", text, value_panels(histograms)
    if scgm is not None:
        yield f"{experiment.name}-centres", "Dice per test centre", _centres(scgm, names)


def _per_method(data: ReportData, of_runs: Mapping[str, T], names: Sequence[str]) -> dict[str, list[T]]:
    """Sort what every run has by the run's method, in the order of ``names``."""
    groups = {
        name: [value for run, value in of_runs.items() if data.method_of(run) == name] for name in names
    }
    return {name: several for name, several in groups.items() if several}


def _centres(data: ReportData, names: Sequence[str]) -> Figure | None:
    """Draw the Dice per test centre, which is the fold: the mean over its cases and trainings, in %."""
    values: dict[str, dict[int, float]] = {}
    for name in names:
        for fold in range(len(SCGM_DICE_PER_CENTRE)):
            dice = [
                row.value
                for row in data.rows
                if (row.method, row.metric, row.fold) == (name, "dice", fold) and not row.rater
            ]
            if dice:
                values.setdefault(name, {})[fold] = 100 * sum(dice) / len(dice)
    return centre_bars(values, dict(enumerate(SCGM_DICE_PER_CENTRE)))


def _write_figures(drawn: Sequence[Drawn], out: Path) -> list[Path]:
    """Write every figure as SVG and PNG."""
    paths = []
    for entry in drawn:
        for ending in (".svg", ".png"):
            path = out / f"{entry.name}{ending}"
            with styled(), atomic_output(path, overwrite=True) as temporary:
                entry.figure.savefig(temporary, format=ending[1:], dpi=150, metadata=_UNDATED.get(ending))
            paths.append(path)
    return paths


_UNDATED = {".svg": {"Date": None}}  # the same figure is the same file


def write_pages(work: Reproduction, results: Results, drawn: Sequence[Drawn]) -> list[Path]:
    """Write one page per data set that has a finished run, with the published numbers beside ours on top.

    A page has all figures, and leaves out the runs that the tables leave out. That of a smoke run has nothing
    but the published numbers beside ours: the rest would take longer than the runs did, and show nothing.
    """
    pages = []
    for layout, dataset in work.datasets.items():
        if layout not in results.shown:
            continue
        folder = work.out / layout
        title = f"{work.experiment.name}: {work.experiment.part(layout).dataset}"
        if work.smoke:
            introduction = work.experiment.content.title
            data = ReportData(title, rows=(), introduction=introduction, notes=(SMOKE_NOTE,))
        else:
            others = results.finished[layout].others
            data = assemble(folder / "runs", source=dataset, title=title, without=others)
        mine = [cell for cell in results.cells if cell.part.layout == layout]
        data = replace(data, sections=(_section(mine, drawn),))
        pages.append(write_report(data, folder / "report.html", overwrite=True))
    return pages


def _section(cells: Sequence[Compared], drawn: Sequence[Drawn]) -> Section:
    text = " ".join((caption(cells), *gaps(cells)))
    figures = tuple((figure.name, figure.text, figure.figure) for figure in drawn)
    return Section("Published and ours", text, tuple(side_by_side_tables(cells)), figures)
