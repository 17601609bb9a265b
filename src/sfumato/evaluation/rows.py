"""The tidy table of results: one row per case, rater, structure and metric, as CSV.

A row's ``status`` is ``ok`` exactly when its value is defined; otherwise the value is nan and the status
says why. So both masks empty gives Dice 1 with status ``ok``, but HD95 of an empty prediction is nan with
status ``empty_prediction``; with ``missing="diagonal"`` it is the image diagonal with status ``ok``.

``rater`` is empty for the consensus, else the name of the rater that the row is scored against.

Older tables have no column ``rater`` and write ``cell@rater3`` as the structure; they also hold the points of
diagrams, which have a file of their own now (:mod:`sfumato.evaluation.diagrams`). They are still read.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato.errors import FileFormatError, ValueRangeError
from sfumato.evaluation.csv_files import read_records, write_records

# The last one: a boundary band that holds no voxel has no mean.
STATUSES = ("ok", "empty_reference", "empty_prediction", "both_empty", "no_voxel")
SCALED = "+T"  # ends the run and the method of a temperature-scaled model
OLD_DIAGRAMS = ("reliability", "values", "threshold", "history")


@dataclass(frozen=True)
class Origin:
    """What the rows of one case say about where they come from."""

    run: str
    method: str
    dataset: str
    seed: int | None
    fold: int | None
    case: str


@dataclass(frozen=True)
class Row(Origin):
    """One value: a metric of one structure in one case.

    Raises:
        ValueRangeError: The status is unknown, or does not fit the value.
    """

    rater: str
    structure: str
    metric: str
    value: float
    unit: str
    status: str = "ok"

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueRangeError(f"status is {self.status!r}: it must be one of {', '.join(STATUSES)}")
        if math.isnan(self.value) == (self.status == "ok"):
            raise ValueRangeError(
                f"value {self.value} does not fit status {self.status!r}: "
                "undefined values are nan and say why, defined ones have status 'ok'"
            )


COLUMNS = tuple(field.name for field in dataclasses.fields(Row))


def is_diagram(metric: str) -> bool:
    """Return whether rows of this metric, in an older table, are points of a diagram and no scores.

    Example:
        >>> is_diagram("reliability:voxels"), is_diagram("dice")
        (True, False)
    """
    name, colon, _ = metric.partition(":")
    return bool(colon) and name in OLD_DIAGRAMS


def write_rows(rows: Iterable[Row], path: Path | str, *, overwrite: bool = False) -> None:
    """Write the rows as CSV, to a temporary name first and renamed when complete.

    An undefined value is ``nan``; a missing seed or fold is empty.

    Raises:
        OutputExistsError, InputError, MachineError: As
            :func:`~sfumato.evaluation.csv_files.write_records`.
    """
    records = (dataclasses.astuple(row) for row in rows)
    write_records(COLUMNS, records, Path(path), overwrite=overwrite)


def read_rows(path: Path | str) -> list[Row]:
    """Read a table that :func:`write_rows` wrote, one of the same columns by another tool, or an older one.

    Further columns are ignored and the columns' order is free. An empty value is read as nan. In an older
    table a rater is known by number; the name is taken from the settings that ``sfumato evaluate`` wrote
    beside it, else it stays ``rater3``.

    Raises:
        FileFormatError: The file is missing, is not a CSV of these columns, or a line is not a row; the
            message names the line.
    """
    path = Path(path)
    needed = [name for name in COLUMNS if name != "rater"]
    records = read_records(path, needed, content="a table of results", optional=("rater",))
    names = _old_rater_names(path)
    return [_row(record, place, names) for place, record in records if not is_diagram(record["metric"])]


def _row(text: Mapping[str, str], place: str, rater_names: Mapping[str, str]) -> Row:
    structure, rater = text["structure"], text.get("rater")
    if rater is None:
        structure, _, rater = structure.partition("@")
        rater = rater_names.get(rater, rater)
    try:
        values: dict[str, Any] = {**text, "structure": structure, "rater": rater}
        values |= {name: int(text[name]) if text[name].strip() else None for name in ("seed", "fold")}
        values["value"] = float(text["value"]) if text["value"].strip() else math.nan
        return Row(**values)
    except ValueError as error:
        raise FileFormatError(f"{place}: {error}") from error


def _old_rater_names(path: Path) -> Mapping[str, str]:
    """Read which rater was ``rater3``; empty where no settings lie beside the table."""
    try:
        settings = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return dict(settings["raters"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
