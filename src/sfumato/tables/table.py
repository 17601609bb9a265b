"""A table of numbers: headings, cells, and how a number is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sfumato.evaluation.metrics_table import Better

Emphasis = Literal["", "best", "second"]
MOST_COLUMNS = 8  # wider tables continue below, a group never broken in two
MISSING = "–"
ARROWS: Mapping[Better | None, tuple[str, str]] = {
    "up": ("↑", "higher is better"),
    "down": ("↓", "lower is better"),
    "zero": ("→0", "closer to 0 is better"),
    None: ("", ""),
}


@dataclass(frozen=True)
class Heading:
    """What stands above one column.

    Attributes:
        title: Its name.
        group: What it shares with its neighbours: a metric above its structures.
        unit: The unit of its numbers.
        direction: Which way is better.
        numeric: It holds numbers, not texts.
        metric: The metric's name in the rows.
    """

    title: str
    group: str = ""
    unit: str = ""
    direction: Better | None = None
    numeric: bool = True
    metric: str = ""

    @property
    def label(self) -> str:
        """Group, title and unit in one line: ``dice ET [fraction]``."""
        return f"{self.group} {self.title}".strip() + (f" [{self.unit}]" if self.unit else "")

    @property
    def arrow(self) -> str:
        """Which way is better, as an arrow."""
        return ARROWS[self.direction][0]

    @property
    def note(self) -> str:
        """Which way is better, and the unit unless it is a fraction."""
        return f"{self.arrow} {'' if self.unit == 'fraction' else self.unit}".strip()

    @property
    def hint(self) -> str:
        """Which way is better, and the unit, in words."""
        return ", ".join(filter(None, (ARROWS[self.direction][1], self.unit and f"unit: {self.unit}")))


@dataclass(frozen=True)
class Cell:
    """One place of a table.

    Attributes:
        text: What is written there.
        value: The number to sort by; nan for none.
        emphasis: Best or second best of its column.
        mark: ``*`` or ``†``, explained below the table.
        undefined: Values without a number, left out of the mean.
        interval: An interval of the number, for forms with room for it.
    """

    text: str
    value: float = math.nan
    emphasis: Emphasis = ""
    mark: str = ""
    undefined: int = 0
    interval: str = ""

    @property
    def remark(self) -> str:
        """How many values are undefined; empty where all are defined."""
        return f" ({self.undefined} undefined)" if self.undefined else ""

    @property
    def plain(self) -> str:
        """The cell without emphasis: ``0.823 ± 0.050* (2 undefined)``."""
        return self.text + self.mark + self.remark


@dataclass(frozen=True)
class Table:
    """Headings and as many cells in every row."""

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def column(self, number: int) -> tuple[Cell, ...]:
        """Return one column's cells."""
        return tuple(row[number] for row in self.rows)

    def part(self, columns: Sequence[int], *, title: str | None = None) -> Table:
        """Keep some columns."""
        return Table(
            self.title if title is None else title,
            tuple(self.headings[i] for i in columns),
            tuple(tuple(row[i] for i in columns) for row in self.rows),
        )

    def groups(self) -> list[list[int]]:
        """List the columns of each group, those of a group side by side; columns without one come first."""
        groups: dict[str, list[int]] = {}
        for number, heading in enumerate(self.headings):
            groups.setdefault(heading.group, []).append(number)
        return list(groups.values())

    def pages(self) -> list[Table]:
        """Cut a wide table into several with the same first columns, whole groups each."""
        first, *groups = self.groups()
        pages: list[list[int]] = []
        for group in groups:
            if pages and len(pages[-1]) + len(group) <= MOST_COLUMNS:
                pages[-1] += group
            else:
                pages.append(list(group))
        return [self.part([*first, *page]) for page in pages] or [self]

    def by_group(self) -> list[Table]:
        """Make one table of every group, with the group in its title: a terminal is narrower than a page."""
        first, *groups = self.groups()
        tables = []
        for group in groups:
            heading = self.headings[group[0]]
            title = replace(heading, title="").label
            table = self.part([*first, *group], title=f"{self.title} {title} {heading.arrow}".strip())
            headings = [replace(h, group="", unit="", direction=None) for h in table.headings]
            tables.append(replace(table, headings=tuple(headings)))
        return tables


def number(value: float, decimals: int, *, missing: str = MISSING, sign: bool = False) -> str:
    """Write a number with so many decimals; ``missing`` for nan."""
    if math.isnan(value):
        return missing
    # Adding 0 turns a negative number that rounds to nothing into 0.00.
    return format(round(value, decimals) + 0.0, f"{'+' if sign else ''}.{decimals}f")


def with_spread(mean: str, spread: str) -> str:
    """Write ``mean ± spread``, or the mean alone where there is no spread."""
    return f"{mean} ± {spread}" if spread else mean


def decimals_of(means: Iterable[float], unit: str) -> int:
    """Choose a column's decimals: three digits of its largest mean, at least 3 for fractions and 2 else."""
    largest = max((abs(mean) for mean in means if not math.isnan(mean)), default=0.0)
    needed = 2 - math.floor(math.log10(largest)) if largest > 0 else 0
    return max(3 if unit == "fraction" else 2, min(needed, 8))


def short(value: object, *, decimals: int | None = None) -> str:
    """Write any value for a reader: what is not there as a dash, fractions with three digits.

    With ``decimals`` given they stand below one another; those that would be 0 keep two digits.
    """
    if value is None or value != value:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if decimals is None:
        return f"{value:.3g}"
    return number(value, decimals) if value == 0 or abs(value) >= 10**-decimals else f"{value:.2g}"


def record_table(
    title: str, records: Sequence[Mapping[str, object]], *, decimals: int | None = None
) -> Table:
    """Make a table of mappings of the same names, which are the headings; cells stay as they are.

    Args:
        title: The table's title.
        records: One mapping per row.
        decimals: As of :func:`short`.
    """
    names = list(records[0]) if records else []
    texts = {name for name in names if any(isinstance(record.get(name), str) for record in records)}
    rows = tuple(tuple(_cell(record.get(name), decimals) for name in names) for record in records)
    return Table(title, tuple(Heading(str(name), numeric=name not in texts) for name in names), rows)


def _cell(value: object, decimals: int | None) -> Cell:
    if isinstance(value, Cell):
        return value
    return Cell(short(value, decimals=decimals), float(value) if isinstance(value, int | float) else math.nan)
