"""Labels that are made after augmentation, on the GPU where the batch already lies.

A data loader's process cuts and moves image and masks, and finds what only the CPU can find (Canny's edges,
a skeleton, random seeds) on the moved mask itself; the distances and the label follow on the device. Where
there is no GPU, or the label needs the CPU, the patches come with their targets instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sfumato.data.case import Case
from sfumato.errors import DataError
from sfumato.recipe.recipe import Recipe
from sfumato.training.cases import made_late

Regions = Mapping[str, tuple[int, ...]] | None


def made_on(device: str, recipe: Recipe) -> bool:
    """Whether the recipe's label is made on ``device``, after the batch arrived there.

    Not in pure half precision, where the batch would come with its image and spacing rounded.
    """
    exact = recipe.precision != "bf16-true"
    return device == "cuda" and exact and made_late(recipe) and recipe.composed.follows_the_batch


def ingredients(
    recipe: Recipe, case: Case, *, num_classes: int, regions: Regions, generator: torch.Generator
) -> dict[str, Tensor]:
    """What a target is made from on the device, for one moved patch.

    Returns:
        ``image`` ``(C, *S)``, ``labels`` ``(*S)`` int16, ``spacing`` ``(axes,)`` and, where the label needs
        them, ``marks`` ``(M, *S)``.

    Raises:
        DataError: the patch has no mask.
    """
    if case.labels is None:
        raise DataError([f"case {case.name} has no mask to make a soft label of"])
    found = {
        "image": case.image,
        "labels": case.labels.to(torch.int16),  # A quarter of the way to the device.
        "spacing": torch.tensor(case.spacing, dtype=torch.float64),
    }
    marked = recipe.composed.marks(
        case.labels,
        case.image,
        num_classes=num_classes,
        spacing=case.spacing,
        regions=regions,
        generator=generator,
    )
    return found if marked is None else {**found, "marks": marked}


def late_targets(
    recipe: Recipe, batch: Mapping[str, Tensor], *, num_classes: int, regions: Regions
) -> Tensor:
    """Make the targets of a batch of :func:`ingredients`: ``(B, channels, *S)`` float32, on its device.

    Mixed precision does not reach in here: distances are always float32.
    """
    labels = batch["labels"].to(torch.int64)
    with torch.no_grad(), torch.autocast(labels.device.type, enabled=False):
        return recipe.composed.batch_target(
            labels,
            batch["image"].float(),
            num_classes=num_classes,
            spacing=[tuple(each) for each in batch["spacing"].tolist()],
            regions=regions,
            marks=batch.get("marks"),
        )
