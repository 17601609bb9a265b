"""How metrics are called, grouped and ordered in tables: as the table of metrics has them."""

from __future__ import annotations

from collections.abc import Collection

from sfumato.errors import UnknownNameError
from sfumato.evaluation.metrics_table import METRICS, Better, Place
from sfumato.statistics.directions import direction_of


def metrics_shown_in(place: Place, present: Collection[str]) -> list[str]:
    """List those of the metrics that are shown in one place."""
    return [name for name, metric in METRICS.items() if place in metric.shown_in and name in present]


def grouped_metrics(present: Collection[str]) -> dict[str, list[str]]:
    """Sort metrics into the groups of the report's tables; those of other tools come last."""
    groups: dict[str, list[str]] = {}
    for name, metric in METRICS.items():
        if name in present:
            groups.setdefault(metric.group, []).append(name)
    further = [name for name in present if name not in METRICS]
    return groups | ({"Further metrics": further} if further else {})


def metric_title(metric: str) -> str:
    """Return a metric's name as people write it; what stands behind an ``@`` is its convention."""
    name, _, convention = metric.partition("@")
    title = METRICS[name].title if name in METRICS else name.replace("_", " ").capitalize()
    return f"{title} ({convention})" if convention else title


def metric_direction(metric: str) -> Better | None:
    """Return which way a metric is better, or ``None`` for one that is not a score, as a volume."""
    try:
        return direction_of(metric)
    except UnknownNameError:
        return None
