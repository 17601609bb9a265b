"""A data set as one recipe sees it, and every way in which the two do not fit."""

from __future__ import annotations

import dataclasses

from sfumato.data import Case, CaseFiles, Dataset, load_case
from sfumato.errors import DataError, SfumatoError, UnknownNameError
from sfumato.recipe.recipe import Recipe

SINGLE_RATERS = ("all", "random")
RATER_CHOICES = ("consensus", *SINGLE_RATERS)


def recipe_dataset(recipe: Recipe, dataset: Dataset) -> Dataset:
    """Return the data set with the recipe's regions, after checking that the recipe fits it.

    Args:
        recipe: What is to be trained.
        dataset: The cases. Of their files only the first case's are read, to count its axes.

    Raises:
        DataError: every way in which the recipe does not fit: a rater or a label of a region that the data
            set lacks, another number of spatial axes.
    """
    problems = [*_rater_problems(recipe, dataset), *_region_problems(recipe, dataset)]
    problems += _axis_problems(recipe, dataset)
    if problems:
        raise DataError(problems)
    return dataset if recipe.regions is None else dataclasses.replace(dataset, regions=recipe.regions)


def _rater_problems(recipe: Recipe, dataset: Dataset) -> list[str]:
    if recipe.raters == "consensus":
        return []
    if not dataset.rater_names:
        return [f"the recipe's raters is {recipe.raters!r}, but {dataset.name} has one mask per case"]
    known = (*RATER_CHOICES, *dataset.rater_names)
    if recipe.raters not in known:
        return [f"the recipe's raters: {UnknownNameError('rater', recipe.raters, known)}"]
    return []


def _region_problems(recipe: Recipe, dataset: Dataset) -> list[str]:
    known = ", ".join(f"{index} {name}" for index, name in dataset.label_names.items())
    return [
        f"the recipe's region {region!r} has label {index}, but {dataset.name} has the labels {known}"
        for region, indices in (recipe.regions or {}).items()
        for index in indices
        if index not in dataset.label_names
    ]


def _axis_problems(recipe: Recipe, dataset: Dataset) -> list[str]:
    try:
        axes = len(load_case(dataset.cases[0], dataset).spacing)
    except (IndexError, SfumatoError):
        # No case, or one that cannot be read: whoever reads all cases lists it with the others.
        return []
    cases, size = f"the cases of {dataset.name} are {axes}-D", list(recipe.patch.size)
    if recipe.slice_axis is not None and axes == 2:
        return [f"{cases}, but the recipe's slice_axis {recipe.slice_axis} cuts volumes: set it to null"]
    if axes != recipe.data_axes:
        hint = "; slice_axis trains a 2-D network on slices" if axes == 3 else ""
        return [f"{cases}, but the recipe's patch.size {size} is for {recipe.data_axes}-D data{hint}"]
    return []


def read_case(recipe: Recipe, dataset: Dataset, files: CaseFiles) -> Case:
    """Read one case on its own grid; its mask is the reference that the recipe trains and tunes on.

    That is the case's mask; where the recipe names one rater, that rater's. Class weights are kept where
    the recipe's method makes its target of them, which it never does when it trains on single raters.

    Raises:
        DataError: the case has no mask, or none of the rater.
    """
    case = load_case(files, dataset)
    if recipe.raters not in RATER_CHOICES:
        mask = files.mask_of(dataset.rater_names.index(recipe.raters))
        if mask is None or case.labels_per_rater is None:
            raise DataError([f"case {case.name} has no mask of rater {recipe.raters}"])
        case = dataclasses.replace(case, labels=case.labels_per_rater[mask], labels_per_rater=None)
    if case.labels is None:
        raise DataError([f"case {case.name} has no mask: training and validation need one"])
    kept = recipe.composed.takes_weights(beside_mask=not case.labels_from_soft)
    return case if kept and recipe.raters == "consensus" else dataclasses.replace(case, soft=None)
