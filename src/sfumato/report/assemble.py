"""Read everything that a report shows: the runs' numbers and texts, and some cases with their predictions."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.data import Dataset, open_dataset
from sfumato.errors import DataError, SfumatoError
from sfumato.report.cases import read_cases
from sfumato.report.data import ReportData
from sfumato.report.runs import load_runs, run_folders
from sfumato.statistics.comparison import Comparison
from sfumato.tables.comparison import reader_tests


def assemble(
    runs: Path,
    *,
    title: str = "",
    source: Dataset | str | None = None,
    layout: str = "auto",
    max_cases: int = 16,
    without: Container[str] = (),
) -> ReportData:
    """Read everything that the report shows: tables and texts, and the images of some cases.

    Args:
        runs: A folder of run folders, or one run folder.
        title: The heading; by default the data set's name.
        source: The data set; by default where the first run's ``environment.json`` says.
        layout: The layout of the data set's files; ``auto`` takes the one that the first run read.
        max_cases: Cases to read, the worst and the best first.
        without: Names of runs in the folder that are left out.

    Returns:
        The report's data. Where the images cannot be read it has no cases, and a note says why.

    Raises:
        FileFormatError: no run, or a broken table.
        SfumatoError: ``source`` was given and is no data set.
    """
    data, folders = load_runs(runs, title=title, without=without), run_folders(runs, without=without)
    if max_cases == 0:
        return data
    try:
        cases, notes = read_cases(_dataset(folders, source, layout), folders, data, max_cases)
    except SfumatoError as error:
        if source is not None:
            raise
        note = f"There is no case viewer, because the images could not be read: {error}"
        return replace(data, notes=(*data.notes, note))
    return replace(data, cases=cases, notes=(*data.notes, *notes))


def with_tests(data: ReportData, comparison: Comparison) -> ReportData:
    """Add a comparison's tests, and what a reader must know of them."""
    note = f"Tests: Wilcoxon signed-rank against {comparison.proposed}, unit {comparison.unit}."
    notes = (*data.notes, note, *comparison.notes)
    return replace(data, comparisons=tuple(reader_tests(comparison)), notes=notes)


def _dataset(folders: Sequence[Path], source: Dataset | str | None, layout: str) -> Dataset:
    if source is not None:
        return open_dataset(source, layout=layout) if isinstance(source, str) else source
    for folder in folders:
        try:
            content = json.loads((folder / "environment.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.get("data"):
            known = str(content.get("kind", "auto"))
            return open_dataset(str(content["data"]), layout=known if layout == "auto" else layout)
    raise DataError(["no run's environment.json says where the data lies; give --data"])
