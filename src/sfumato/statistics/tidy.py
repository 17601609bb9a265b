"""Tables of results by anyone: rows of ours, a data frame, or CSV files with more or fewer columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sfumato.errors import FileFormatError, InputError
from sfumato.evaluation.rows import COLUMNS, Row, is_diagram

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("method", "metric", "value")
# Without any of these, nothing says which value of one method belongs to which of another.
PLACES = ("case", "run", "seed", "fold")


@dataclass(frozen=True)
class Value:
    """One tidy row, as far as statistics need it; what is not stated is an empty text."""

    method: str
    dataset: str
    seed: str
    fold: str
    run: str
    case: str
    structure: str
    metric: str
    value: float
    measure: str
    status: str
    place: str  # where it was read, for messages


def read_tables(paths: Iterable[Path | str]) -> list[Value]:
    """Read CSV files and join them.

    ``method``, ``metric``, ``value`` and one of ``case``, ``run``, ``seed``, ``fold`` are needed. Absent
    columns read as "not stated"; further columns are ignored. An empty value, or one that is not finite, is
    undefined: it is kept, with its status. Points of diagrams (:mod:`sfumato.evaluation.diagrams`) are no
    results of a case or run and are left out.

    Raises:
        FileFormatError: A file is missing, is no CSV, lacks a needed column, or holds a value that is no
            number; the message names the line.
        InputError: No file was given, or none has a row.
    """
    import pandas as pd

    values: list[Value] = []
    for path in map(Path, paths):
        try:
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        except OSError as error:
            raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, pd.errors.ParserError) as error:
            raise FileFormatError(f"{path} is not a CSV table: {error}") from error
        values += _from_frame(frame, str(path), first_line=2)
    values = _results(values)
    if not values:
        raise InputError("the tables hold no rows: nothing to compare")
    return values


def tidy(rows: Iterable[Row] | Sequence[Value] | pd.DataFrame) -> list[Value]:
    """Take rows in any of the accepted forms.

    Args:
        rows: :class:`~sfumato.evaluation.rows.Row` objects, a data frame with their columns (see
            :func:`read_tables` for those that may be absent), or values read already.

    Raises:
        FileFormatError: The data frame lacks a needed column or holds a value that is no number.
        InputError: There is no row, or an item is no row. Points of diagrams do not count.
    """
    if hasattr(rows, "columns"):
        values = _from_frame(cast("pd.DataFrame", rows), "the data frame", first_line=0)
    else:
        values = [_from_item(row, number) for number, row in enumerate(rows)]
    values = _results(values)
    if not values:
        raise InputError("the table holds no rows: nothing to compare")
    return values


def _results(values: list[Value]) -> list[Value]:
    return [value for value in values if not is_diagram(value.metric)]


def _from_item(row: object, number: int) -> Value:
    if isinstance(row, Value):
        return row
    if not isinstance(row, Row):
        raise InputError(f"row {number} is a {type(row).__name__}: give Row objects or a pandas DataFrame")
    record: dict[str, object] = {name: getattr(row, name) for name in COLUMNS}
    return _value(record, f"row {number}")


def _from_frame(frame: pd.DataFrame, source: str, *, first_line: int) -> list[Value]:
    frame = frame.rename(columns=lambda name: str(name).strip().lower())
    missing = [name for name in NEEDED if name not in frame.columns]
    if not any(name in frame.columns for name in PLACES):
        missing.append(f"one of {', '.join(PLACES)}")
    if missing:
        raise FileFormatError(
            f"{source} lacks {' and '.join(missing)}; it has {', '.join(map(str, frame.columns))}. "
            f"A table of results has {', '.join(COLUMNS)}"
        )
    if not frame.columns.is_unique:
        twice = sorted(set(frame.columns[frame.columns.duplicated()]))
        raise FileFormatError(f"{source} has a column twice: {', '.join(twice)}")
    names = [name for name in COLUMNS if name in frame.columns]
    records = zip(*(frame[name].tolist() for name in names), strict=True)
    kind = "line" if first_line else "row"
    return [
        _value(dict(zip(names, record, strict=True)), f"{source}, {kind} {number}")
        for number, record in enumerate(records, start=first_line)
    ]


def _value(record: dict[str, object], place: str) -> Value:
    text = {name: _text(record.get(name)) for name in COLUMNS}
    number = _number(record.get("value"), place)
    status = text["status"].lower() or "ok"
    if not math.isfinite(number):
        # A nan that says "ok" comes from tables without our statuses; it is undefined all the same.
        status = status if status != "ok" else "infinite" if math.isinf(number) else "no value"
    elif status != "ok":
        raise FileFormatError(
            f"{place}: value {number} does not fit status {status!r}; a value has status 'ok'"
        )
    for name in ("method", "metric"):
        if not text[name]:
            raise FileFormatError(f"{place}: {name} is empty")
    return Value(
        method=text["method"],
        dataset=text["dataset"],
        seed=_whole(text["seed"]),
        fold=_whole(text["fold"]),
        run=text["run"],
        case=text["case"],
        structure="@".join(filter(None, (text["structure"] or "all", text["rater"]))),
        metric=text["metric"],
        value=number,
        measure=text["unit"],
        status=status,
        place=place,
    )


def _text(cell: object) -> str:
    # pandas gives a missing cell as nan, NaT, NA or None.
    missing = cell is None or str(cell) in ("nan", "<NA>", "NaT")
    return "" if missing else str(cell).strip()


def _number(cell: object, place: str) -> float:
    text = _text(cell)
    if not text or text.lower() in ("na", "n/a", "none", "null", "-"):
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        raise FileFormatError(f"{place}: value {text!r} is not a number") from error


def _whole(text: str) -> str:
    """Write a seed that pandas read as ``3.0`` as ``3``, so that it pairs with the ``3`` of another file."""
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number == int(number) else text
