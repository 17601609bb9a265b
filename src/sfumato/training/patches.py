"""Training patches: cropped, augmented and labelled, drawn from a seed that knows epoch and sample.

Every random choice of a patch follows from (recipe seed, epoch, number of the sample) alone. So the
patches do not depend on the number of workers, and a resumed run draws what an unbroken one would have.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from sfumato.data.case import Case
from sfumato.errors import InputError
from sfumato.recipe.recipe import Recipe
from sfumato.structures import Structures
from sfumato.training.cases import Cases, PreparedCase, made_late, soft_label
from sfumato.training.late import late_inputs, made_on
from sfumato.training.samples import EpochSampler, Progress, sampled_case, training_samples


class Patches(TorchDataset[dict[str, Tensor]]):
    """One augmented patch per sample and epoch.

    Args:
        cases: The prepared training cases.
        recipe: Patch size, augmentation, and when the label is made.
        structures: What the data set's classes and regions are.
        device: Where the batches go: late labels are made there if they can be, and the patches then carry
            what they are made from.
    """

    def __init__(self, cases: Cases, recipe: Recipe, *, structures: Structures, device: str = "cpu") -> None:
        # A batch is of one form: with class weights among its cases, all patches carry their targets.
        self.unlabelled = made_on(device, recipe) and not any(case.target_from_soft for case in cases)
        self.cases, self.recipe, self.structures = cases, recipe, structures
        self.samples = training_samples(cases, recipe)
        self.method, self.late = recipe.composed, made_late(recipe)
        self.augmentation = recipe.augment

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        """Cut and move the patch of sample ``index`` in ``epoch``; ``key`` is ``(epoch, index)``."""
        epoch, index = key
        generator = torch.Generator().manual_seed(
            random.Random(f"{self.recipe.seed}/{epoch}/{index}").getrandbits(63)
        )
        case = sampled_case(self.cases, self.samples[index], self.recipe, generator=generator)
        return self._patch(case, generator)

    def _patch(self, case: PreparedCase, generator: torch.Generator) -> dict[str, Tensor]:
        chosen, size = self.method, self.recipe.patch.size
        late = self.late and not case.target_from_soft
        # Rotation and shrinking reach beyond the patch: cut it larger, move it, then cut the centre.
        wide = tuple(round(self.margin * side) for side in size)
        start = self._start(case, wide, generator)
        fill = torch.tensor(chosen.kind.outside(len(case.target)))
        image, labels, target = self.augmentation.apply(
            crop(case.image, start, wide, fill=None),
            crop(_stacked(case), start, wide, fill=torch.zeros(1)) if late else None,
            None if late else crop(case.target, start, wide, fill=fill),
            spacing=case.spacing,
            kind=chosen.kind,
            generator=generator,
        )
        inner = tuple((outer - side) // 2 for outer, side in zip(wide, size, strict=True))
        image = crop(image, inner, size, fill=None)
        if target is not None:
            return {"image": image, "target": chosen.finished(crop(target, inner, size, fill=None))}
        if labels is None:
            raise InputError("augmentation lost the labels")
        labels = crop(labels, inner, size, fill=None)
        raters = labels[1:] if len(labels) > 1 else None
        moved = Case(case.name, image, labels[0], raters, case.spacing, None)
        if self.unlabelled:
            return late_inputs(self.recipe, moved, structures=self.structures, generator=generator)
        target = soft_label(self.recipe, moved, structures=self.structures, generator=generator)
        return {"image": image, "target": target}

    @property
    def margin(self) -> float:
        """How much larger than the patch the moved piece is."""
        return 1.25 if self.augmentation.is_affine else 1.0

    def _start(self, case: PreparedCase, wide: Sequence[int], generator: torch.Generator) -> tuple[int, ...]:
        """Draw the first voxel of the patch per axis; negative where the volume is smaller than the patch."""
        sides = case.labels.shape
        centre: Tensor | None = None
        if torch.rand((), generator=generator) < self.recipe.patch.foreground:
            voxels = case.labels.nonzero()
            if len(voxels):
                centre = voxels[int(torch.randint(len(voxels), (), generator=generator))]
        start = []
        for axis, (side, width) in enumerate(zip(sides, wide, strict=True)):
            slack = side - width
            draw = torch.rand((), generator=generator)
            if slack <= 0:
                start.append(-((-slack) // 2))
            elif centre is None:
                start.append(int(draw * (slack + 1)))
            else:
                start.append(min(max(int(centre[axis]) - width // 2, 0), slack))
        return tuple(start)


def crop(array: Tensor, start: Sequence[int], size: Sequence[int], *, fill: Tensor | None) -> Tensor:
    """Cut ``size`` voxels from ``start`` on; beyond the array lies ``fill`` per channel, or the edge's value.

    Args:
        array: ``(C, *S)``.
        start: First voxel per axis, negative to begin before the array.
        size: Voxels per axis.
        fill: One value per channel, or None to repeat the edge.

    Returns:
        ``(C, *size)``, of the array's type.
    """
    sides = array.shape[1:]
    result = array
    for axis, (first, width, side) in enumerate(zip(start, size, sides, strict=True), start=1):
        index = torch.arange(first, first + width).clamp(0, side - 1)
        result = result.index_select(axis, index)
    if fill is None:
        return result
    for axis, (first, width, side) in enumerate(zip(start, size, sides, strict=True), start=1):
        position = torch.arange(first, first + width)
        beyond = (position < 0) | (position >= side)
        if beyond.any():
            shape = [1] * array.ndim
            shape[axis] = width
            values = fill.to(array.dtype).reshape(-1, *[1] * (array.ndim - 1))
            result = torch.where(beyond.reshape(shape), values, result)
    return result


def patch_loader(
    cases: Cases, recipe: Recipe, *, trainer: Progress, structures: Structures, device: str = "cpu"
) -> DataLoader[dict[str, Tensor]]:
    """Load batches of patches for the trainer, bound for ``device``."""
    patches = Patches(cases, recipe, structures=structures, device=device)
    return DataLoader(
        patches,
        batch_size=recipe.batch_size,
        sampler=EpochSampler(len(patches), seed=recipe.seed, trainer=trainer),
        num_workers=recipe.workers,
        pin_memory=device == "cuda",
    )


def case_loader(cases: Cases) -> DataLoader[dict[str, Tensor]]:
    """Load whole prepared cases, one at a time, for validation."""
    return DataLoader(_Whole(cases), batch_size=None)


class _Whole(TorchDataset[dict[str, Tensor]]):
    def __init__(self, cases: Cases) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        case = self.cases[index]
        return {"image": case.image, "labels": case.labels, "target": case.target}


def _stacked(case: PreparedCase) -> Tensor:
    """Stack the consensus and, behind it, each rater: ``(1 + D, *S)``."""
    consensus = case.labels.unsqueeze(0)
    return consensus if case.labels_per_rater is None else torch.cat((consensus, case.labels_per_rater))
