"""From an experiment to its trainings: one complete recipe per row, seed and fold."""

from __future__ import annotations

from collections.abc import Sequence

from sfumato.errors import InputError, UnknownNameError
from sfumato.recipe.recipe import Recipe
from sfumato.reproduction.experiments import DataPart, Experiment, Training
from sfumato.study.plan import PlannedRun


def chosen_trainings(experiment: Experiment, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the trainings that are asked for, in the table's order.

    Args:
        experiment: Where they stand.
        wanted: Names of trainings (``LS (0.1)``) or of methods (``ls``: every training with that method);
            upper and lower case do not matter. None: all of them.

    Raises:
        UnknownNameError: a name is neither; the nearest one is suggested.
    """
    known = [(training.name, training.method) for training in experiment.content.trainings]
    if wanted is None:
        return tuple(name for name, _ in known)
    names: set[str] = set()
    for text in wanted:
        # A training that is called exactly so comes before every training of a method of that name.
        by_name = {name for name, _ in known if name.lower() == text.lower()}
        matches = by_name or {name for name, method in known if method == text.lower()}
        if not matches:
            texts = list(dict.fromkeys(text for pair in known for text in pair))
            raise UnknownNameError(f"training of {experiment.name}", text, texts)
        names |= matches
    return tuple(name for name, _ in known if name in names)


def planned_runs(
    experiment: Experiment,
    part: DataPart,
    *,
    trainings: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> tuple[PlannedRun, ...]:
    """Return every training on one data set; all rows of one seed and fold come before the next.

    Args:
        experiment: What is trained.
        part: On which of its data sets.
        trainings: Names of its trainings; None: all.
        seeds: In place of the experiment's own.

    Raises:
        InputError: a seed is negative or named twice.
        RecipeError: a row does not fit its recipe.
    """
    chosen = experiment.content.seeds if seeds is None else tuple(seeds)
    if not chosen or min(chosen) < 0 or len(set(chosen)) < len(chosen):
        raise InputError(
            f"seeds are {', '.join(map(str, chosen)) or 'none'}: give whole numbers from 0, each once"
        )
    rows = [row for row in experiment.trainings(part.layout) if trainings is None or row.name in trainings]
    runs = []
    for seed in chosen:
        for fold in range(part.folds or 1):
            for training in rows:
                recipe = _recipe(experiment, part, training, seed, fold)
                runs.append(PlannedRun(recipe.run_name, recipe))
    return tuple(runs)


def _recipe(experiment: Experiment, part: DataPart, training: Training, seed: int, fold: int) -> Recipe:
    base = experiment.recipes[part.layout, training.architecture]
    split = base.split.model_dump(mode="json")
    if part.folds is not None:
        # Centres are their own folds: how many there are, the data say.
        split |= {"fold": fold} | ({} if base.split.by == "centre" else {"folds": part.folds})
    if experiment.content.resplit:
        split["seed"] = seed
    return base.replace(
        name=training.name,
        method=training.method,
        label=training.label,
        activation=training.activation,
        loss=training.loss,
        decoder=training.decoder,
        raters=training.raters,
        seed=seed,
        split=split,
    )
