"""Prepared cases: read, checked, preprocessed and labelled once, before any training."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from sfumato.data.case import Case, CaseFiles, Dataset
from sfumato.errors import DataError, InputError
from sfumato.output import atomic_output
from sfumato.recipe.dataset import SINGLE_RATERS, read_case
from sfumato.recipe.recipe import Recipe
from sfumato.structures import Structures
from sfumato.types import Spacing

LOG = logging.getLogger("sfumato.training")


@dataclass(frozen=True)
class PreparedCase:
    """One case on the network's grid.

    Attributes:
        name: The case.
        image: ``(C, *S)`` float32, normalised.
        labels: ``(*S)`` int64, the consensus where there are several raters, or the recipe's one rater.
        labels_per_rater: ``(D, *S)`` int64, or None with one rater.
        target: The method's soft label ``(channels, *S)`` float32. Always there: validation needs it, and
            training uses it unless the label is made after augmentation.
        spacing: mm per axis of this grid.
        rater_targets: The soft label made of each rater's mask alone, ``(D, channels, *S)`` float32, where
            single raters train and labels are made before augmentation; else None.
        target_from_soft: ``target`` is the data set's own class weights: training moves it, whenever labels
            are made.
        labels_from_soft: The case has class weights and no mask: ``labels`` is the class that weighs most.
    """

    name: str
    image: Tensor
    labels: Tensor
    labels_per_rater: Tensor | None
    target: Tensor
    spacing: tuple[float, ...]
    rater_targets: Tensor | None = None
    target_from_soft: bool = False
    labels_from_soft: bool = False

    def of_rater(self, number: int) -> PreparedCase:
        """Return the case as if rater ``number`` had annotated it alone."""
        if self.labels_per_rater is None:
            raise DataError([f"case {self.name} has no mask of a single rater"])
        return replace(
            self,
            labels=self.labels_per_rater[number],
            labels_per_rater=None,
            target=self.target if self.rater_targets is None else self.rater_targets[number],
            rater_targets=None,
        )

    def slice(self, axis: int, index: int) -> PreparedCase:
        """Cut the slice ``index`` perpendicular to spatial ``axis``: a case with one axis less."""
        raters, targets = self.labels_per_rater, self.rater_targets
        return replace(
            self,
            image=self.image.select(axis + 1, index),
            labels=self.labels.select(axis, index),
            labels_per_rater=None if raters is None else raters.select(axis + 1, index),
            target=self.target.select(axis + 1, index),
            spacing=_without(self.spacing, axis),
            rater_targets=None if targets is None else targets.select(axis + 2, index),
        )


class Cases(Protocol):
    """Prepared cases, in memory or on disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> PreparedCase: ...

    def __iter__(self) -> Iterator[PreparedCase]: ...


class CasesOnDisk:
    """Prepared cases that wait in a folder and are read when asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> PreparedCase:
        content = torch.load(self.paths[index], weights_only=True, mmap=True)
        return PreparedCase(**{**content, "spacing": tuple(content["spacing"])})

    def __iter__(self) -> Iterator[PreparedCase]:
        return (self[index] for index in range(len(self)))


def prepare_cases(
    recipe: Recipe,
    dataset: Dataset,
    names: Sequence[str],
    *,
    prepare: Callable[[Recipe, Dataset, CaseFiles], PreparedCase],
    cache: Path,
    title: str,
    bar: bool = False,
) -> Cases:
    """Read, check and preprocess the named cases, all before any training starts.

    Args:
        recipe: Decides the preprocessing, the method, and where the prepared cases wait.
        dataset: Where the cases lie.
        names: Which cases.
        prepare: :func:`prepare_case` or :func:`prepare_training_case`.
        cache: Folder for ``cache: disk``; a case that lies there already is not prepared again.
        title: What they are, for the log.
        bar: Show a progress bar.

    Raises:
        DataError: every case that cannot be read, with its reason.
    """
    by_name = {files.name: files for files in dataset.cases}
    prepared: list[PreparedCase] = []
    paths: list[Path] = []
    problems: list[str] = []
    for name in tqdm(names, desc=f"preparing {title}", disable=not bar, leave=False):
        path = cache / f"{name}.pt"
        try:
            if recipe.cache == "memory":
                prepared.append(prepare(recipe, dataset, by_name[name]))
            else:
                paths.append(path)
                if not path.exists():
                    _store(prepare(recipe, dataset, by_name[name]), path)
        except InputError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise DataError(problems)
    LOG.info("prepared %d %s", len(names), title)
    cases: Cases = prepared if recipe.cache == "memory" else CasesOnDisk(paths)
    _say_weights(cases, recipe, title)
    return cases


def _say_weights(cases: Cases, recipe: Recipe, title: str) -> None:
    """Log what is made of the data set's own class weights: nothing is rounded in silence."""
    kept = hardened = 0
    for case in cases:
        kept += case.target_from_soft
        hardened += case.labels_from_soft and not case.target_from_soft
    if kept:
        rounded = ", rounded after they are moved" if recipe.composed.label_row.binarise else ""
        LOG.info(
            "%d of %d %s: the target is the data set's own class weights%s", kept, len(cases), title, rounded
        )
    if hardened:
        LOG.warning(
            "%d of %d %s have class weights and no mask, but %s makes its label of a hard mask: "
            "it takes the class that weighs most",
            hardened,
            len(cases),
            title,
            recipe.method,
        )


