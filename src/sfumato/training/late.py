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
from sfumato.structures import Structures
from sfumato.training.cases import made_late


def made_on(device: str, recipe: Recipe) -> bool:
    """Tell whether the recipe's label is made on ``device``, after the batch arrived there.

    Not in pure half precision, where the batch would come with its image and spacing rounded.
    """
    exact = recipe.precision != "bf16-true"
    return device == "cuda" and exact and made_late(recipe) and recipe.composed.follows_the_batch


def late_inputs(
    recipe: Recipe, case: Case, *, structures: Structures, generator: torch.Generator
) -> dict[str, Tensor]:
    """Collect what a target is made from on the device, for one moved patch.

    Returns:
        ``image`` ``(C, *S)``, ``labels`` ``(*S)`` int16, ``spacing`` ``(axes,)`` and, where the label needs
        them, ``prepared`` ``(M, *S)``.

    Raises:
        DataError: the patch has no mask.
    """
    if case.labels is None:
        raise DataError([f"case {case.name} has no mask to make a soft label of"])
    inputs = {
        "image": case.image,
        "labels": case.labels.to(torch.int16),  # A quarter of the way to the device.
        "spacing": torch.tensor(case.spacing, dtype=torch.float64),
    }
    prepared = recipe.composed.prepare(
        case.labels,
        case.image,
        num_classes=structures.num_classes,
        spacing=case.spacing,
        regions=structures.regions,
        generator=generator,
    )
    return inputs if prepared is None else {**inputs, "prepared": prepared}


def late_targets(recipe: Recipe, batch: Mapping[str, Tensor], *, structures: Structures) -> Tensor:
    """Make the targets of a batch of :func:`late_inputs`: ``(B, channels, *S)`` float32, on its device.

    Mixed precision does not reach in here: distances are always float32.
    """
    labels = batch["labels"].to(torch.int64)
    with torch.no_grad(), torch.autocast(labels.device.type, enabled=False):
        return recipe.composed.batch_target(
            labels,
            batch["image"].float(),
            num_classes=structures.num_classes,
            spacing=[tuple(spacing) for spacing in batch["spacing"].tolist()],
            regions=structures.regions,
            prepared=batch.get("prepared"),
        )
