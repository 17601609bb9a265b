"""One complete run: fit, predict the test cases, evaluate them; everything lies in the run's folder."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path

from sfumato.data import Dataset, check_dataset, load_case, read_splits
from sfumato.errors import DataError
from sfumato.evaluation.diagrams import write_points
from sfumato.evaluation.rows import Row, write_rows
from sfumato.evaluation.run import RunRows
from sfumato.model.checkpoint import load
from sfumato.model.model import recipe_device
from sfumato.model.predict import describe, write_prediction
from sfumato.model.temperature import run_temperature
from sfumato.recipe.dataset import recipe_dataset
from sfumato.recipe.recipe import Recipe
from sfumato.runs.folder import RunFolder
from sfumato.training.fit import fit, is_first_process

LOG = logging.getLogger("sfumato.study")
Progress = Callable[[Iterable[str]], Iterable[str]]


def complete_run(
    recipe: Recipe,
    dataset: Dataset,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    checked: bool = False,
    progress: Progress = iter,
) -> RunFolder:
    """Train one recipe, then predict and evaluate its test cases.

    With ``resume``, a run that has its ``metrics.csv`` is complete and left as it is.

    Args:
        recipe: What to train.
        dataset: Its cases.
        out: The run folder.
        resume: Go on with an interrupted run.
        overwrite: Replace an existing one.
        checked: Every file was read and found right already; they are not all read again.
        progress: Wraps the test cases' names, for a progress bar.

    Returns:
        The run's folder, with predictions (hard and soft), ``metrics.csv`` of the test cases, and
        ``diagrams.csv`` with the points of every diagram. A split without test cases leaves no row.
        ``temperature.json``, fitted on the validation cases, adds every method's temperature-scaled form to
        both tables (run and method end in ``+T``; the decisions are the same, the soft values are not).

    Raises:
        DataError: every problem of every case, the test cases included, before any training and before an
            existing run is replaced.
        SfumatoError: as :func:`sfumato.training.fit.fit`; another process that writes to ``out`` is named
            before anything is read.
    """
    with RunFolder(out, writes=is_first_process()).alone():
        if overwrite or not (out / "recipe.yaml").exists():
            recipe_dataset(recipe, dataset)
            # A broken test case must not come to light after days of training.
            problems = [] if checked else check_dataset(dataset)
            if problems:
                raise DataError(problems)
        folder = fit(recipe, dataset, out, resume=resume, overwrite=overwrite)
        if folder.writes and not (folder.path / "metrics.csv").exists():
            with folder.logging():
                evaluate_run(folder, dataset, progress=progress)
    return folder


def evaluate_run(folder: RunFolder, dataset: Dataset, *, progress: Progress = iter) -> list[Row]:
    """Predict and evaluate the test cases of a trained run; ``metrics.csv`` is written last.

    The network runs where the recipe trains (on the CPU where there is no GPU); the scores are computed on
    the CPU.
    """
    model = load(folder.best_checkpoint, trust_code=True)
    model.to(recipe_device(model.recipe))
    split = read_splits(folder.path / "splits.json").fold(model.recipe.split.fold)
    files = {entry.name: entry for entry in dataset.cases}
    fitted = run_temperature(folder.path, model, dataset, split.val)
    table = RunRows(model, temperature=None if fitted is None else fitted.temperature)
    out = folder.path / "predictions"
    for name in progress(split.test):
        case = load_case(files[name], dataset)
        prediction = model.predict(case)
        write_prediction(prediction, model, out, soft="float32")
        table.add(prediction, case, dataset)
        LOG.info("predicted and evaluated %s", name)
    describe(model, out, soft="float32")
    sweep = [(line["threshold"], line["dice"]) for line in _numbers(folder.path / "threshold.csv")]
    metrics = folder.path / "metrics.csv"
    write_points(table.points(_numbers(folder.path / "history.csv"), sweep), metrics, overwrite=True)
    write_rows(table.rows(), metrics, overwrite=True)
    return table.rows()


def _numbers(path: Path) -> list[dict[str, float]]:
    """Read a table of numbers that the training left; nan for an empty cell, nothing for no table."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            {name: float(cell) if cell else math.nan for name, cell in line.items()}
            for line in csv.DictReader(stream)
        ]
