"""Tables of results by anyone, checked: rows of ours, a data frame, or CSV files of more or fewer columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from sfumato.errors import FileFormatError, InputError
from sfumato.evaluation.rows import COLUMNS, Row, is_diagram

Rows = Iterable[Row] | pd.DataFrame | Path | str | Iterable[Path | str]

NEEDED = ("method", "metric", "value")
# Without any of these, nothing says which value of one method belongs to which of another.
PLACES = ("case", "run", "seed", "fold")
TEXTS = ("method", "dataset", "seed", "fold", "run", "case", "rater", "structure", "metric", "unit", "status")
# A checked table: texts, "" where a thing is not stated; a value that is nan where it is undefined; and
# where the row was read, for messages.
CHECKED = (*TEXTS, "value", "place")


def tidy(rows: Rows) -> pd.DataFrame:
    """Check a table of results, in any of the accepted forms.

    ``method``, ``metric``, ``value`` and one of ``case``, ``run``, ``seed``, ``fold`` are needed. Absent
    columns read as "not stated"; further columns are ignored. An empty value, or one that is not finite, is
    undefined: it is kept, with its status. A table without the column ``rater`` may name the rater in the
    structure, ``cell@rater3``. The points of diagrams that older tables hold are left out.

    Args:
        rows: :class:`~sfumato.evaluation.rows.Row` objects, a data frame with their columns, CSV files, or
            a table that was checked before.

    Returns:
        One line per value, with the columns :data:`CHECKED`.

    Raises:
        FileFormatError: A file is missing or is no CSV, a needed column is lacking, or a value is no number;
            the message names the line.
        InputError: There is no row, or an item is no row.
    """
    if isinstance(rows, pd.DataFrame):
        checked = rows if tuple(rows.columns) == CHECKED else _checked(rows, "the data frame, row", first=0)
    else:
        items = [rows] if isinstance(rows, str | Path) else list(rows)
        if any(isinstance(item, str | Path) for item in items):
            checked = pd.concat([_read(Path(str(item))) for item in items], ignore_index=True)
        else:
            checked = _checked(_frame(items), "row", first=0)
    if checked.empty:
        raise InputError("the table holds no rows: nothing to compare")
    return checked


def _read(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, pd.errors.ParserError) as error:
        raise FileFormatError(f"{path} is not a CSV table: {error}") from error
    return _checked(frame, f"{path}, line", first=2)


def _frame(items: Sequence[object]) -> pd.DataFrame:
    for number, item in enumerate(items):
        if not isinstance(item, Row):
            raise InputError(
                f"row {number} is a {type(item).__name__}: give Row objects, a pandas DataFrame or CSV files"
            )
    return pd.DataFrame([vars(item) for item in items], columns=list(COLUMNS))


def _checked(frame: pd.DataFrame, source: str, *, first: int) -> pd.DataFrame:
    frame = frame.rename(columns=lambda name: str(name).strip().lower()).reset_index(drop=True)
    _require_columns(frame, source.rpartition(",")[0] or "the table")
    table = pd.DataFrame({name: _texts(frame, name) for name in (*TEXTS, "value")}, dtype=object)
    table["place"] = [f"{source} {number}" for number in range(first, first + len(table))]
    numbers = [_number(*pair) for pair in zip(table["value"], table["place"], strict=True)]
    table["value"] = pd.Series(numbers, dtype=float)
    table["status"] = table["status"].str.lower().replace("", "ok")
    # A nan that says "ok" comes from tables without our statuses; it is undefined all the same.
    silent = table["status"] == "ok"
    table.loc[silent & table["value"].isna(), "status"] = "no value"
    table.loc[silent & table["value"].abs().eq(math.inf), "status"] = "infinite"
    table["value"] = table["value"].where(table["value"].abs() < math.inf)
    for row in table[table["value"].notna() & (table["status"] != "ok")].to_dict("records"):
        raise FileFormatError(
            f"{row['place']}: value {row['value']} does not fit status {row['status']!r}; "
            "a value has status 'ok'"
        )
    for name in ("method", "metric"):
        for place in table.loc[table[name] == "", "place"]:
            raise FileFormatError(f"{place}: {name} is empty")
    for name in ("seed", "fold"):
        table[name] = table[name].map(_whole)
    if "rater" not in frame:
        parts = table["structure"].str.partition("@")
        table["structure"], table["rater"] = parts.get(0, ""), parts.get(2, "")
    table["structure"] = table["structure"].replace("", "all")
    return table.loc[~table["metric"].map(is_diagram).astype(bool), list(CHECKED)]


def _require_columns(frame: pd.DataFrame, source: str) -> None:
    missing = [name for name in NEEDED if name not in frame]
    if not any(name in frame for name in PLACES):
        missing.append(f"one of {', '.join(PLACES)}")
    if missing:
        raise FileFormatError(
            f"{source} lacks {' and '.join(missing)}; it has {', '.join(map(str, frame.columns))}. "
            f"A table of results has {', '.join(COLUMNS)}"
        )
    twice = sorted(set(frame.columns[frame.columns.duplicated()]) & set(COLUMNS))
    if twice:
        raise FileFormatError(f"{source} has a column twice: {', '.join(twice)}")


def _texts(frame: pd.DataFrame, name: str) -> list[str]:
    if name not in frame:
        return [""] * len(frame)
    # pandas gives a missing cell as nan, NaT, NA or None.
    missing = ("nan", "<NA>", "NaT", "None")
    return ["" if str(cell) in missing else str(cell).strip() for cell in frame[name].tolist()]


def _number(text: str, place: str) -> float:
    if text.lower() in ("", "na", "n/a", "none", "null", "-"):
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
