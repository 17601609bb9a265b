"""What one epoch goes through: every case, or every rater's mask of it, or every slice, once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.utils.data import Sampler

from sfumato.errors import DataError
from sfumato.recipe.recipe import Recipe
from sfumato.training.cases import Cases, PreparedCase


@dataclass(frozen=True)
class Sample:
    """One training sample, before anything random.

    Attributes:
        case: Number of the case.
        rater: Number of the rater that it is seen through; None for the reference, or a random one.
        slice: Number of the slice; None for the whole case.
    """

    case: int
    rater: int | None = None
    slice: int | None = None


def training_samples(cases: Cases, recipe: Recipe) -> list[Sample]:
    """List the samples of an epoch: cases in their order, within them raters, within these slices."""
    samples = []
    for number, case in enumerate(cases):
        raters: Sequence[int | None] = range(_raters(case)) if recipe.raters == "all" else [None]
        axis = recipe.slice_axis
        slices: Sequence[int | None] = [None] if axis is None else range(case.labels.shape[axis])
        samples += [Sample(number, rater, index) for rater in raters for index in slices]
    return samples


def sampled_case(cases: Cases, sample: Sample, recipe: Recipe, *, generator: torch.Generator) -> PreparedCase:
    """Return the case, or the slice of it, that a sample stands for.

    With ``raters: random`` the rater is drawn from the generator, and nothing is drawn otherwise.
    """
    case, rater = cases[sample.case], sample.rater
    if recipe.raters == "random":
        rater = int(torch.randint(_raters(case), (), generator=generator))
    if rater is not None:
        case = case.of_rater(rater)
    if sample.slice is None or recipe.slice_axis is None:
        return case
    return case.slice(recipe.slice_axis, sample.slice)


def _raters(case: PreparedCase) -> int:
    if case.labels_per_rater is None:
        raise DataError([f"case {case.name} has no masks of single raters"])
    return len(case.labels_per_rater)


class Progress(Protocol):
    """What the sampler must know of the trainer."""

    @property
    def current_epoch(self) -> int: ...  # noqa: D102
    @property
    def global_rank(self) -> int: ...  # noqa: D102
    @property
    def world_size(self) -> int: ...  # noqa: D102


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffle the samples anew in each epoch, and tell each its epoch.

    Args:
        count: Number of samples.
        seed: The recipe's seed.
        trainer: Says which epoch it is, and which process of how many this is.
    """

    def __init__(self, count: int, *, seed: int, trainer: Progress) -> None:
        self.count, self.seed, self.trainer = count, seed, trainer

    def __len__(self) -> int:
        return -(-self.count // self.trainer.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.trainer.current_epoch
        order = list(range(self.count))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        # Every process draws equally many, so that none waits for another at the end of the epoch.
        order += order[: len(self) * self.trainer.world_size - self.count]
        return iter([(epoch, index) for index in order[self.trainer.global_rank :: self.trainer.world_size]])
