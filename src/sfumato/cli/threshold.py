"""``sfumato threshold``: what Dice and volume do when the threshold moves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from sfumato.checks import require_choice
from sfumato.cli.console import wide_console
from sfumato.cli.options import Accelerator, DatasetLayout, chosen_device
from sfumato.cli.progress import progress
from sfumato.data import open_dataset
from sfumato.model.sweeps import SETS, TABLES, sweep_runs, write_sweeps
from sfumato.model.threshold import Sweep
from sfumato.output import atomic_output, require_free
from sfumato.report.figures import styled
from sfumato.report.thresholds import threshold_figure

FIGURES = ("thresholds.svg", "thresholds.png")


def threshold(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN…", help="Finished run folders; of one method, a band.")
    ],
    data: Annotated[str, typer.Option("--data", help="The runs' data set, as for sfumato train.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the tables and the figure.")],
    layout: DatasetLayout = "auto",
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Which cases of each run's own split: train, validation or test; may be repeated. "
            "Default: validation.",
        ),
    ] = None,
    accelerator: Accelerator = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Sweep the threshold from 0.05 to 0.95: Dice and volume bias per run, and the value with the best Dice.

    Signed maps (singr) are swept on (z + 1) / 2, softmax methods on each structure's probability. Volume
    bias is (reference - prediction) / reference: above 0 the prediction is too small. Choosing the value on
    test cases makes their Dice look better than it is; the default takes validation cases.
    """
    device = chosen_device(accelerator)
    for name in (*TABLES, *FIGURES):
        require_free(out / name, overwrite=overwrite)
    chosen = list(dict.fromkeys(sets or ["validation"]))
    for name in chosen:
        require_choice("--set", name, SETS)
    sweeps = sweep_runs(
        runs,
        open_dataset(data, layout=layout),
        sets=chosen,
        device=device,
        progress=lambda run: partial(progress, title=f"sweep {run}"),
    )
    label = "+".join(chosen)
    write_sweeps(sweeps, out, label=label, overwrite=overwrite)
    with styled():
        figure = threshold_figure(sweeps, label)
        for name in FIGURES:
            with atomic_output(out / name, overwrite=overwrite) as temporary:
                # Without a date the same sweep gives the same file.
                dated = {"metadata": {"Date": None}} if name.endswith(".svg") else {"dpi": 150}
                figure.savefig(temporary, format=name[-3:], **dated)
    _print(sweeps, label)
    typer.echo(f"{len(sweeps)} sweeps written: {out}")


def _print(sweeps: Sequence[Sweep], label: str) -> None:
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
