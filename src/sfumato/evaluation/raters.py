"""Every metric of one case that several raters outlined, as rows of the tidy table.

How the prediction compares with all raters together, and how well they agree with one another: the ceiling
that a prediction is compared with. Scores against single raters are those of
:func:`~sfumato.evaluation.case.evaluate_masks`, once per rater.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_same_shape
from sfumato.errors import ShapeError
from sfumato.evaluation.case import (
    DEFAULT_SETTINGS,
    RATER_MAP_METRICS,
    RATER_MASK_METRICS,
    UNITS_OF,
    Origin,
    Settings,
    Structures,
    checked,
    one_mask,
)
from sfumato.evaluation.rows import Row
from sfumato.metrics.overlap import dice, iou, soft_dice, soft_iou
from sfumato.metrics.raters import (
    generalised_energy_distance,
    qubiq_score,
    rater_agreement,
    rater_scores,
    soft_consensus,
)
from sfumato.metrics.surface.elements import bounding_box
from sfumato.types import ArrayLike


def evaluate_rater_masks(
    prediction: ArrayLike,
    references: Sequence[ArrayLike],
    *,
    structures: Structures,
    spacing: Sequence[float | int],
    origin: Origin,
    settings: Settings = DEFAULT_SETTINGS,
) -> list[Row]:
    """Score hard masks against all raters together.

    Args:
        prediction: Labels ``(*S)`` or masks ``(R, *S)``, as in
            :func:`~sfumato.evaluation.case.evaluate_case`.
        references: One array per rater, of the same kinds.
        structures: Name of each structure, and the labels that form it.
        spacing: Millimetres between voxel centres; its length says how many axes are spatial.
        origin: What the rows say about themselves.
        settings: Which metrics.

    Returns:
        Per structure: ``dice_raters_mean`` and ``dice_raters_max``, the mean and the largest of its Dice with
        each rater; ``iou_raters_mean`` and ``iou_raters_max``; ``ged``, the generalised energy distance of
        this one prediction. All are defined for empty masks.

    Raises:
        ShapeError: The arrays do not fit each other, or there is no rater.
        DTypeError: Labels hold fractions.
    """
    pred = checked("prediction", prediction, spacing, structures)
    drawn = _drawn(references, spacing, structures)
    wanted = RATER_MASK_METRICS.keys() - {"rater_dice"}
    chosen = [metric for metric in settings.metrics if metric in wanted]
    rows: list[Row] = []
    for index, (name, labels) in enumerate(structures.items()):
        first, *others = _cropped([one_mask(each, index, labels, spacing) for each in (pred, *drawn)])
        rows += _rows(_mask_values(first, torch.stack(others)), name, origin, chosen)
    return rows


def evaluate_agreement(
    references: Sequence[ArrayLike],
    *,
    structures: Structures,
    spacing: Sequence[float | int],
    origin: Origin,
    raters: Sequence[str],
    settings: Settings = DEFAULT_SETTINGS,
) -> list[Row]:
    """Score the raters against one another: the ceiling that a prediction is compared with.

    Arguments and errors as :func:`evaluate_rater_masks`; ``raters`` names each of them.

    Returns:
        Per structure ``rater_dice``: the mean Dice of all pairs; and per rater its mean Dice with the
        others. Two empty masks agree (1). No row for a single rater, who has nobody to agree
        with.
    """
    drawn = _drawn(references, spacing, structures)
    if len(raters) != len(drawn):
        raise ShapeError(f"raters has {len(raters)} names for {len(drawn)} references: give one each")
    if "rater_dice" not in settings.metrics or len(drawn) < 2:
        return []
    rows: list[Row] = []
    for index, (name, labels) in enumerate(structures.items()):
        masks = torch.stack(_cropped([one_mask(each, index, labels, spacing) for each in drawn]))
        table = rater_agreement(masks, score=partial(dice, spatial_axes=len(spacing)))[..., 0]
        alone = (table.sum(dim=1) - table.diagonal()) / (len(drawn) - 1)
        rows += _rows({"rater_dice": float(alone.mean())}, name, origin, ["rater_dice"])
        for rater, value in zip(raters, alone.tolist(), strict=True):
            one = dataclasses.replace(origin, rater=rater)
            rows += _rows({"rater_dice": value}, name, one, ["rater_dice"])
    return rows


def evaluate_rater_maps(
    soft: ArrayLike,
    references: Sequence[ArrayLike],
    *,
    structures: Structures,
    spacing: Sequence[float | int],
    origin: Origin,
    settings: Settings = DEFAULT_SETTINGS,
) -> list[Row]:
    """Score graded maps ``(R, *S)`` in [0, 1] against the raters' mean: soft Dice and IoU, QUBIQ score.

    Arguments and errors as :func:`evaluate_rater_masks`.

    Returns:
        Per structure: ``consensus_dice``, ``consensus_iou`` and ``qubiq``; all defined for empty maps.
    """
    maps = as_tensor(soft)
    drawn = _drawn(references, spacing, structures)
    scores: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "consensus_dice": partial(soft_dice, spatial_axes=len(spacing)),
        "consensus_iou": partial(soft_iou, spatial_axes=len(spacing)),
        "qubiq": qubiq_score,
    }
    chosen = [metric for metric in settings.metrics if metric in RATER_MAP_METRICS]
    rows: list[Row] = []
    for index, (name, labels) in enumerate(structures.items()):
        consensus = soft_consensus(torch.stack([one_mask(each, index, labels, spacing) for each in drawn]))
        require_same_shape("soft", maps[index][None].shape, "a rater's reference", consensus.shape)
        values = {metric: float(scores[metric](maps[index][None], consensus)) for metric in chosen}
        rows += _rows(values, name, origin, chosen)
    return rows


def _drawn(
    references: Sequence[ArrayLike], spacing: Sequence[float | int], structures: Structures
) -> list[Tensor]:
    """Check the raters' masks: there is one, and all are of one shape."""
    if not len(references):
        raise ShapeError("references is empty: give the masks of at least one rater")
    return [
        checked(f"reference of rater {number}", each, spacing, structures)
        for number, each in enumerate(references, start=1)
    ]


def _cropped(masks: Sequence[Tensor]) -> list[Tensor]:
    """Cut masks ``(1, *S)`` to the box that holds them all; one voxel where all are empty."""
    union = masks[0][0].clone()
    for each in masks[1:]:
        require_same_shape("a rater's mask", each.shape[1:], "prediction or first rater's", union.shape)
        union |= each[0]
    # Outside the box they agree that nothing is there.
    box = bounding_box(union.cpu().numpy()) or ((0, 1),) * union.ndim
    return [each[(slice(None), *(slice(*extent) for extent in box))] for each in masks]


def _mask_values(pred: Tensor, raters: Tensor) -> dict[str, float]:
    """Scores of ``(1, *S)`` against ``(D, 1, *S)``."""
    values: dict[str, float] = {}
    for name, score in (("dice", dice), ("iou", iou)):
        found = rater_scores(pred, raters, score=partial(score, spatial_axes=pred.ndim - 1))
        values |= {f"{name}_raters_mean": float(found.mean), f"{name}_raters_max": float(found.highest)}
    return values | {"ged": float(generalised_energy_distance(pred[None], raters))}


def _rows(values: dict[str, float], structure: str, origin: Origin, metrics: Sequence[str]) -> list[Row]:
    told = dataclasses.asdict(origin)
    return [
        Row(structure=structure, metric=metric, value=values[metric], unit=UNITS_OF[metric], **told)
        for metric in metrics
    ]
