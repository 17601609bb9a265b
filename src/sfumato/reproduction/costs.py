"""What an experiment costs: optimisation steps, and GPU-hours, counted or from a measurement.

:data:`WORK` holds what one training step computes and moves, as ``benchmarks/networks.py`` counts it; the two
assumed rates below make seconds of it. A file that the same script wrote on a GPU replaces them
(:func:`read_speeds`).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sfumato.errors import FileFormatError
from sfumato.recipe.recipe import Recipe
from sfumato.reproduction.experiments import DataPart, Experiment, Training

# What a data-centre GPU keeps up in single precision, for about an A100. Its tensor cores reach 156 TFLOP/s
# in TF32, which PyTorch takes for convolutions by default; 3-D convolutions of 16 to 64 channels fill them to
# an eighth or so, and the products of the transformers stay in full single precision: 19.5 at most.
TERAFLOPS_PER_SECOND = 20.0
# Of 1.6 to 2.0 TB/s; normalisations and changes of layout stay well below the peak.
TERABYTES_PER_SECOND = 1.0


@dataclass(frozen=True)
class StepWork:
    """What one training step does per million voxels of its batch.

    Attributes:
        teraflop: Operations of convolutions and matrix products, forward and backward, in 1e12.
        gigabytes: What all operations read and write, in 1e9 bytes.
    """

    teraflop: float
    gigabytes: float

    @property
    def seconds(self) -> float:
        """Seconds at the assumed rates: arithmetic, then memory, without overlap."""
        return self.teraflop / TERAFLOPS_PER_SECOND + self.gigabytes / (1000 * TERABYTES_PER_SECOND)


# SiNGR's step at 128^3, batch 2, of the networks as they are by default: the last two counted columns of
# benchmarks/networks.py. At the recipes' own patches, channels and depths it is up to a third more or less.
WORK: Mapping[str, StepWork] = MappingProxyType(
    {
        "unet": StepWork(0.038, 2.1),
        "basic-unet": StepWork(0.864, 18.9),
        "unet3d": StepWork(5.434, 28.4),
        "svls-unet3d": StepWork(0.376, 7.5),
        "ivadomed-unet2d": StepWork(3.448, 45.7),
        "unet++3d": StepWork(3.603, 55.2),
        "segresnet": StepWork(0.107, 5.4),
        "unetr": StepWork(0.516, 19.7),
        "swin-unetr": StepWork(0.578, 58.4),
        "transbts": StepWork(0.927, 37.0),
        "nestedformer": StepWork(0.426, 22.7),
        "eoformer": StepWork(0.263, 19.2),
    }
)


@dataclass(frozen=True)
class Speed:
    """A measured training step.

    Attributes:
        seconds: Forward, backward and optimiser, per million voxels in the batch.
        where: Machine and precision.
    """

    seconds: float
    where: str


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
        rough: Some network's speed is not measured.
    """

    trainings: int
    steps: int
    hours: float
    rough: bool


def cost(experiment: Experiment, part: DataPart, speeds: Mapping[str, Speed] | None = None) -> Cost:
    """Estimate what training costs on one data set; validation and prediction come on top.

    Args:
        experiment: The experiment.
        part: One of its data sets.
        speeds: Measured networks by name; the others are estimated from :data:`WORK`.

    Returns:
        The cost; without trainings all numbers are 0.
    """
    speeds = speeds or {}
    repeats = len(experiment.content.seeds) * (part.folds or 1)
    steps, hours, rough = 0, 0.0, False
    rows = experiment.trainings(part.layout)
    for training in rows:
        recipe = experiment.recipes[part.layout, training.architecture]
        mine = repeats * steps_of(recipe, part, training)
        name = recipe.network.name
        known = speeds.get(name) or WORK.get(name)
        megavoxels = recipe.batch_size * math.prod(recipe.patch.size) / 1e6
        steps += mine
        hours += math.nan if known is None else mine * megavoxels * known.seconds / 3600
        rough |= name not in speeds
    return Cost(repeats * len(rows), steps, hours, rough)


def read_speeds(path: Path) -> dict[str, Speed]:
    """Read what ``benchmarks/networks.py --csv`` measured.

    Args:
        path: The file; rows without a time are networks that were only counted, or that failed.

    Returns:
        The measured networks by name.

    Raises:
        FileFormatError: the file cannot be read, lacks a column, holds something else than positive seconds,
            or has no time at all.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{path}: cannot be read ({error})") from error
    needed = {"network", "precision", "machine", "seconds_per_megavoxel"}
    missing = needed - set(rows[0] if rows else ())
    if missing:
        raise FileFormatError(
            f"{path} lacks {', '.join(sorted(missing))}: give the file that benchmarks/networks.py --csv "
            "wrote"
        )
    speeds = {row["network"]: _speed(row, path) for row in rows if row["seconds_per_megavoxel"]}
    if not speeds:
        raise FileFormatError(
            f"{path} has no measured time, only counts: run benchmarks/networks.py --device cuda --csv FILE"
        )
    return speeds


def _speed(row: Mapping[str, str], path: Path) -> Speed:
    text = row["seconds_per_megavoxel"]
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise FileFormatError(f"{path}: {row['network']} takes {text!r} seconds: give a number above 0")
    return Speed(seconds, f"{row['machine']}, precision {row['precision']}")


def hours_note(speeds: Mapping[str, Speed] | None = None, *, rough: bool = True) -> str:
    """Say what the GPU-hours are: measured where, and for what is rough, counted and at which rates."""
    rows = ["GPU-hours: the training steps alone, without early stopping; validation and prediction on top."]
    places = sorted({speed.where for speed in (speeds or {}).values()})
    if places:
        rows.append(f"Without ~: from steps measured on {'; '.join(places)}.")
    if rough:
        rows.append(
            "~: not, or not all, measured. A step's operations and memory traffic were counted "
            f"(benchmarks/networks.py); {TERAFLOPS_PER_SECOND:g} TFLOP/s and {TERABYTES_PER_SECOND:g} TB/s "
            "are assumed, about an A100 in single precision: expect a factor of three either way. To "
            "measure: that script's --csv FILE on your GPU, then --speeds FILE here."
        )
    return " ".join(rows)


def steps_of(recipe: Recipe, part: DataPart, training: Training) -> int:
    """Count the steps of one training without early stopping, on the published number of cases."""
    cases = recipe.split.counts[0] if recipe.split.counts else CASES[part.layout] * recipe.split.fractions[0]
    samples = cases * (SLICES[part.layout] if recipe.slice_axis is not None else 1)
    if training.raters == "all":
        samples *= RATERS[part.layout]
    return recipe.epochs * math.ceil(samples / recipe.batch_size)
