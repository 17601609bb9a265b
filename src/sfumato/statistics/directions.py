"""Which way a metric is better: the one table that rankings, wins and bold numbers read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from sfumato.checks import require_choice
from sfumato.errors import UnknownNameError

Direction = Literal["up", "down", "zero"]

_UP = (
    "dice iou precision recall sensitivity specificity surface_dice soft_dice soft_iou f1 accuracy "
    "dsc jaccard nsd ltpr lesion_tpr lesion_f1 lesion_precision lesion_recall qubiq correlation auc "
    "dice_raters_mean dice_raters_max iou_raters_mean iou_raters_max consensus_dice consensus_iou"
)
_DOWN = (
    "hd hd95 hausdorff assd masd avd absolute_volume_difference mse brier nll ece ece_foreground "
    "ece_boundary mce ace tace classwise_ece lfdr lesion_fdr ged"
)
_ZERO = "rvd relative_volume_difference volume_bias"

# Lower case, spaces and hyphens as underscores; "zero": the closer to 0, from either side, the better.
DIRECTIONS: Mapping[str, Direction] = MappingProxyType(
    {
        **dict.fromkeys(_UP.split(), "up"),
        **dict.fromkeys(_DOWN.split(), "down"),
        **dict.fromkeys(_ZERO.split(), "zero"),
    }
)


def direction_of(metric: str, directions: Mapping[str, Direction] | None = None) -> Direction:
    """Return the direction in which ``metric`` is better.

    Args:
        metric: Its name; upper case, spaces and hyphens do not matter.
        directions: Further metrics, or other directions for known ones.

    Returns:
        ``"up"``, ``"down"``, or ``"zero"`` for a signed difference that is best at 0.

    Raises:
        UnknownNameError: The metric is in neither table.

    Example:
        >>> direction_of("HD95"), direction_of("my score", {"my score": "up"})
        ('down', 'up')
    """
    given = {_plain(name): value for name, value in (directions or {}).items()}
    for value in given.values():
        require_choice("direction", value, ("up", "down", "zero"))
    table = {**DIRECTIONS, **given}
    name = _plain(metric)
    # "hd95@voxel-max": what stands behind the @ is the convention, not the metric.
    for candidate in (name, name.split("@")[0]):
        if candidate in table:
            return table[candidate]
    raise UnknownNameError("metric (say whether up, down or zero is better)", metric, sorted(table))


def oriented(values: np.ndarray, direction: Direction) -> np.ndarray:
    """Turn values so that larger is better: the values, their negatives, or minus their distance from 0."""
    if direction == "up":
        return values
    return -values if direction == "down" else -np.abs(values)


def _plain(metric: str) -> str:
    return "_".join(metric.strip().lower().replace("-", " ").replace("_", " ").split())
