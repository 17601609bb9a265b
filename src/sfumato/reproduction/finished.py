"""Which finished runs in a folder the tables of an experiment are made of, and which are left out."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfumato.data.case import Dataset
from sfumato.errors import SfumatoError
from sfumato.recipe.recipe import Recipe, read_recipe
from sfumato.reproduction.experiments import DataPart, Experiment
from sfumato.reproduction.plan import planned_runs
from sfumato.reproduction.smoke import smoke_recipe
from sfumato.study.outcomes import METRICS, Outcome, settled_outcome
from sfumato.study.plan import PlannedRun


@dataclass(frozen=True)
class Finished:
    """The finished runs on one data set.

    Attributes:
        taken: Folders of the runs that are the experiment's, by name.
        stale: Why a run is left out that has the name of one of the experiment's trainings, in one sentence.
        trainings: The training of every run that is left out.
        others: Names of the folders of all finished runs that are not taken, also of other experiments'.
    """

    taken: tuple[Path, ...]
    stale: Mapping[str, str]
    trainings: Mapping[str, str]
    others: frozenset[str]


def finished_runs(
    experiment: Experiment, part: DataPart, folder: Path, *, dataset: Dataset | None, smoke: bool
) -> Finished:
    """Look through every finished run on one data set, whenever and with whatever options it was trained.

    A run is taken where its recipe is the one that the experiment gives its training, seed and fold now, and
    its split names just the cases that the data have now.

    Args:
        experiment: Whose tables are made.
        part: The data set.
        folder: The runs' folder; there may be none.
        dataset: Its cases; None where they are not at hand: then they are not compared.
        smoke: The runs are the small ones of a try.
    """
    taken: list[Path] = []
    stale: dict[str, str] = {}
    trainings: dict[str, str] = {}
    names = {training.name for training in experiment.trainings(part.layout)}
    runs = sorted(path.parent for path in folder.glob(f"*/{METRICS}"))
    for run in runs:
        try:
            recipe = read_recipe(run / "recipe.yaml")
        except SfumatoError as error:
            stale[run.name] = " ".join(str(error).split())
            continue
        if recipe.title not in names:
            continue
        reason = _reason(experiment, part, run, recipe, dataset=dataset, smoke=smoke)
        if reason is None:
            taken.append(run)
        else:
            stale[run.name], trainings[run.name] = reason, recipe.title
    others = frozenset(run.name for run in runs) - {run.name for run in taken}
    return Finished(tuple(taken), stale, trainings, others)


def _reason(
    experiment: Experiment, part: DataPart, run: Path, recipe: Recipe, *, dataset: Dataset | None, smoke: bool
) -> str | None:
    """Say why a run is left out; None: it is the experiment's."""
    if run.name != recipe.run_name:
        return f"{run} is a copy of {recipe.run_name}: its name is not its recipe's"
    planned = planned_runs(experiment, part, trainings=[recipe.title], seeds=[recipe.seed])
    for entry in planned:
        if entry.name == run.name:
            whole = PlannedRun(entry.name, smoke_recipe(entry.recipe)) if smoke else entry
            outcome = settled_outcome(whole, run, dataset)
            return outcome.message or None if outcome is not None else None
    return f"{run} is fold {recipe.split.fold}, which the experiment does not have"


def reasons(
    experiment: Experiment,
    given: Container[str],
    finished: Mapping[str, Finished],
    outcomes: Mapping[str, Sequence[Outcome]],
) -> dict[tuple[str, str], str]:
    """Say of every training why it has no finished run, in case it has none.

    Args:
        experiment: Whose trainings.
        given: Kinds of the data sets that were given now.
        finished: Layout of a data set to its finished runs.
        outcomes: Layout of a data set to what was asked for now, and what became of it.

    Returns:
        (Layout of a data set, training) to the reason, in a few words.
    """
    why: dict[tuple[str, str], str] = {}
    for part in experiment.content.data:
        ended = outcomes.get(part.layout, ())
        failed = {outcome.run.recipe.title for outcome in ended if outcome.state == "failed"}
        stale = set(finished[part.layout].trainings.values())
        for training in experiment.trainings(part.layout):
            if training.name in failed:
                reason = "failed"
            elif training.name in stale:
                reason = "left out, see the note"
            else:
                reason = "not asked for" if part.layout in given else "its data were not given"
            why[part.layout, training.name] = reason
    return why
