"""Read a folder of runs: the numbers and texts that a report shows, and how predictions grew; no whole image.

Every number comes from ``metrics.csv``, the scores of cases, and ``diagrams.csv``, the points of diagrams.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from sfumato.errors import FileFormatError, ShapeError
from sfumato.evaluation.agreement import agreement_table
from sfumato.evaluation.diagrams import Point, points_file, read_points
from sfumato.evaluation.rows import SCALED, Row, read_rows
from sfumato.report.data import BIN_SETS, BinSet, Progression, ReliabilityBin, ReportData, ValueBin
from sfumato.report.predicted import PredictedRun, predicted_run, read_text, shown_names

METRICS = "metrics.csv"
SNAPSHOTS = "snapshots.npz"
T = TypeVar("T")


def run_folders(folder: Path | str, *, without: Container[str] = ()) -> tuple[Path, ...]:
    """List the finished runs below ``folder``, by name: the folders that hold a ``metrics.csv``.

    A folder that is itself a run counts as the only one; runs named in ``without`` do not count.

    Raises:
        FileFormatError: no such folder, or no run in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileFormatError(f"{folder} is not a folder: give the folder that holds the runs")
    if (folder / METRICS).is_file():
        return (folder,)
    folders = tuple(
        sorted(path.parent for path in folder.glob(f"*/{METRICS}") if path.parent.name not in without)
    )
    if not folders:
        raise FileFormatError(f"{folder} holds no run with a {METRICS}: train and evaluate first")
    return folders


def load_runs(folder: Path | str, *, title: str = "", without: Container[str] = ()) -> ReportData:
    """Read the numbers and texts of every run below ``folder``.

    Args:
        folder: A folder of run folders, or one run folder.
        title: The report's title; by default from the data set's name.
        without: Names of runs in the folder that are left out.

    Returns:
        The report's data without cases, rater panels and comparisons. All numbers are those of the runs'
        ``metrics.csv``. Texts that a run lacks are left out; runs come in the order of their folders' names.

    Raises:
        FileFormatError: no run is found, or a file is not what its name says; the message names it.
    """
    folders = run_folders(folder, without=without)
    names = {path: _run_name(path) for path in folders}
    tables = {path: read_rows(path / METRICS) for path in folders}
    rows = [row for path in folders for row in tables[path]]
    diagrams = {path: read_points(path / METRICS) for path in folders}
    run_methods = {row.run: row.method for row in rows}
    run_methods |= {point.run: point.method for path in folders for point in diagrams[path]}
    predicted = {path: predicted_run(path) for path in folders}
    structures = next((run.structures for run in predicted.values() if run.structures), None)
    datasets = sorted({row.dataset for row in rows if row.dataset})
    return ReportData(
        title=title or f"Soft labels on {', '.join(datasets) or Path(folder).name}",
        rows=tuple(rows),
        histories=_each_run(diagrams, "history", _history),
        reliability=_each_run(diagrams, "reliability", _reliability),
        values=_each_run(diagrams, "values", _values),
        thresholds=_each_run(diagrams, "threshold", _thresholds),
        progressions={
            names[path]: _progression(path / SNAPSHOTS) for path in folders if _has(path, SNAPSHOTS)
        },
        recipes=_texts(names, "recipe.yaml"),
        environments=_texts(names, "environment.json"),
        methods=run_methods | _methods(names, predicted, tables, diagrams),
        label_names=shown_names(structures) if structures else {},
        agreement=agreement_table(rows),
    )


def _each_run(
    diagrams: Mapping[Path, Sequence[Point]], diagram: str, read: Callable[[Sequence[Point]], T]
) -> dict[str, T]:
    """Read one diagram of every run that has it."""
    curves: dict[str, T] = {}
    for path, points in diagrams.items():
        groups: dict[str, list[Point]] = {}
        for point in points:
            if point.diagram == diagram:
                groups.setdefault(point.run, []).append(point)
        try:
            curves |= {run: read(group) for run, group in groups.items()}
        except FileFormatError as error:
            raise FileFormatError(f"{points_file(path / METRICS)}: {error}") from error
    return curves


def _texts(names: Mapping[Path, str], file: str) -> dict[str, str]:
    return {name: read_text(path / file) for path, name in names.items() if _has(path, file)}


def _run_name(path: Path) -> str:
    return path.resolve().name


def _has(path: Path, name: str) -> bool:
    return (path / name).is_file()


def _methods(
    names: Mapping[Path, str],
    predicted: Mapping[Path, PredictedRun],
    tables: Mapping[Path, Sequence[Row]],
    diagrams: Mapping[Path, Sequence[Point]],
) -> dict[str, str]:
    """Name each folder's method: as its rows do, the temperature-scaled model's aside."""
    run_methods = {}
    for path, name in names.items():
        methods = [row.method for row in tables[path]] + [point.method for point in diagrams[path]]
        own = [method for method in methods if not method.endswith(SCALED)]
        run_methods[name] = own[0] if own else predicted[path].method or name.rsplit("-seed", 1)[0]
    return run_methods


def _progression(path: Path) -> Progression:
    try:
        # numpy itself leaves a file open that turns out to be broken.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            axis = int(content["axis"])
            return Progression(
                case=str(content["case"]),
                structure=str(content["structure"]),
                axis=None if axis < 0 else axis,
                index=int(content["slice"]),
                spacing=tuple(content["spacing"].tolist()),
                image=content["image"],
                reference=content["reference"],
                predictions=dict(zip(content["epochs"].tolist(), content["predictions"], strict=True)),
            )
    except (OSError, ValueError, KeyError, ShapeError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"cannot read {path}: {error}") from error


def _history(curves: Sequence[Point]) -> tuple[dict[str, float], ...]:
    epochs: dict[float, dict[str, float]] = {}
    for point in curves:
        epochs.setdefault(point.x, {"epoch": point.x})[point.series] = point.y
    return tuple(epochs[epoch] for epoch in sorted(epochs))


def _reliability(points: Sequence[Point]) -> dict[BinSet, tuple[ReliabilityBin, ...]]:
    bins: dict[BinSet, list[Point]] = {}
    for point in points:
        name = next((known for known in BIN_SETS if known == point.series), None)
        if name is None:
            raise FileFormatError(
                f"run {point.run} has reliability bins of {point.series!r}: expected one of "
                f"{', '.join(BIN_SETS)}"
            )
        bins.setdefault(name, []).append(point)
    return {
        name: tuple(
            ReliabilityBin(
                index / len(several), (index + 1) / len(several), point.count or 0, point.x, point.y
            )
            for index, point in enumerate(several)
        )
        for name, several in bins.items()
    }


def _values(bins: Sequence[Point]) -> tuple[ValueBin, ...]:
    return tuple(ValueBin(point.x, point.y, point.count or 0) for point in bins)


def _thresholds(sweep: Sequence[Point]) -> tuple[tuple[float, float], ...]:
    return tuple((point.x, point.y) for point in sweep)
