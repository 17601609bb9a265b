"""The numbers that the four papers print, as they print them."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sfumato.errors import UnknownNameError

SpreadKind = Literal["std_over_runs", "std_over_cases", "standard_error", "none"]
FOLDER = Path(__file__).parent / "published_tables"
FACTORS = {"%": 100.0, "fraction": 1.0, "mm": 1.0}
"""What our numbers (fractions, millimetres) are multiplied by to be in a table's unit."""
SCGM_DICE_PER_CENTRE = (86.2, 81.2, 88.6, 78.0)
"""SoftSeg, section 3.2: Dice on the grey matter by test centre, in %, the mean of its plotted candidates."""


class RowKey(NamedTuple):
    """Which training of a table: its data set and the columns that tell trainings apart; texts as printed."""

    dataset: str
    architecture: str
    method: str
    label: str
    loss: str


@dataclass(frozen=True)
class PublishedRow:
    """One printed number; every field is the text of the published table.

    Attributes:
        paper: ``geols``, ``singr``, ``svls`` or ``softseg``.
        table: Its number in the paper.
        dataset: Data set of the test cases.
        architecture: Network.
        method: The row's heading.
        label: Training target, where the table tells targets apart; else empty.
        loss: Loss, likewise.
        metric: As printed.
        structure: Region, organ, annotation set, ``Average`` or ``All``.
        mean: The number.
        spread: What follows ±; empty where nothing does.
        spread_kind: What ± is.
        unit: ``%``, ``mm`` or ``fraction``.
        significant: ``yes`` where the paper marks the number as different from its own method's.
        notes: Printed heading, oddities.
    """

    paper: str
    table: str
    dataset: str
    architecture: str
    method: str
    label: str
    loss: str
    metric: str
    structure: str
    mean: str
    spread: str
    spread_kind: SpreadKind
    unit: str
    significant: str
    notes: str

    @property
    def key(self) -> RowKey:
        """Which training it belongs to."""
        return RowKey(self.dataset, self.architecture, self.method, self.label, self.loss)

    @property
    def value(self) -> float:
        """The number, in ``unit``."""
        return float(self.mean)

    @property
    def deviation(self) -> float:
        """The number after ±, in ``unit``; nan where there is none."""
        return float(self.spread) if self.spread else math.nan

    @property
    def decimals(self) -> int:
        """How many digits the paper prints behind the point."""
        return len(self.mean.partition(".")[2])


COLUMNS = tuple(field.name for field in fields(PublishedRow))


def published_tables() -> tuple[str, ...]:
    """Name every published table, such as ``geols_table1``."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.csv")))


@cache
def published_rows(table: str) -> tuple[PublishedRow, ...]:
    """Read one published table.

    Args:
        table: Its name, such as ``geols_table1``.

    Returns:
        Its numbers, in the order of the file.

    Raises:
        UnknownNameError: there is no such table; the known ones are listed.
    """
    if table not in published_tables():
        raise UnknownNameError("published table", table, published_tables())
    with (FOLDER / f"{table}.csv").open(newline="", encoding="utf-8") as stream:
        records: Iterable[dict[str, Any]] = csv.DictReader(stream)
        return tuple(PublishedRow(**{name: record[name] for name in COLUMNS}) for record in records)
