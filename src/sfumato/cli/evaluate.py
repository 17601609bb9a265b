"""``sfumato evaluate``: predictions against references, as a tidy table."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sfumato.cli.options import DATASET_HELP

if TYPE_CHECKING:
    from sfumato.evaluation.case import Origin, Settings
    from sfumato.evaluation.files import PredictionFiles, References
    from sfumato.evaluation.rows import Row, Summary
    from sfumato.evaluation.scorer import Pairs, Scorer


def evaluate(
    predictions: Annotated[
        Path,
        typer.Argument(
            metavar="PRED",
            help="Folder of <case>.nii.gz, and <case>_soft.nii.gz for graded predictions; or one file.",
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
    kind: Annotated[
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
    from sfumato.errors import DataError
    from sfumato.evaluation.case import DEFAULT_METRICS, Settings
    from sfumato.evaluation.files import find_predictions, find_references
    from sfumato.evaluation.scorer import Scorer, name_labels, name_regions, pair
    from sfumato.output import require_free

    for path in (out, _notes_path(out)):
        require_free(path, overwrite=overwrite)
    found, references = find_predictions(predictions), find_references(reference, kind)
    if tolerance is None:
        tolerance = found.tolerance_mm or Settings().tolerance_mm
    settings = Settings(metrics=tuple(metric or DEFAULT_METRICS), tolerance_mm=tolerance, missing=missing)
    pairs, problems = pair(found, references, partial=partial)
    if not pairs:
        raise DataError(problems)
    told = {"run": run, "method": method, "dataset": dataset_name, "seed": seed, "fold": fold}
    origin = _origin(told, found, references, predictions)
    label_names = name_labels(found, references, pairs)
    regions = name_regions(found, references, label_names)
    scorer = Scorer(found, references, label_names, regions, settings, origin)
    rows = _score(scorer, pairs, problems)
    hardened = sum(not files.hard for _, files in pairs.values())
    if hardened:
        typer.echo(
            f"{hardened} of {len(pairs)} references are class weights: MSE, soft Dice and soft IoU compare "
            "with the weights, every other score with the class that weighs most",
            err=True,
        )
    _write(rows, out, settings, overwrite=overwrite)
    _show(rows, f"{len(pairs)} of {len(references.cases)} cases of {references.name}", out)


def _score(scorer: Scorer, pairs: Pairs, problems: list[str]) -> list[Row]:
    """Score every case; where anything is wrong with any of them, raise with the whole list.

    Raises:
        DataError: A file has no partner, cannot be read, or does not fit.
    """
    from sfumato.cli.progress import progress
    from sfumato.errors import DataError, InputError

    rows: list[Row] = []
    for case in progress(list(pairs), title="evaluate"):
        try:
            rows += scorer.score(case, *pairs[case])
        except InputError as error:
            problems.append(f"case {case}: {error}")
    if problems:
        raise DataError(problems)
    return rows


def _origin(
    told: Mapping[str, str | int | None], found: PredictionFiles, references: References, place: Path
) -> Origin:
    """Join what the options, prediction.json and the folders' names say, in this order."""
    from sfumato.evaluation.case import Origin

    said = {key: value for key, value in found.description.items() if value is not None}
    if not references.complete:
        said["dataset"] = references.name  # the data set that is scored, not the one trained on
    said |= {key: value for key, value in told.items() if value is not None}
    method = str(said.get("method") or (place.resolve().name if place.is_dir() else place.name))
    seed, fold = (None if said.get(key) is None else int(said[key]) for key in ("seed", "fold"))
    tail = [f"{key}{value}" for key, value in (("seed", seed), ("fold", fold)) if value is not None]
    return Origin(
        run=str(said.get("run") or "-".join([method, *tail])),
        method=method,
        dataset=str(said.get("dataset") or references.name),
        seed=seed,
        fold=fold,
        case="",
    )


def _notes_path(out: Path) -> Path:
    return out.with_suffix(".json")


def _write(rows: Sequence[Row], out: Path, settings: Settings, *, overwrite: bool) -> None:
    """Write how the numbers were computed, then the table: where that exists, all is complete."""
    from sfumato import __version__
    from sfumato.evaluation.rows import write_rows
    from sfumato.output import atomic_output

    notes = dataclasses.asdict(settings) | {
        "hausdorff": {"weighting": "area", "direction": "max"},
        "sfumato": __version__,
    }
    with atomic_output(_notes_path(out), overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
    write_rows(rows, out, overwrite=overwrite)


def _show(rows: Iterable[Row], cases: str, out: Path) -> None:
    """Print the means; against single raters they are in the file only."""
    from rich.table import Table

    from sfumato.cli.console import wide_console
    from sfumato.evaluation.rows import aggregate

    table = Table(title=f"{cases}: means over the defined values")
    for heading in ("structure", "metric"):
        table.add_column(heading)
    for heading in ("mean", "SD", "unit", "n", "undefined"):
        table.add_column(heading, justify="right", no_wrap=True)
    for summary in aggregate(row for row in rows if not row.rater):
        table.add_row(*_cells(summary))
    console = wide_console()
    console.print(table)
    console.print(f"table written: {out}", soft_wrap=True, highlight=False)


def _cells(summary: Summary) -> tuple[str, ...]:
    mean, deviation = (
        "–" if math.isnan(value) else f"{value:.4g}" for value in (summary.mean, summary.deviation)
    )
    counts = str(summary.defined), str(summary.undefined)
    return summary.structure, summary.metric, mean, deviation, summary.unit, *counts
