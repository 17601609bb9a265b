"""What ``sfumato reproduce`` leaves to look at: the paper's figures of our runs, a report per data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from matplotlib.figure import Figure

from sfumato.data import Dataset
from sfumato.output import atomic_output
from sfumato.report import ReportData, Section, write_report
from sfumato.report.assemble import assemble
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
from sfumato.reproduction.experiments import Experiment
from sfumato.reproduction.finished import Finished
from sfumato.reproduction.published import SCGM_DICE_PER_CENTRE
from sfumato.reproduction.run import SMOKE_NOTE
from sfumato.reproduction.side_by_side import Compared
from sfumato.reproduction.tables import caption, gaps, side_by_side_tables

T = TypeVar("T")


class Drawn(NamedTuple):
    """One figure: its file name without ending, what it shows, and itself."""

    name: str
    text: str
    figure: Figure


def draw(experiment: Experiment, cells: Sequence[Compared], runs: Mapping[str, ReportData]) -> list[Drawn]:
    """Draw the figures of an experiment; one that has none, or no number for it, gives an empty list.

    Args:
        experiment: What is drawn.
        cells: Its numbers.
        runs: Kind of data set to what its finished runs left.
    """
    with styled():
        found = {
            None: _nothing,
            "alpha": _alpha,
            "pairs": _pairs,
            "reliability": _reliability,
            "softseg": _softseg,
        }[experiment.content.figure](experiment, cells, runs)
        return [Drawn(name, text, figure) for name, text, figure in found if figure is not None]


Found = Iterator[tuple[str, str, Figure | None]]


def _nothing(experiment: Experiment, cells: Sequence[Compared], runs: Mapping[str, ReportData]) -> Found:
    return iter(())


def _alpha(experiment: Experiment, cells: Sequence[Compared], runs: Mapping[str, ReportData]) -> Found:
    yield experiment.name, "Score against the smoothing factor; rings: published numbers", alpha_sweep(cells)


def _pairs(experiment: Experiment, cells: Sequence[Compared], runs: Mapping[str, ReportData]) -> Found:
    yield (
        experiment.name,
        "Hard labels and SiNGR per network; rings: published numbers",
        paired_networks(cells),
    )


def _reliability(experiment: Experiment, cells: Sequence[Compared], runs: Mapping[str, ReportData]) -> Found:
    panels = {}
    for part in experiment.content.data:
        if part.kind in runs:
            pooled = pooled_bins(runs[part.kind], "foreground")
            names = [training.name for training in experiment.trainings(part.kind)]
            panels[part.dataset] = {name: pooled[name] for name in names if name in pooled}
    text = "Share of voxels and accuracy against confidence, over voxels whose reference is foreground"
    yield experiment.name, text, reliability_panels(panels)


def _softseg(experiment: Experiment, cells: Sequence[Compared], runs: Mapping[str, ReportData]) -> Found:
    scgm = runs.get("scgm")
    names = [training.name for training in experiment.content.trainings]
    if scgm is not None:
        shown = {name: several[0] for name, several in _per_method(scgm, scgm.progressions, names).items()}
        text = f"Predictions while learning: {slice_text(shown.values())}; transparent is 0, red is 1"
        yield "softseg-figure2", text, progress_panels(shown)
        sweeps = _per_method(scgm, scgm.thresholds, names)
        found = {name: [dict(sweep) for sweep in several] for name, several in sweeps.items()}
        text = (
            "Dice on training and validation cases against the threshold: mean and range over the trainings; "
            "dots: each training's best"
        )
        yield "softseg-figure3", text, threshold_panels(found)
    histograms = {
        part.dataset: {
            name: pooled_values(several)
            for name, several in _per_method(runs[part.kind], runs[part.kind].values, names).items()
        }
        for part in experiment.content.data
        if part.kind in runs
    }
    text = "Density of the predictions' values above 0 (0.01 and less count as 0); each area is 1"
    yield "softseg-figure4", text, value_panels(histograms)
    if scgm is not None:
        yield f"{experiment.name}-centres", "Dice per test centre", _centres(scgm, names)


def _per_method(data: ReportData, found: Mapping[str, T], names: Sequence[str]) -> dict[str, list[T]]:
    """Sort what every run has by the run's method, in the order of ``names``."""
    groups = {name: [each for run, each in found.items() if data.method_of(run) == name] for name in names}
    return {name: several for name, several in groups.items() if several}


def _centres(data: ReportData, names: Sequence[str]) -> Figure | None:
    """Dice per test centre, which is the fold: the mean over its cases and trainings, in %."""
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


def write_figures(drawn: Sequence[Drawn], out: Path) -> list[Path]:
    """Write every figure as SVG and PNG; earlier ones are replaced."""
    paths = []
    for each in drawn:
        for ending in (".svg", ".png"):
            path = out / f"{each.name}{ending}"
            with styled(), atomic_output(path, overwrite=True) as temporary:
                each.figure.savefig(temporary, format=ending[1:], dpi=150, metadata=_UNDATED.get(ending))
            paths.append(path)
    return paths


_UNDATED = {".svg": {"Date": None}}  # the same figure is the same file


def write_reports(
    experiment: Experiment,
    cells: Sequence[Compared],
    drawn: Sequence[Drawn],
    datasets: Mapping[str, Dataset],
    out: Path,
    *,
    finished: Mapping[str, Finished],
    smoke: bool,
) -> list[Path]:
    """Write one page per data set that has a finished run, with the published numbers beside ours on top.

    Args:
        experiment: What was trained.
        cells: Its numbers.
        drawn: Its figures; every page shows them all.
        datasets: Kind of data set to its cases.
        out: Where ``<kind>/runs`` lie; the page is ``<kind>/report.html``.
        finished: Kind of data set to its finished runs; those that the tables leave out, the page leaves out.
        smoke: Leave out everything but the published numbers beside ours: it takes longer than the runs did,
            and shows nothing.
    """
    pages = []
    for kind, dataset in datasets.items():
        if not finished[kind].taken:
            continue
        part = experiment.part(kind)
        title = f"{experiment.name}: {part.dataset}"
        if smoke:
            data = ReportData(title, rows=(), introduction=experiment.content.title, notes=(SMOKE_NOTE,))
        else:
            others = finished[kind].others
            data = assemble(out / kind / "runs", source=dataset, title=title, without=others)
        mine = [cell for cell in cells if cell.part.kind == kind]
        data = replace(data, sections=(_section(mine, drawn),))
        pages.append(write_report(data, out / kind / "report.html", overwrite=True))
    return pages


def _section(cells: Sequence[Compared], drawn: Sequence[Drawn]) -> Section:
    text = " ".join((caption(cells), *gaps(cells)))
    figures = tuple((figure.name, figure.text, figure.figure) for figure in drawn)
    return Section("Published and ours", text, tuple(side_by_side_tables(cells)), figures)
