"""Read a folder of runs: the tables and texts that a report shows, none of its images."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

from sfumato.errors import FileFormatError
from sfumato.metrics.table import Row, read_rows
from sfumato.report.data import BIN_SETS, BinSet, ReliabilityBin, ReportData, ValueBin

METRICS = "metrics.csv"


def run_folders(folder: Path | str) -> tuple[Path, ...]:
    """Give the finished runs below ``folder``, by name: the folders that hold a ``metrics.csv``.

    A folder that is itself a run counts as the only one.

    Raises:
        FileFormatError: no such folder, or no run in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileFormatError(f"{folder} is not a folder: give the folder that holds the runs")
    if (folder / METRICS).is_file():
        return (folder,)
    found = tuple(sorted(path.parent for path in folder.glob(f"*/{METRICS}")))
    if not found:
        raise FileFormatError(f"{folder} holds no run with a {METRICS}: train and evaluate first")
    return found


def load_runs(folder: Path | str, *, title: str = "") -> ReportData:
    """Read the tables and texts of every run below ``folder``.

    Args:
        folder: A folder of run folders, or one run folder.
        title: The report's title; by default from the data set's name.

    Returns:
        The report's data without cases, rater panels and comparisons. A file that a run lacks is left
        out; runs are ordered as their methods appear by name.

    Raises:
        FileFormatError: no run is found, or a file is not what its name says; the message names it.
    """
    folders = run_folders(folder)
    names = {path: _run_name(path) for path in folders}
    rows = [row for path in folders for row in read_rows(path / METRICS)]
    described = {names[path]: _json(path / "predictions" / "prediction.json") for path in folders}
    methods = _methods(names, described, rows)
    datasets = sorted({row.dataset for row in rows if row.dataset})
    return ReportData(
        title=title or f"Soft labels on {', '.join(datasets) or Path(folder).name}",
        rows=tuple(rows),
        histories={
            names[path]: _history(path / "history.csv") for path in folders if _has(path, "history.csv")
        },
        reliability={
            names[path] + variant: _reliability(table)
            for path in folders
            for variant, table in _calibrations(path).items()
        },
        values={names[path]: _values(path / "values.csv") for path in folders if _has(path, "values.csv")},
        thresholds={
            names[path]: _thresholds(path / "threshold.csv")
            for path in folders
            if _has(path, "threshold.csv")
        },
        recipes={names[path]: _text(path / "recipe.yaml") for path in folders if _has(path, "recipe.yaml")},
        environments={
            names[path]: _text(path / "environment.json")
            for path in folders
            if _has(path, "environment.json")
        },
        methods=methods
        | {
            names[path] + variant: methods[names[path]] + variant
            for path in folders
            for variant in _calibrations(path)
        },
        label_names=_label_names(described),
    )


def _run_name(path: Path) -> str:
    return path.resolve().name


def _has(path: Path, name: str) -> bool:
    return (path / name).is_file()


def _calibrations(path: Path) -> dict[str, Path]:
    """The run's reliability bins, and those of its variants: ``calibration+T.csv`` is of the method + T."""
    tables = sorted(path.glob("calibration*.csv"), key=lambda table: table.stem)
    return {table.stem.removeprefix("calibration"): table for table in tables}


def _methods(
    names: dict[Path, str], described: dict[str, dict[str, object]], rows: list[Row]
) -> dict[str, str]:
    from_rows = {row.run: row.method for row in rows}
    return {
        run: str(described[run].get("method") or from_rows.get(run) or run.rsplit("-seed", 1)[0])
        for run in names.values()
    }


def _label_names(described: dict[str, dict[str, object]]) -> dict[int, str]:
    """Name the classes; data sets of overlapping regions count these, in their order, from 1."""
    for content in described.values():
        regions, labels = content.get("regions"), content.get("label_names")
        if isinstance(regions, dict) and regions:
            return {0: "background"} | {index: str(name) for index, name in enumerate(regions, start=1)}
        if isinstance(labels, dict):
            return {int(index): str(name) for index, name in labels.items()}
        if isinstance(labels, list):
            return {index: str(name) for index, name in enumerate(labels)}
    return {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"cannot read {path}: {error}") from error


def _json(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise FileFormatError(
            f"{path} holds {type(content).__name__}: expected an object of names and values"
        )
    return content


def _records(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Give each line of a CSV file as place and cells; a missing cell is the empty text."""
    reader = csv.DictReader(_text(path).lstrip("\ufeff").splitlines())
    missing = [name for name in needed if name not in (reader.fieldnames or ())]
    if missing:
        raise FileFormatError(f"{path} lacks the columns {', '.join(missing)}")
    for record in reader:
        yield f"{path}, line {reader.line_num}", {name: cell or "" for name, cell in record.items() if name}


def _number(place: str, name: str, text: str) -> float:
    try:
        return float(text) if text.strip() else math.nan
    except ValueError as error:
        raise FileFormatError(f"{place}: {name} is {text!r}, expected a number") from error


def _count(place: str, text: str) -> int:
    value = _number(place, "count", text)
    if not (math.isfinite(value) and value >= 0):
        raise FileFormatError(f"{place}: count is {text!r}, expected a number of voxels")
    return int(value)


def _history(path: Path) -> tuple[dict[str, float], ...]:
    return tuple(
        {name: _number(place, name, text) for name, text in cells.items()}
        for place, cells in _records(path, ("epoch",))
    )


def _reliability(path: Path) -> dict[BinSet, tuple[ReliabilityBin, ...]]:
    found: dict[BinSet, list[ReliabilityBin]] = {}
    columns = tuple(field.name for field in dataclasses.fields(ReliabilityBin))
    columns = ("bin_low", "bin_high", *columns[2:])
    for place, cells in _records(path, ("set", *columns)):
        name = next((known for known in BIN_SETS if known == cells["set"]), None)
        if name is None:
            raise FileFormatError(f"{place}: set is {cells['set']!r}, expected one of {', '.join(BIN_SETS)}")
        numbers = {column: _number(place, column, cells[column]) for column in columns}
        found.setdefault(name, []).append(
            ReliabilityBin(
                low=numbers["bin_low"],
                high=numbers["bin_high"],
                count=_count(place, cells["count"]),
                confidence=numbers["confidence"],
                accuracy=numbers["accuracy"],
            )
        )
    return {name: tuple(bins) for name, bins in found.items()}


def _values(path: Path) -> tuple[ValueBin, ...]:
    return tuple(
        ValueBin(
            _number(place, "low", cells["low"]),
            _number(place, "high", cells["high"]),
            _count(place, cells["count"]),
        )
        for place, cells in _records(path, ("low", "high", "count"))
    )


def _thresholds(path: Path) -> tuple[tuple[float, float], ...]:
    return tuple(
        (_number(place, "threshold", cells["threshold"]), _number(place, "dice", cells["dice"]))
        for place, cells in _records(path, ("threshold", "dice"))
    )
