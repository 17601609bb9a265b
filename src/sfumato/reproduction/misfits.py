"""Whether the user's data are what an experiment's recipes and tables are for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sfumato.data.case import Dataset
from sfumato.data.readers.layout import listed
from sfumato.data.readers.layouts import LAYOUTS
from sfumato.errors import DataError, SfumatoError
from sfumato.recipe.dataset import SINGLE_RATERS, recipe_dataset
from sfumato.recipe.recipe import Recipe
from sfumato.reproduction.experiments import DataPart

_CONSENSUS = "consensus"
_WHOLE = "all"  # The structure of a metric that looks at all classes together.


def misfits(part: DataPart, dataset: Dataset, recipes: Sequence[Recipe], *, axes: Iterable[int]) -> list[str]:
    """List every way in which a data set is not what an experiment's recipes want, one sentence each.

    Args:
        part: The data set of the experiment.
        dataset: The user's.
        recipes: What is to be trained on it.
        axes: The numbers of axes that its cases have, as far as they could be read.

    Returns:
        What was found and what is wanted: pictures and volumes, channels, labels of regions, structures of
        the tables, raters, and a split that the cases do not allow.
    """
    if not recipes or not dataset.cases:
        return []
    return [
        *_axes(recipes, axes),
        *_channels(part, dataset),
        *_parts(recipes, dataset),
        *_structures(part, dataset, recipes),
        *_raters(part, recipes, dataset),
        *_splits(recipes, dataset),
    ]


def _axes(recipes: Sequence[Recipe], axes: Iterable[int]) -> list[str]:
    wanted = {recipe.data_axes for recipe in recipes}
    other = sorted(set(axes) - wanted)
    return [
        f"the cases are {_form(axes)}, but the recipes are for {' or '.join(map(_form, sorted(wanted)))}"
        for axes in other
    ]


def _form(axes: int) -> str:
    return "3-D volumes" if axes == 3 else f"{axes}-D pictures"


def _channels(part: DataPart, dataset: Dataset) -> list[str]:
    wanted, names = LAYOUTS[part.layout].channels, dataset.channel_names
    if not wanted or len(names) == len(wanted):
        return []
    number = "1 channel" if len(names) == 1 else f"{len(names)} channels"
    return [
        f"the cases have {number} ({', '.join(names)}), but the recipes are for {len(wanted)} "
        f"({', '.join(wanted)})"
    ]


def _parts(recipes: Sequence[Recipe], dataset: Dataset) -> list[str]:
    """List what the recipes themselves name and the data set lacks: raters, and labels of regions."""
    # Without cases nothing is read: the axes were compared above.
    declared = replace(dataset, cases=())
    problems: dict[str, None] = {}
    for recipe in recipes:
        # Where there are no raters at all, one sentence says so for all recipes.
        named = recipe if dataset.rater_names else recipe.replace(raters=_CONSENSUS)
        try:
            recipe_dataset(named, declared)
        except DataError as error:
            problems |= dict.fromkeys(error.problems)
    return list(problems)


def _structures(part: DataPart, dataset: Dataset, recipes: Sequence[Recipe]) -> list[str]:
    """List the structures that the tables name and the data set does not have."""
    names = [name for label, name in sorted(dataset.label_names.items()) if label]
    known = set(names if dataset.regions is None else dataset.regions)
    if all(recipe.regions is not None for recipe in recipes):
        known = {name for recipe in recipes for name in recipe.regions or ()}
    absent = dict.fromkeys(name for name, _ in _asked(part) if name not in known and name != _WHOLE)
    if not absent:
        return []
    return [
        f"the table is of {', '.join(absent)}, but the data set's structures are "
        f"{', '.join(sorted(known)) or 'none'}: name its labels or regions so in dataset.json"
    ]


def _asked(part: DataPart) -> list[tuple[str, str]]:
    """Return every structure of the tables, and the rater it is compared with; empty: the reference."""
    places = [
        place.partition("@")
        for measure in part.metrics.values()
        for several in measure.structures.values()
        for place in several
    ]
    return [(name, rater) for name, _, rater in places]


def _raters(part: DataPart, recipes: Sequence[Recipe], dataset: Dataset) -> list[str]:
    """List the raters whom the data set lacks, and the cases that lack the mask a recipe trains on."""
    wanted = dict.fromkeys(recipe.raters for recipe in recipes if recipe.raters != _CONSENSUS)
    known = dataset.rater_names
    absent = dict.fromkeys(rater for _, rater in _asked(part) if rater and rater not in known)
    if not known and (wanted or absent):
        return ["the recipes and tables are of single raters' masks, but the data set has one mask per case"]
    problems = []
    if absent:
        problems.append(f"the table is of the masks of {', '.join(absent)}, but there are {', '.join(known)}")
    for rater in wanted:
        if rater in SINGLE_RATERS:
            lacking = [files.name for files in dataset.cases if not files.rater_masks]
        elif rater in dataset.rater_names:
            index = dataset.rater_names.index(rater)
            lacking = [files.name for files in dataset.cases if files.mask_of(index) is None]
        else:
            continue  # There is no such rater: another sentence says so.
        if lacking:
            problems.append(
                f"the recipes train on raters: {rater}, but there is no such mask of {listed(lacking)}"
            )
    return problems


def _splits(recipes: Sequence[Recipe], dataset: Dataset) -> list[str]:
    if any(recipe.split.by == "centre" for recipe in recipes):
        unknown = [files.name for files in dataset.cases if files.centre is None]
        if unknown:
            return [f"the recipes split by centre, but no centre is told of {listed(unknown)}"]
    problems: dict[str, None] = {}
    for split in {recipe.split.model_dump_json(): recipe.split for recipe in recipes}.values():
        try:
            split.splits(dataset).fold(split.fold)
        except SfumatoError as error:
            problems[f"the recipes' split is not possible: {error}"] = None
    return list(problems)
