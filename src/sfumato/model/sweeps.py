"""Threshold sweeps of finished runs, each on cases of its own split, and their tables."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from sfumato.data import Dataset, read_splits
from sfumato.errors import DataError, FileFormatError, InputError
from sfumato.model.checkpoint import load
from sfumato.model.model import Model
from sfumato.model.threshold import Sweep, threshold_sweep
from sfumato.output import atomic_output

SETS = {"train": "train", "validation": "val", "test": "test"}
TABLES = ("thresholds.csv", "chosen.csv")
Progress = Callable[[Iterable[str]], Iterable[str]]


def sweep_runs(
    runs: Sequence[Path],
    dataset: Dataset,
    *,
    sets: Sequence[str] = ("validation",),
    device: str = "cpu",
    progress: Callable[[str], Progress] = lambda _: iter,
) -> list[Sweep]:
    """Sweep the threshold of finished runs.

    Args:
        runs: Their folders.
        dataset: What they were trained on.
        sets: Which cases of each run's own split: ``train``, ``validation``, ``test``.
        device: Where the networks run.
        progress: From the name of a run's folder to what wraps its case names.

    Raises:
        FileFormatError: a folder is no finished run.
        InputError: two folders hold one run.
        DataError: a run's split has no such case, or names one that the data set lacks.
    """
    models = [load(_finished(folder), device=device) for folder in runs]
    names = [_names(model, folder, dataset, sets) for model, folder in zip(models, runs, strict=True)]
    seen: dict[str, Path] = {}
    for model, folder in zip(models, runs, strict=True):
        if model.run_name in seen:
            both = f"{seen[model.run_name]} and {folder} are both {model.run_name}"
            raise InputError(f"{both}: give every run once")
        seen[model.run_name] = folder
    return [
        threshold_sweep(model, dataset, cases, progress=progress(folder.name))
        for model, folder, cases in zip(models, runs, names, strict=True)
    ]


def _finished(folder: Path) -> Path:
    if not (folder / "checkpoints" / "best.ckpt").is_file():
        raise FileFormatError(f"{folder} is no finished run: it has no checkpoints/best.ckpt")
    return folder


def _names(model: Model, folder: Path, dataset: Dataset, sets: Sequence[str]) -> tuple[str, ...]:
    split = read_splits(folder / "splits.json").fold(model.recipe.split.fold)
    names = tuple(name for chosen in sets for name in getattr(split, SETS[chosen]))
    if not names:
        raise DataError([f"{folder}: the run's split has no {' or '.join(sets)} case"])
    absent = set(names) - set(dataset.names)
    if absent:
        lacking = f"{folder} was split into cases that {dataset.name} lacks, such as {min(absent)}"
        raise DataError([f"{lacking}: give the data set that it was trained on"])
    return names


def write_sweeps(sweeps: Sequence[Sweep], out: Path, *, label: str, overwrite: bool) -> None:
    """Write ``thresholds.csv``, every point of every curve, and ``chosen.csv``, a line per run.

    Args:
        sweeps: The sweeps.
        out: The folder.
        label: What the cases are called in the tables.
        overwrite: Replace existing tables.
    """
    for name, lines in zip(TABLES, (_points(sweeps, label), _chosen(sweeps, label)), strict=True):
        with (
            atomic_output(out / name, overwrite=overwrite) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            csv.writer(stream, lineterminator="\n").writerows(lines)


def _points(sweeps: Sequence[Sweep], label: str) -> Iterator[tuple[object, ...]]:
    yield (
        *("run", "method", "dataset", "seed", "fold", "set", "structure"),
        *("threshold", "dice", "rvd", "cases", "rvd_undefined"),
    )
    for sweep in sweeps:
        for structure, curve in sweep.curves.items():
            origin = (sweep.run, sweep.method, sweep.dataset, sweep.seed, sweep.fold, label, structure)
            for value, dice, rvd in zip(sweep.thresholds, curve.dice, curve.rvd, strict=True):
                yield (*origin, value, dice, rvd, curve.cases, curve.undefined)


def _chosen(sweeps: Sequence[Sweep], label: str) -> Iterator[tuple[object, ...]]:
    yield ("run", "method", "set", "threshold", "dice", "rvd", "stored", "stored_dice", "stored_rvd")
    for sweep in sweeps:
        stored = ("", "", "") if sweep.stored is None else (sweep.stored, *sweep.at(sweep.stored))
        yield (sweep.run, sweep.method, label, sweep.chosen, *sweep.at(sweep.chosen), *stored)
