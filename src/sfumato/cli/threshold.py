"""``sfumato threshold``: what Dice and volume do when the threshold moves."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sfumato.checks import require_choice
from sfumato.cli.dataset_option import DatasetKind
from sfumato.cli.progress import progress
from sfumato.errors import DataError, FileFormatError, InputError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sfumato.data.case import Dataset
    from sfumato.model import Model
    from sfumato.model.threshold import Sweep

FILES = ("thresholds.csv", "chosen.csv", "thresholds.svg", "thresholds.png")
SETS = {"train": "train", "validation": "val", "test": "test"}


def threshold(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Finished run folders; of one method, a band.")
    ],
    data: Annotated[str, typer.Option("--data", help="The runs' data set, as for sfumato train.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the tables and the figure.")],
    kind: DatasetKind = "auto",
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Which cases of each run's own split: train, validation or test; may be repeated. "
            "Default: validation.",
        ),
    ] = None,
    accelerator: Annotated[
        Literal["cpu", "gpu", "auto"], typer.Option(help="Where the network runs.")
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Sweep the threshold from 0.05 to 0.95: Dice and volume bias per run, and the value with the best Dice.

    Signed maps (singr) are swept on (z + 1) / 2, softmax methods on each structure's probability. Volume
    bias is (reference - prediction) / reference: above 0 the prediction is too small. Choosing the value on
    test cases makes their Dice look better than it is; the default takes validation cases.
    """
    import torch

    for library in ("matplotlib", "jinja2"):
        if find_spec(library) is None:
            raise MissingExtraError(
                f"the figure needs {library}: install it with pip install 'sfumato[report]'"
            )
    from sfumato.data import open_dataset
    from sfumato.model import load
    from sfumato.model.threshold import threshold_sweep
    from sfumato.output import require_free

    if accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError("--accelerator gpu, but torch finds no GPU on this machine: use cpu or auto")
    device = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    for name in FILES:
        require_free(out / name, overwrite=overwrite)
    chosen = list(dict.fromkeys(sets or ["validation"]))
    for name in chosen:
        require_choice("--set", name, SETS)
    dataset = open_dataset(data, layout=kind)
    models = [(load(_run(folder), device=device), folder) for folder in runs]
    names = [_names(model, folder, dataset, chosen) for model, folder in models]
    _require_different(runs, [model for model, _ in models])
    sweeps = [
        threshold_sweep(model, dataset, cases, progress=partial(progress, title=f"sweep {folder.name}"))
        for (model, folder), cases in zip(models, names, strict=True)
    ]
    label = "+".join(chosen)
    _write(out, sweeps, dataset.name, label, overwrite=overwrite)
    _print(sweeps, label)
    typer.echo(f"{len(sweeps)} sweeps written: {out}")


def _run(folder: Path) -> Path:
    if not (folder / "checkpoints" / "best.ckpt").is_file():
        raise FileFormatError(f"{folder} is no finished run: it has no checkpoints/best.ckpt")
    return folder


def _names(model: Model, folder: Path, dataset: Dataset, sets: Sequence[str]) -> tuple[str, ...]:
    from sfumato.data.splits import read_splits

    split = read_splits(folder / "splits.json").fold(model.recipe.split.fold)
    names = tuple(name for each in sets for name in getattr(split, SETS[each]))
    if not names:
        raise DataError([f"{folder}: the run's split has no {' or '.join(sets)} case"])
    absent = set(names) - set(dataset.names)
    if absent:
        lacking = f"{folder} was split into cases that {dataset.name} lacks, such as {min(absent)}"
        raise DataError([f"{lacking}: give the data set that it was trained on"])
    return names


def _require_different(runs: Sequence[Path], trained: Sequence[Model]) -> None:
    seen: dict[str, Path] = {}
    for folder, model in zip(runs, trained, strict=True):
        name = model.run_name
        if name in seen:
            raise InputError(f"{seen[name]} and {folder} are both {name}: give every run once")
        seen[name] = folder


def _lines(sweeps: Sequence[Sweep], dataset: str, label: str) -> Iterator[tuple[object, ...]]:
    yield (
        *("run", "method", "dataset", "seed", "fold", "set", "structure"),
        *("threshold", "dice", "rvd", "cases", "rvd_undefined"),
    )
    for sweep in sweeps:
        for structure, curve in sweep.curves.items():
            for value, dice, rvd in zip(sweep.thresholds, curve.dice, curve.rvd, strict=True):
                origin = (sweep.run, sweep.method, dataset, sweep.seed, sweep.fold, label, structure)
                yield (*origin, value, dice, rvd, curve.cases, curve.undefined)


def _chosen_lines(sweeps: Sequence[Sweep], label: str) -> Iterator[tuple[object, ...]]:
    yield ("run", "method", "set", "threshold", "dice", "rvd", "stored", "stored_dice", "stored_rvd")
    for sweep in sweeps:
        stored = ("", "", "") if sweep.stored is None else (sweep.stored, *sweep.at(sweep.stored))
        yield (sweep.run, sweep.method, label, sweep.chosen, *sweep.at(sweep.chosen), *stored)


def _write(out: Path, sweeps: Sequence[Sweep], dataset: str, label: str, *, overwrite: bool) -> None:
    from sfumato.output import atomic_output
    from sfumato.report.figures import styled

    tables = {"thresholds.csv": _lines(sweeps, dataset, label), "chosen.csv": _chosen_lines(sweeps, label)}
    for name, lines in tables.items():
        with (
            atomic_output(out / name, overwrite=overwrite) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            csv.writer(stream, lineterminator="\n").writerows(lines)
    with styled():
        figure = _figure(sweeps, label)
        for name in FILES[2:]:
            with atomic_output(out / name, overwrite=overwrite) as temporary:
                # Without a date the same sweep gives the same file.
                dated = {"metadata": {"Date": None}} if name.endswith(".svg") else {"dpi": 150}
                figure.savefig(temporary, format=name[-3:], **dated)


def _figure(sweeps: Sequence[Sweep], label: str) -> Figure:
    """Draw Dice and volume bias against the threshold: a method's mean, and the band of its runs."""
    import numpy as np
    from matplotlib.figure import Figure as NewFigure

    from sfumato.model.threshold import EVERY
    from sfumato.report.style import MUTED, pens

    drawn = pens(dict.fromkeys(sweep.method for sweep in sweeps))
    figure = NewFigure(figsize=(9.0, 3.6), layout="constrained")
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


def _print(sweeps: Sequence[Sweep], label: str) -> None:
    from rich.table import Table

    from sfumato.cli.console import wide_console

    table = Table(
        title=f"Threshold sweep on {label} cases, mean over cases and structures", header_style="bold"
    )
    table.add_column("run", overflow="fold")
    for heading in ("in use", "Dice", "volume bias", "chosen here", "Dice", "volume bias"):
        table.add_column(heading, justify="right")
    for sweep in sweeps:
        stored = ("argmax", "", "") if sweep.stored is None else _cells(sweep, sweep.stored)
        table.add_row(sweep.run, *stored, *_cells(sweep, sweep.chosen))
    wide_console().print(table)


def _cells(sweep: Sweep, value: float) -> tuple[str, str, str]:
    dice, rvd = sweep.at(value)
    return f"{value:.2f}", f"{dice:.3f}", "undefined" if rvd != rvd else f"{100 * rvd:+.1f} %"
