"""Which way a metric is better, as the table of metrics or the user says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sfumato.checks import require_choice
from sfumato.errors import UnknownNameError
from sfumato.evaluation.metrics_table import METRICS, Better

# Names of other tools, which METRICS does not have: lower case, spaces and hyphens as underscores.
_OTHERS: Mapping[Better, str] = {
    "up": "sensitivity f1 accuracy dsc jaccard nsd ltpr lesion_precision lesion_recall correlation auc",
    "down": "hausdorff absolute_volume_difference lfdr",
    "zero": "relative_volume_difference volume_bias",
}


def direction_of(metric: str, directions: Mapping[str, Better] | None = None) -> Better:
    """Return the direction in which ``metric`` is better.

    Args:
        metric: Its name; upper case, spaces and hyphens do not matter.
        directions: Further metrics, or other directions for known ones.

    Returns:
        ``"up"``, ``"down"``, or ``"zero"`` for a signed difference that is best at 0.

    Raises:
        UnknownNameError: The direction of the metric is not known.

    Example:
        >>> direction_of("HD95"), direction_of("my score", {"my score": "up"})
        ('down', 'up')
    """
    given = {_plain(name): value for name, value in (directions or {}).items()}
    for value in given.values():
        require_choice("direction", value, ("up", "down", "zero"))
    ours = {name: entry.better for name, entry in METRICS.items() if entry.better}
    others = {name: direction for direction, names in _OTHERS.items() for name in names.split()}
    table = {**others, **ours, **given}
    name = _plain(metric)
    # "hd95@voxel-max": what stands behind the @ is the convention, not the metric.
    for candidate in (name, name.split("@")[0]):
        if candidate in table:
            return table[candidate]
    raise UnknownNameError("metric (say whether up, down or zero is better)", metric, sorted(table))


def oriented(values: np.ndarray, direction: Better) -> np.ndarray:
    """Turn values so that larger is better: the values, their negatives, or minus their distance from 0."""
    if direction == "up":
        return values
    return -values if direction == "down" else -np.abs(values)


def _plain(metric: str) -> str:
    return "_".join(metric.strip().lower().replace("-", " ").replace("_", " ").split())
