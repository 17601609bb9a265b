"""Prepared cases: read, checked, preprocessed and labelled once, before any training."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from sfumato.data import load_case
from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.output import atomic_output
from sfumato.data.preprocess import Preprocessing
from sfumato.errors import DataError, InputError
from sfumato.methods import Method, method
from sfumato.training.recipe import Recipe

LOG = logging.getLogger("sfumato.training")


@dataclass(frozen=True)
class PreparedCase:
    """One case on the network's grid.

    Attributes:
        name: The case.
        image: ``(C, *S)`` float32, normalised.
        labels: ``(*S)`` int64, the consensus where there are several raters.
        labels_per_rater: ``(D, *S)`` int64, or None with one rater.
        target: The method's soft label ``(channels, *S)`` float32. Always there: validation needs it, and
            training uses it unless the label is made after augmentation.
        spacing: mm per axis of this grid.
    """

    name: str
    image: Tensor
    labels: Tensor
    labels_per_rater: Tensor | None
    target: Tensor
    spacing: tuple[float, ...]


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


def preprocessing(recipe: Recipe) -> Preprocessing:
    """The recipe's preprocessing part as the data layer's own settings."""
    part = recipe.preprocess
    return Preprocessing(
        spacing=part.spacing,
        intensity=part.intensity,
        ct_window=part.ct_window,
        crop_size=part.crop_size,
        clip_percentiles=part.clip_percentiles,
    )


def prepare_cases(
    recipe: Recipe, dataset: Dataset, names: Sequence[str], *, cache: Path, title: str, bar: bool = False
) -> Cases:
    """Read, check and preprocess the named cases, all before any training starts.

    Args:
        recipe: Decides the preprocessing, the method, and where the prepared cases wait.
        dataset: Where the cases lie.
        names: Which cases.
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
                prepared.append(prepare_case(recipe, dataset, by_name[name]))
            else:
                paths.append(path)
                if not path.exists():
                    _store(prepare_case(recipe, dataset, by_name[name]), path)
        except InputError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise DataError(problems)
    LOG.info("prepared %d %s", len(names), title)
    return prepared if recipe.cache == "memory" else CasesOnDisk(paths)


def prepare_case(recipe: Recipe, dataset: Dataset, files: CaseFiles) -> PreparedCase:
    """Read one case and bring it, with its soft label, onto the network's grid.

    Raises:
        DataError: the case has no mask.
    """
    case = load_case(files, dataset)
    if case.labels is None:
        raise DataError([f"case {case.name} has no mask: training and validation need one"])
    chosen, num_classes = method(recipe.method), len(dataset.label_names)
    settings = preprocessing(recipe)
    grid = settings.apply(case)
    if grid.labels is None:
        raise DataError([f"case {case.name} lost its mask in preprocessing"])
    # A mask that is never binarised is made soft by resampling: it starts on its own grid.
    source = case if chosen.moves_mask else grid
    target = soft_label(
        recipe,
        source.image,
        grid.labels if source is grid else case.labels,
        source.labels_per_rater,
        spacing=source.spacing,
        num_classes=num_classes,
        regions=dataset.regions,
    )
    if source is case:
        target = settings.apply_soft(target, case, padding=outside(chosen, len(target)))
        target = chosen.finished(target)
    return PreparedCase(case.name, grid.image, grid.labels, grid.labels_per_rater, target, grid.spacing)


def outside(chosen: Method, channels: int) -> list[float]:
    """The target's value beyond the image, per channel."""
    first, others = chosen.padding
    return [first] + [others] * (channels - 1)


def _store(case: PreparedCase, path: Path) -> None:
    with atomic_output(path, overwrite=True) as temporary:
        torch.save(dataclasses.asdict(case), temporary)


def soft_label(
    recipe: Recipe,
    image: Tensor,
    labels: Tensor,
    labels_per_rater: Tensor | None,
    *,
    spacing: tuple[float, ...],
    num_classes: int,
    regions: Mapping[str, tuple[int, ...]] | None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The recipe's soft label of one image and mask: ``(channels, *S)`` float32."""
    chosen: Method = method(recipe.method)
    return chosen.target(
        labels,
        image,
        num_classes=num_classes,
        spacing=spacing,
        labels_per_rater=labels_per_rater,
        regions=regions,
        options=recipe.label,
        generator=generator if generator is not None else torch.Generator().manual_seed(recipe.seed),
    )
