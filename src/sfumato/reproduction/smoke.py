"""A recipe made tiny: the same labels, losses and metrics, in seconds on any machine."""

from __future__ import annotations

from typing import Any, NamedTuple

from sfumato.data.case import CaseFiles, Dataset
from sfumato.recipe.recipe import Recipe

CASES = 4  # two to train on, one to choose by, one to judge by


class Tiny(NamedTuple):
    """A network's smallest useful form."""

    size: tuple[int, ...]  # voxels that it sees
    options: dict[str, Any]


TINY: dict[str, Tiny] = {
    "basic-unet": Tiny((32, 16, 16), {"channels": [4, 4, 4, 8, 8, 4], "dropout": 0.1}),
    "unet++3d": Tiny((32, 16, 16), {"channels": [4, 4, 4, 8, 8, 4], "dropout": 0.1}),
    "segresnet": Tiny((16, 16, 16), {"filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}),
    "unetr": Tiny((32, 16, 16), {"filters": 2, "width": 24, "mlp_width": 24, "heads": 2}),
    "swin-unetr": Tiny((64, 32, 32), {"filters": 12, "depths": [1, 1, 1, 1], "heads": [1, 1, 1, 1]}),
    "transbts": Tiny((16, 16, 16), {"filters": 8, "width": 16, "mlp_width": 16, "layers": 1, "heads": 2}),
    "nestedformer": Tiny(
        (32, 32, 32), {"channels": [2, 2, 2, 4, 4], "mlp_width": 8, "layers": 1, "heads": 2, "tokens": 2}
    ),
    "eoformer": Tiny((16, 16, 16), {"channels": [4, 8, 32], "last_filters": 4}),
    "svls-unet3d": Tiny((16, 16, 16), {"channels": [4, 8], "groups": 2}),
    "unet3d": Tiny((16, 16, 16), {"channels": [4, 8], "groups": 2}),
    "ivadomed-unet2d": Tiny((24, 24), {"depth": 1, "filters": 4, "dropout": 0.3, "norm_momentum": 0.9}),
}


def smoke_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe with a tiny network and crop, one epoch of a few steps, on the CPU.

    What makes the method stays: label, loss, raters, regions, resampling, normalisation, augmentation.
    """
    tiny = TINY[recipe.network.name]
    content = recipe.model_dump(mode="json")
    # The first cases may all be one patient's.
    by = "centre" if recipe.split.by == "centre" else "case"
    crop: list[int | None] = list(tiny.size)
    if recipe.slice_axis is not None:
        crop.insert(recipe.slice_axis, None)
    return recipe.replace(
        epochs=1,
        batch_size=8 if recipe.slice_axis is not None else 1,
        validate_every=1,
        patience=None,
        accelerator="cpu",
        workers=0,
        cache="memory",
        overlap=0.0,
        split=content["split"] | {"counts": None, "fractions": [0.5, 0.25, 0.25], "by": by},
        preprocess=content["preprocess"] | {"crop_size": crop},
        patch={"size": list(tiny.size), "foreground": 0.0},
        network={"name": recipe.network.name, "options": tiny.options},
    )


def smoke_cases(dataset: Dataset, recipe: Recipe) -> tuple[CaseFiles, ...]:
    """Choose the few cases of a data set that are enough: the first ones, or the first of each centre."""
    if recipe.split.by == "centre":
        first: dict[str | None, CaseFiles] = {}
        for files in dataset.cases:
            first.setdefault(files.centre, files)
        return tuple(first.values())
    return dataset.cases[:CASES]
