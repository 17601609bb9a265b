"""Points of diagrams as rows of the tidy table, so that ``metrics.csv`` alone holds all that a report shows.

A point belongs to a run and not to a case: its ``case`` is empty. ``metric`` is the diagram and the quantity,
``structure`` the series and the place on the horizontal axis, a bin or one number:

==========================================  =========================  ====================================
metric                                      structure                  value
==========================================  =========================  ====================================
``reliability:voxels``                      ``foreground 0.9..1.0``    voxels whose confidence is in the bin
``reliability:confidence``, ``:accuracy``   ``foreground 0.9..1.0``    their means; undefined for no voxel
``values:voxels``                           ``soft 0.98..1.0``         values of the graded prediction
``threshold:dice``                          ``tuning 0.45``            mean Dice at that threshold
``history:val_dice``, ``:train_loss``, …    ``epoch 12``               what was measured in that epoch
==========================================  =========================  ====================================

Everything that computes statistics over cases leaves these rows out
(:func:`~sfumato.evaluation.rows.is_diagram`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sfumato.errors import FileFormatError
from sfumato.evaluation.case import Origin
from sfumato.evaluation.rows import Row, is_diagram
from sfumato.metrics.calibration.reliability import ReliabilityBins

HISTORY = {"train_loss": "loss", "val_loss": "loss", "val_dice": "fraction"}


@dataclass(frozen=True)
class Point:
    """One value of a diagram.

    Attributes:
        run: The training it belongs to.
        series: Which curve or set of voxels.
        low: Lower edge of the bin, or the place itself.
        high: Upper edge of the bin; ``low`` again where the place is one number.
        quantity: What is measured.
        value: The value; nan where it is undefined.
    """

    run: str
    series: str
    low: float
    high: float
    quantity: str
    value: float


def reliability_rows(origin: Origin, series: str, bins: ReliabilityBins) -> list[Row]:
    """Give a reliability diagram's bins, on equal parts of [0, 1]: three rows each."""
    count, rows = len(bins.voxels), []
    for index, (voxels, *means) in enumerate(zip(bins.voxels, bins.confidence, bins.accuracy, strict=True)):
        place = _bin(series, index / count, (index + 1) / count)
        rows.append(_row(origin, "reliability:voxels", place, float(voxels), "voxels"))
        for quantity, mean in zip(("confidence", "accuracy"), means, strict=True):
            rows.append(_row(origin, f"reliability:{quantity}", place, mean, "fraction"))
    return rows


def value_rows(origin: Origin, edges: Sequence[float], counts: Sequence[int]) -> list[Row]:
    """Give the histogram of graded values: one row per bin between two ``edges``."""
    return [
        _row(origin, "values:voxels", _bin("soft", edges[index], edges[index + 1]), float(count), "voxels")
        for index, count in enumerate(counts)
    ]


def threshold_rows(origin: Origin, sweep: Iterable[tuple[float, float]]) -> list[Row]:
    """Give the sweep that tuned a threshold: one row per (threshold, Dice)."""
    return [
        _row(origin, "threshold:dice", f"tuning {threshold!r}", dice, "fraction") for threshold, dice in sweep
    ]


def history_rows(origin: Origin, epochs: Iterable[Mapping[str, float]]) -> list[Row]:
    """Give the learning curves: one row per epoch and quantity; what was not measured has no row."""
    return [
        _row(origin, f"history:{quantity}", f"epoch {int(line['epoch'])}", line[quantity], unit)
        for line in epochs
        for quantity, unit in HISTORY.items()
        if not math.isnan(line.get(quantity, math.nan))
    ]


def points(rows: Iterable[Row], diagram: str) -> Iterator[Point]:
    """Read the points of one diagram back, in the rows' order.

    Raises:
        FileFormatError: A row's structure names no place.
    """
    for row in rows:
        name, _, quantity = row.metric.partition(":")
        if not is_diagram(row.metric) or name != diagram:
            continue
        series, _, place = row.structure.rpartition(" ")
        low, _, high = place.partition("..")
        try:
            edges = float(low), float(high or low)
        except ValueError:
            raise FileFormatError(
                f"run {row.run}: structure {row.structure!r} of {row.metric} names no place: "
                "expected a series, a space, and a number or two with .. between them"
            ) from None
        yield Point(row.run, series, *edges, quantity, row.value)


def _bin(series: str, low: float, high: float) -> str:
    # Ten digits: 0.02 and not 0.019999999552965164.
    return f"{series} {round(float(low), 10)!r}..{round(float(high), 10)!r}"


def _row(origin: Origin, metric: str, structure: str, value: float, unit: str) -> Row:
    return Row(
        run=origin.run,
        method=origin.method,
        dataset=origin.dataset,
        seed=origin.seed,
        fold=origin.fold,
        case="",
        structure=structure,
        metric=metric,
        value=value,
        unit=unit,
        status="no_voxel" if math.isnan(value) else "ok",
    )
