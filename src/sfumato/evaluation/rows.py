"""The tidy table of results: one row per case, structure and metric, as CSV, and its summary.

A row's ``status`` is ``ok`` exactly when its value is defined; otherwise the value is nan and the status
says why. So both masks empty gives Dice 1 with status ``ok``, but HD95 of an empty prediction is nan with
status ``empty_prediction``; with ``missing="diagonal"`` it is the image diagonal with status ``ok``.

Several raters: a row against one rater names it in the structure, ``cell@rater3``.

A row whose metric is ``<diagram>:<quantity>`` is a point of a diagram, not a score of a case
(:mod:`sfumato.evaluation.diagrams`).
"""

from __future__ import annotations

import csv
import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfumato.errors import FileFormatError, ValueRangeError
from sfumato.output import atomic_output

# The last one: a bin of a diagram or a boundary band that holds no voxel has no mean.
STATUSES = ("ok", "empty_reference", "empty_prediction", "both_empty", "no_voxel")
DIAGRAMS = ("reliability", "values", "threshold", "history")


@dataclass(frozen=True)
class Row:
    """One value: a metric of one structure in one case.

    Raises:
        ValueRangeError: The status is unknown, or does not fit the value.
    """

    run: str
    method: str
    dataset: str
    seed: int | None
    fold: int | None
    case: str
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
    """Say whether rows of this metric are points of a diagram, which no statistic over cases may count.

    Example:
        >>> is_diagram("reliability:voxels"), is_diagram("dice")
        (True, False)
    """
    name, colon, _ = metric.partition(":")
    return bool(colon) and name in DIAGRAMS


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation of one metric, over all rows of a method and structure."""

    method: str
    structure: str
    metric: str
    unit: str
    mean: float  # over the defined values; nan where there is none
    deviation: float  # standard deviation, ddof 1; nan for fewer than two defined values
    defined: int  # number of values in the mean
    undefined: int  # number of rows left out of the mean because their value is undefined


def aggregate(rows: Iterable[Row]) -> list[Summary]:
    """Summarise the rows per method, structure and metric, in the order of first appearance.

    Undefined values are left out of the mean and counted, points of diagrams are left out. The result does
    not depend on the rows' order within a group: sums are exact before they are rounded.

    Returns:
        One summary per group; an empty list for no rows.

    Raises:
        ValueRangeError: One metric comes in two units.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if is_diagram(row.metric):
            continue
        groups.setdefault((row.method, row.structure, row.metric), []).append(row)
    return [_summary(group) for group in groups.values()]


def _summary(group: Sequence[Row]) -> Summary:
    first = group[0]
    units = sorted({row.unit for row in group})
    if len(units) > 1:
        raise ValueRangeError(
            f"{first.metric} of {first.structure!r} comes in several units: {', '.join(units)}"
        )
    values = [row.value for row in group if row.status == "ok"]
    mean = statistics.fmean(values) if values else math.nan
    deviation = math.nan
    if len(values) > 1:
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    undefined = len(group) - len(values)
    return Summary(
        first.method, first.structure, first.metric, first.unit, mean, deviation, len(values), undefined
    )


def write_rows(rows: Iterable[Row], path: Path | str, *, overwrite: bool = False) -> None:
    """Write the rows as CSV, to a temporary name first and renamed when complete.

    Floats are written so that they read back to the bit. An undefined value is ``nan``; a missing seed or
    fold is empty.

    Raises:
        OutputExistsError: The file is there and ``overwrite`` is off.
        InputError: The folder cannot be written to.
        MachineError: The disk is full; nothing is left behind.
    """
    with (
        atomic_output(Path(path), overwrite=overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([_cell(value) for value in dataclasses.astuple(row)] for row in rows)


def _cell(value: str | float | int | None) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def read_rows(path: Path | str) -> list[Row]:
    """Read a table that :func:`write_rows` wrote, or one of the same columns by another tool.

    Further columns are ignored and the columns' order is free. An empty value is read as nan.

    Raises:
        FileFormatError: The file is missing, is not a CSV of these columns, or a line is not a row; the
            message names the line.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise FileFormatError(
                    f"{path} lacks the columns {', '.join(missing)}: "
                    f"a table of results has {', '.join(COLUMNS)}"
                )
            return [_row(record, f"{path}, line {reader.line_num}") for record in reader]
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{path} is not a CSV file: {error}") from error


def _row(record: dict[str, str | None], place: str) -> Row:
    cells = {name: record[name] for name in COLUMNS}
    if any(cell is None for cell in cells.values()):
        raise FileFormatError(f"{place}: fewer cells than columns ({len(COLUMNS)} are needed)")
    text = {name: cell or "" for name, cell in cells.items()}
    try:
        return Row(
            run=text["run"],
            method=text["method"],
            dataset=text["dataset"],
            seed=_whole(text["seed"]),
            fold=_whole(text["fold"]),
            case=text["case"],
            structure=text["structure"],
            metric=text["metric"],
            value=float(text["value"]) if text["value"].strip() else math.nan,
            unit=text["unit"],
            status=text["status"],
        )
    except ValueError as error:
        raise FileFormatError(f"{place}: {error}") from error


def _whole(text: str) -> int | None:
    return int(text) if text.strip() else None
