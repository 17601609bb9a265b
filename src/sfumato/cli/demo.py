"""``sfumato demo``: six training methods compared on real MRI, and ten raters on one cell."""

from __future__ import annotations

import dataclasses
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.printing import print_summary
from sfumato.cli.progress import progress
from sfumato.data import load_case, open_dataset
from sfumato.errors import OutputExistsError
from sfumato.evaluation.agreement import agreement_rows, agreement_table
from sfumato.evaluation.rows import SCALED, write_rows
from sfumato.recipe.files import recipe_file
from sfumato.recipe.recipe import Recipe, read_recipe
from sfumato.report import assemble, write_report
from sfumato.report.raters import rater_panel
from sfumato.statistics.summary import overall, summary_table
from sfumato.study.outcomes import METRICS as TABLE
from sfumato.study.run import complete_run

METHODS = ("ce", "ls", "svls", "geols", "singr", "softseg")
RATED_CELL = "P10"  # one of the ten raters outlined another object here
RATERS = "raters.csv"  # how the ten agree, in the columns of metrics.csv
OWN = ("runs", "report.html", "figures", RATERS)  # what a demo leaves in its folder
QUICK_CASES = 14
ENOUGH = 0.75  # foreground Dice that is well past the trivial


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for runs and report.")] = Path("demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A look in about a minute: few cases, few epochs, poor models.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted demo.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demo.")] = False,
) -> None:
    """Train six methods on the hippocampus sample, evaluate them, and write one report."""
    _make_room(out, resume=resume, overwrite=overwrite)
    started = time.perf_counter()
    dataset, recipe = open_dataset("sample:hippocampus"), _recipe(quick=quick)
    if quick:
        dataset = dataclasses.replace(dataset, cases=dataset.cases[:QUICK_CASES])
    tables = []
    for number, name in enumerate(METHODS, start=1):
        typer.echo(f"[{number}/{len(METHODS)}] {name}: {recipe.epochs} epochs")
        folder = complete_run(
            recipe.replace(method=name),
            dataset,
            out / "runs" / f"{name}-seed{recipe.seed}-fold{recipe.split.fold}",
            resume=resume,
            progress=partial(progress, title="predict and evaluate"),
        )
        tables.append(folder.path / TABLE)
    report = _report(out, quick=quick, seconds=time.perf_counter() - started)
    print_summary(tables)
    _say_if_poor(tables, quick=quick)
    typer.echo(f"report: {report}")


def _recipe(*, quick: bool) -> Recipe:
    recipe = read_recipe(recipe_file("demo.yaml"))
    if not quick:
        return recipe
    return recipe.replace(
        epochs=8, validate_every=4, split={**recipe.split.model_dump(), "fractions": (0.6, 0.2, 0.2)}
    )


def _make_room(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Remove an earlier demo if asked to, and nothing that is not one."""
    if resume or not out.exists() or not any(out.iterdir()):
        return
    if not overwrite:
        raise OutputExistsError(f"{out} exists already: give --overwrite, --resume or another --out")
    strange = sorted(path.name for path in out.iterdir() if path.name not in OWN)
    if strange:
        raise OutputExistsError(
            f"{out} holds {', '.join(strange[:3])}, which no demo wrote: "
            "it is not replaced, give another --out"
        )
    shutil.rmtree(out)


def _report(out: Path, *, quick: bool, seconds: float) -> Path:
    notes = [f"All trainings, predictions and evaluations took {seconds / 60:.1f} minutes."]
    if quick:
        notes.append(
            f"A quick look: {QUICK_CASES} cases and a few epochs. The models are poor and the numbers say "
            "nothing about the methods; run the demo without --quick for that."
        )
    title = "Six ways to train on soft labels: hippocampus MRI"
    data = assemble(out / "runs", title=title, max_cases=4 if quick else 8)
    cells = open_dataset("sample:cells")
    rated = [load_case(files, cells) for files in cells.cases]
    panel = rater_panel(cells, next(case for case in rated if case.name == RATED_CELL))
    agreement = agreement_rows(cells, rated)
    write_rows(agreement, out / RATERS, overwrite=True)
    data = dataclasses.replace(
        data, raters=(panel,), agreement=agreement_table(agreement), notes=(*data.notes, *notes)
    )
    return write_report(data, out / "report.html", overwrite=True)


def _say_if_poor(tables: list[Path], *, quick: bool) -> None:
    if quick:
        return
    means = summary_table(tables, metric="dice", unit="case", resamples=0)
    for name, mean in overall(means).set_index("method")["mean"].items():
        # Temperature-scaled methods decide as their models do.
        if str(name).endswith(SCALED):
            continue
        if mean < ENOUGH:
            typer.echo(
                f"{name}: mean foreground Dice {mean:.3f} is below {ENOUGH}: this training did not converge "
                "in the demo's few epochs; its learning curve in the report shows how far it came"
            )
