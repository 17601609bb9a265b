"""Points of diagrams: ``diagrams.csv``, beside a run's ``metrics.csv``.

===============  ===========================  ================  ======================  ==================
diagram          series                       x                 y                       count
===============  ===========================  ================  ======================  ==================
``reliability``  ``all``, ``foreground``, …   mean confidence   accuracy                voxels of the bin
``values``       ``soft``                     bin's lower edge  bin's upper edge        values in the bin
``threshold``    ``tuning``                   threshold         mean Dice               empty
``history``      ``val_dice``, …              epoch             what was measured       empty
===============  ===========================  ================  ======================  ==================

Reliability bins are equal parts of [0, 1]: of ``n`` points of a series, point ``i`` (from 0) is the bin from
``i / n`` to ``(i + 1) / n``. A bin without a voxel has a point too; its confidence and accuracy are nan.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfumato.errors import FileFormatError
from sfumato.evaluation.csv_files import read_records, write_records
from sfumato.evaluation.rows import COLUMNS as ROW_COLUMNS
from sfumato.evaluation.rows import Origin, is_diagram
from sfumato.metrics.calibration.reliability import ReliabilityBins

FILE = "diagrams.csv"
HISTORY = ("train_loss", "val_loss", "val_dice")


@dataclass(frozen=True)
class Point:
    """One point of a diagram; the module's table says what ``x``, ``y`` and ``count`` are."""

    run: str
    method: str
    diagram: str
    series: str
    x: float
    y: float
    count: int | None = None


COLUMNS = tuple(field.name for field in dataclasses.fields(Point))


def reliability_points(origin: Origin, series: str, bins: ReliabilityBins) -> list[Point]:
    """Return a reliability diagram: one point per bin."""
    points = zip(bins.confidence, bins.accuracy, bins.voxels, strict=True)
    return [Point(origin.run, origin.method, "reliability", series, *point) for point in points]


def value_points(origin: Origin, edges: Sequence[float], counts: Sequence[int]) -> list[Point]:
    """Return the histogram of a soft prediction's values: one point per bin between two ``edges``."""
    # Ten digits: 0.02 and not 0.020000000000000018.
    edges = [round(float(edge), 10) for edge in edges]
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    return [Point(origin.run, origin.method, "values", "soft", *bin_) for bin_ in bins]


def threshold_points(origin: Origin, sweep: Iterable[tuple[float, float]]) -> list[Point]:
    """Return the sweep that tuned a threshold: one point per (threshold, Dice)."""
    return [Point(origin.run, origin.method, "threshold", "tuning", *point) for point in sweep]


def history_points(origin: Origin, epochs: Iterable[Mapping[str, float]]) -> list[Point]:
    """Return the learning curves: one point per epoch and quantity; what was not measured has none."""
    return [
        Point(origin.run, origin.method, "history", quantity, line["epoch"], line[quantity])
        for line in epochs
        for quantity in HISTORY
        if not math.isnan(line.get(quantity, math.nan))
    ]


def write_points(points: Iterable[Point], table: Path, *, overwrite: bool = False) -> None:
    """Write the points beside the table of scores; errors as :func:`~sfumato.evaluation.rows.write_rows`."""
    records = (dataclasses.astuple(point) for point in points)
    write_records(COLUMNS, records, table.with_name(FILE), overwrite=overwrite)


def points_file(table: Path) -> Path:
    """Return the file that holds the points of a table of scores: for an older one, the table itself."""
    path = table.with_name(FILE)
    return path if path.exists() else table


def read_points(table: Path) -> list[Point]:
    """Read the points beside a table of scores; of an older table, those that it holds itself.

    Raises:
        FileFormatError: The file is not a CSV of these columns, or a line is no point; the message names it.
    """
    path = points_file(table)
    if path == table:
        return _old_points(table)
    records = read_records(path, COLUMNS, content="a table of diagrams")
    return [_point(record, place) for place, record in records]


def _point(text: Mapping[str, str], place: str) -> Point:
    try:
        return Point(
            **{name: text[name] for name in COLUMNS[:4]},
            x=float(text["x"]),
            y=float(text["y"]),
            count=_count(float(text["count"]), "count", place) if text["count"] else None,
        )
    except ValueError as error:
        raise FileFormatError(f"{place}: {error}") from error


def _count(value: float, name: str, place: str) -> int:
    if not (math.isfinite(value) and value >= 0):
        raise FileFormatError(f"{place}: {name} is {value:g}: expected a number of voxels")
    return int(value)


def _old_points(table: Path) -> list[Point]:
    """Read rows such as ``reliability:accuracy`` of ``foreground 0.9..1.0``, three of which are one bin."""
    needed = [name for name in ROW_COLUMNS if name != "rater"]
    points: dict[tuple[str, ...], Point] = {}
    for place, text in read_records(table, needed, content="a table of results"):
        diagram, _, quantity = text["metric"].partition(":")
        if not is_diagram(text["metric"]):
            continue
        series, low, high, value = _old_place(text, place)
        key = text["run"], diagram, text["structure"], "" if diagram == "reliability" else quantity
        point = Point(text["run"], text["method"], diagram, series, low, value)
        if diagram == "history":
            point = dataclasses.replace(point, series=quantity)
        elif diagram == "values":
            point = dataclasses.replace(point, y=high, count=_count(value, text["metric"], place))
        elif diagram == "reliability":
            point = points.get(key, dataclasses.replace(point, x=math.nan, y=math.nan))
            if quantity == "voxels":
                point = dataclasses.replace(point, count=_count(value, text["metric"], place))
            elif quantity == "confidence":
                point = dataclasses.replace(point, x=value)
            else:
                point = dataclasses.replace(point, y=value)
        points[key] = point
    return list(points.values())


def _old_place(text: Mapping[str, str], place: str) -> tuple[str, float, float, float]:
    series, _, where = text["structure"].rpartition(" ")
    low, _, high = where.partition("..")
    try:
        return series, float(low), float(high or low), float(text["value"] or "nan")
    except ValueError:
        raise FileFormatError(
            f"{place}: {text['structure']!r} of {text['metric']} names no place, or {text['value']!r} is no "
            "number: expected a series, a space, and a number or two with .. between them"
        ) from None