def prepare_case(recipe: Recipe, dataset: Dataset, files: CaseFiles) -> PreparedCase:
    """Read one case and bring it, with the soft label of its reference, onto the network's grid.

    The reference is the case's mask; where the recipe names one rater, that rater's.

    Raises:
        DataError: the case has no mask, or none of the rater.
    """
    return _prepared(recipe, dataset, read_case(recipe, dataset, files))


def prepare_training_case(recipe: Recipe, dataset: Dataset, files: CaseFiles) -> PreparedCase:
    """Prepare one case as :func:`prepare_case` does, with what training on single raters needs.

    Raises:
        DataError: the case has no mask, or none of single raters where the recipe asks for them.
    """
    case = read_case(recipe, dataset, files)
    prepared = _prepared(recipe, dataset, case)
    if recipe.raters not in SINGLE_RATERS:
        return prepared
    if case.labels_per_rater is None:
        raise DataError([f"case {case.name} has no raters' masks, but the recipe's raters: {recipe.raters}"])
    if made_late(recipe):
        return prepared
    alone = [replace(case, labels=mask, labels_per_rater=None) for mask in case.labels_per_rater]
    targets = [_target(recipe, dataset, one, recipe.preprocess.apply(one)) for one in alone]
    return replace(prepared, rater_targets=torch.stack(targets))


def made_late(recipe: Recipe) -> bool:
    """Tell whether training makes the label after augmentation; a mask that is itself moved never waits."""
    return recipe.moment == "after" and not recipe.composed.label_row.moves_mask


def _prepared(recipe: Recipe, dataset: Dataset, case: Case) -> PreparedCase:
    # Weights are moved with the target that is made of them.
    grid = recipe.preprocess.apply(replace(case, soft=None))
    if grid.labels is None:
        raise DataError([f"case {case.name} lost its mask in preprocessing"])
    target = _target(recipe, dataset, case, grid)
    return PreparedCase(
        case.name,
        grid.image,
        grid.labels,
        grid.labels_per_rater,
        target,
        grid.spacing,
        target_from_soft=case.soft is not None,
        labels_from_soft=case.labels_from_soft,
    )


def _target(recipe: Recipe, dataset: Dataset, case: Case, grid: Case) -> Tensor:
    """Make the soft label ``(channels, *S)`` on the prepared ``grid`` of ``case``."""
    chosen, axis = recipe.composed, recipe.slice_axis
    generator = torch.Generator().manual_seed(recipe.seed)

    def label(one: Case) -> Tensor:
        return soft_label(recipe, one, structures=dataset.structures, generator=generator)

    # A mask that is never binarised is made soft by resampling, and class weights are soft already: both
    # start on their own grid.
    if chosen.label_row.moves_mask or case.soft is not None:
        target = label(case)
        target = recipe.preprocess.apply_soft(target, case, kind=chosen.kind)
        return chosen.finished(target)
    if axis is None:
        return label(grid)
    # Labels of slices are made of slices, as they are where training makes them after augmentation.
    slices = [label(slice_of(grid, axis, index)) for index in range(grid.shape[axis])]
    return torch.stack(slices, dim=axis + 1)


def slice_of(case: Case, axis: int, index: int) -> Case:
    """Cut the slice ``index`` of a volume perpendicular to spatial ``axis``: a 2-D case without an affine."""
    labels, raters = case.labels, case.labels_per_rater
    return replace(
        case,
        image=case.image.select(axis + 1, index),
        labels=None if labels is None else labels.select(axis, index),
        labels_per_rater=None if raters is None else raters.select(axis + 1, index),
        spacing=_without(case.spacing, axis),
        affine=None,
        soft=None,
    )


def _without(spacing: Spacing, axis: int) -> Spacing:
    return (*spacing[:axis], *spacing[axis + 1 :])


def _store(case: PreparedCase, path: Path) -> None:
    with atomic_output(path, overwrite=True) as temporary:
        torch.save(dataclasses.asdict(case), temporary)


def soft_label(recipe: Recipe, case: Case, *, structures: Structures, generator: torch.Generator) -> Tensor:
    """Make the recipe's soft label of one image and its masks or weights: ``(channels, *S)`` float32."""
    if case.labels is None:
        raise DataError([f"case {case.name} has no mask to make a soft label of"])
    return recipe.composed.target(
        case.labels,
        case.image,
        num_classes=structures.num_classes,
        spacing=case.spacing,
        labels_per_rater=case.labels_per_rater,
        regions=structures.regions,
        generator=generator,
        soft=case.soft,
    )
