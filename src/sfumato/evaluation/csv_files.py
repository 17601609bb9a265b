"""CSV files of records: written whole or not at all, read with the line of every mistake."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from sfumato.errors import FileFormatError
from sfumato.output import atomic_output

Cell = str | float | int | None


def write_records(
    columns: Sequence[str], records: Iterable[Sequence[Cell]], path: Path, *, overwrite: bool
) -> None:
    """Write records as CSV, to a temporary name first and renamed when complete.

    Floats are written so that they read back to the bit; None is an empty cell.

    Raises:
        OutputExistsError: The file is there and ``overwrite`` is off.
        InputError: The folder cannot be written to.
        MachineError: The disk is full; nothing is left behind.
    """
    with (
        atomic_output(path, overwrite=overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(value) for value in record] for record in records)


def _text(value: Cell) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def read_records(
    path: Path, columns: Sequence[str], *, content: str, optional: Sequence[str] = ()
) -> list[tuple[str, dict[str, str]]]:
    """Read the cells of a CSV file; further columns are ignored and the columns' order is free.

    Args:
        path: The file.
        columns: The columns it must have.
        content: What a file of these columns is, for messages.
        optional: Columns that are read where they are there.

    Returns:
        Per line its place, for messages, and its cells by column.

    Raises:
        FileFormatError: The file is missing, is not a CSV of these columns, or a line is too short; the
            message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            present = reader.fieldnames or ()
            missing = [name for name in columns if name not in present]
            if missing:
                raise FileFormatError(
                    f"{path} lacks the columns {', '.join(missing)}: {content} has {', '.join(columns)}"
                )
            names = [*columns, *(name for name in optional if name in present)]
            return [_record(line, names, f"{path}, line {reader.line_num}") for line in reader]
    except OSError as error:
        raise FileFormatError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{path} is not a CSV file: {error}") from error


def _record(line: dict[str, str | None], names: Sequence[str], place: str) -> tuple[str, dict[str, str]]:
    cells = {name: cell for name in names if (cell := line[name]) is not None}
    if len(cells) < len(names):
        raise FileFormatError(f"{place}: fewer cells than columns ({len(names)} are needed)")
    return place, cells
