"""``sfumato evaluate``: predictions against references, as a tidy table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sfumato.cli.console import wide_console
from sfumato.cli.options import DATASET_HELP
from sfumato.cli.progress import progress
from sfumato.data import open_dataset
from sfumato.evaluation.folder import FolderScores, score_folder, settings_path
from sfumato.output import require_free
from sfumato.tables.results import means_table
from sfumato.tables.terminal import terminal


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PRED",
            help="Folder of <case>.nii.gz, and <case>_soft.nii.gz for soft predictions; or one file.",
        ),
    ],
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="Folder of masks <case>.nii.gz, one mask, folder of a public data set or in nnU-Net or BIDS "
            "layout, CSV manifest, or sample:NAME.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The table to write, a CSV file.")],
    layout: Annotated[
        str, typer.Option("--dataset", "--reference-kind", metavar="KIND", help=DATASET_HELP)
    ] = "auto",
    tolerance: Annotated[
        float | None,
        typer.Option(help="Tolerance of the surface Dice in mm; default: that of the training, else 2."),
    ] = None,
    missing: Annotated[
        Literal["nan", "diagonal"],
        typer.Option(help="Distances where only one mask is empty: undefined, or the image diagonal."),
    ] = "nan",
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Only this metric; may be repeated. Also specificity, hd, assd, lesion_f1, …"),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Allow a folder of masks to hold cases without a prediction.")
    ] = False,
    method: Annotated[str | None, typer.Option(help="Method's name, for other people's predictions.")] = None,
    run: Annotated[
        str | None, typer.Option(help="Training's name; default <method>-seed<k>-fold<j>.")
    ] = None,
    dataset_name: Annotated[str | None, typer.Option(help="Name of the data set in the table.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training.")] = None,
    fold: Annotated[int | None, typer.Option(help="Fold of the training.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing table.")] = False,
) -> None:
    """Score every case and write a tidy table; the settings lie beside it as JSON.

    Several raters: one row against each (column rater) and one against their consensus.
    """
    for path in (out, settings_path(out)):
        require_free(path, overwrite=overwrite)
    scores = score_folder(
        predictions,
        reference if layout == "auto" else open_dataset(reference, layout=layout),
        metrics=metric,
        tolerance_mm=tolerance,
        missing=missing,
        partial=partial,
        about={"run": run, "method": method, "dataset": dataset_name, "seed": seed, "fold": fold},
        progress=lambda cases: progress(cases, title="evaluate"),
    )
    if scores.from_weights:
        typer.echo(
            f"{scores.from_weights} of {scores.scored} references are class weights: MSE, soft Dice and soft "
            "IoU compare with the weights, every other score with the class that weighs most",
            err=True,
        )
    scores.write(out, overwrite=overwrite)
    _show(scores, out)


def _show(scores: FolderScores, out: Path) -> None:
    """Print the means; against single raters they are in the file only."""
    cases = f"{scores.scored} of {scores.cases} cases of {scores.reference}"
    table = means_table(scores.rows, title=f"{cases}: means over the defined values")
    console = wide_console()
    console.print(terminal(table, boxed=True))
    console.print(f"table written: {out}", soft_wrap=True, highlight=False)
