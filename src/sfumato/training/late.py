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
from sfumato.geodesic import gpu
from sfumato.labels.definition import TargetBatch, TargetCase
from sfumato.recipe.recipe import Recipe
from sfumato.structures import Structures
from sfumato.training.cases import made_late


def made_on(device: str, recipe: Recipe) -> bool:
    """Tell whether the recipe's label is made on ``device``, after the batch arrived there.

    Not in pure half precision, where the batch would come with its image and spacing rounded.
    """
    exact, on_device = recipe.precision != "bf16-true", recipe.composed.label_row.on_device is not None
    return device == "cuda" and exact and made_late(recipe) and on_device and gpu.works()


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
    method = recipe.composed
    given = TargetCase(case.labels, case.image, structures, case.spacing, generator=generator)
    prepared = method.label_row.prepare(given, method.label_options)
    return inputs if prepared is None else {**inputs, "prepared": prepared}


def late_targets(recipe: Recipe, batch: Mapping[str, Tensor], *, structures: Structures) -> Tensor:
    """Make the targets of a batch of :func:`late_inputs`: ``(B, channels, *S)`` float32, on its device.

    Mixed precision does not reach in here: distances are always float32.
    """
    method, labels = recipe.composed, batch["labels"].to(torch.int64)
    spacing = [tuple(steps) for steps in batch["spacing"].tolist()]
    given = TargetBatch(labels, batch["image"].float(), structures, spacing, batch.get("prepared"))
    with torch.no_grad(), torch.autocast(labels.device.type, enabled=False):
        return method.label_row.make_batch(given, method.label_options)
