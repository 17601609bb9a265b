"""What an experiment costs: optimisation steps, and a rough number of GPU-hours.

The one table to change is :data:`SECONDS`: seconds of one training step per million voxels of its batch, as
``benchmarks/networks.py`` prints them on the GPU that is to be used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sfumato.study.experiments import DataPart, Experiment, Training
from sfumato.training.recipe import Recipe


@dataclass(frozen=True)
class Speed:
    """Seconds of one training step per million voxels in the batch.

    Attributes:
        seconds: Forward, backward and optimiser.
        gpu: Where it was measured; empty: an estimate, right within a factor of about three.
    """

    seconds: float
    gpu: str = ""


# Estimates for a data-centre GPU in single precision, from the networks' multiplications per voxel.
SECONDS: dict[str, Speed] = {
    "unet": Speed(0.10),
    "basic-unet": Speed(0.15),
    "unet3d": Speed(0.30),
    "svls-unet3d": Speed(0.08),
    "unet++3d": Speed(0.45),
    "segresnet": Speed(0.06),
    "unetr": Speed(0.25),
    "swin-unetr": Speed(0.35),
    "transbts": Speed(0.20),
    "nestedformer": Speed(0.35),
    "eoformer": Speed(0.25),
    "ivadomed-unet2d": Speed(0.45),
}

# Samples of an epoch per case, where a case is more than one: about so many axial slices after resampling.
# The grey matter's 12 native slices of 2.5 to 5 mm are resampled to 2 mm.
SLICES = {"scgm": 20, "msseg2016": 250, "brats2019": 155}
RATERS = {"lidc": 4}
# The division by centre or by shares needs the number of cases.
CASES = {"scgm": 80}


@dataclass(frozen=True)
class Cost:
    """What one data set of an experiment costs.

    Attributes:
        trainings: How many.
        steps: Optimisation steps, all trainings together, without early stopping.
        hours: GPU-hours of these steps; nan where a network's speed is not known.
        rough: Some speed is an estimate.
    """

    trainings: int
    steps: int
    hours: float
    rough: bool


def cost(experiment: Experiment, part: DataPart) -> Cost:
    """Estimate what training costs on one data set; validation and prediction come on top."""
    each = len(experiment.content.seeds) * (part.folds or 1)
    steps, hours, rough = 0, 0.0, False
    rows = experiment.trainings(part.kind)
    for training in rows:
        recipe = experiment.recipes[part.kind, training.architecture]
        mine = each * steps_of(recipe, part, training)
        speed = SECONDS.get(recipe.network.name)
        megavoxels = recipe.batch_size * math.prod(recipe.patch.size) / 1e6
        steps += mine
        hours += math.nan if speed is None else mine * megavoxels * speed.seconds / 3600
        rough |= speed is None or not speed.gpu
    return Cost(each * len(rows), steps, hours, rough)


def steps_of(recipe: Recipe, part: DataPart, training: Training) -> int:
    """Count the steps of one training without early stopping, on the published number of cases."""
    cases = recipe.split.counts[0] if recipe.split.counts else CASES[part.kind] * recipe.split.fractions[0]
    samples = cases * (SLICES[part.kind] if recipe.slice_axis is not None else 1)
    if training.raters == "all":
        samples *= RATERS[part.kind]
    return recipe.epochs * math.ceil(samples / recipe.batch_size)
