"""What became of the runs of a study: kept, finished or failed, and why."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sfumato.data import Dataset, read_splits
from sfumato.errors import InputError, MachineError, SfumatoError
from sfumato.output import atomic_output
from sfumato.recipe.recipe import differences, read_recipe
from sfumato.study.plan import PlannedRun

METRICS = "metrics.csv"  # a run that has it is complete
State = Literal["finished", "kept", "failed"]


@dataclass(frozen=True)
class Started:
    """A run has started, in a process of its own or in this one."""

    run: PlannedRun
    process: int


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes:
        run: The run.
        folder: Its folder.
        state: ``finished`` now; ``kept``: it was finished already; or ``failed``.
        seconds: How long it took; 0 where nothing was run.
        message: Why it failed, in one line; else empty.
        log: What its process printed; None where nothing was run.
        machine: The failure is the machine's (a killed process, a full disk), not the input's.
    """

    run: PlannedRun
    folder: Path
    state: State
    seconds: float = 0.0
    message: str = ""
    log: Path | None = None
    machine: bool = False


Notify = Callable[[Started | Outcome], None]


def settled_outcome(run: PlannedRun, folder: Path, dataset: Dataset | None) -> Outcome | None:
    """Return the outcome of a run that needs no training: finished already, or in the way; else None."""
    recipe = folder / "recipe.yaml"
    if not recipe.exists():
        return None
    try:
        differing = differences(read_recipe(recipe), run.recipe)
        if differing:
            raise InputError(
                f"{folder} holds a run of another recipe (its own and the plan's: {'; '.join(differing)}): "
                "remove it, or give another --out"
            )
        if dataset is not None:
            _require_same_cases(folder, dataset)
    except SfumatoError as error:
        return Outcome(run, folder, "failed", message=one_line(str(error)))
    return Outcome(run, folder, "kept") if (folder / METRICS).exists() else None


def _require_same_cases(folder: Path, dataset: Dataset) -> None:
    split = read_splits(folder / "splits.json", dataset).splits[0]
    new = sorted(set(dataset.names).difference(split.train, split.val, split.test))
    if new:
        named = ", ".join(new[:3]) + (", …" if len(new) > 3 else "")
        raise InputError(
            f"{folder} was divided before the data had {len(new)} of their {len(dataset.cases)} cases "
            f"({named}): remove it, or give another --out"
        )


def one_line(text: str) -> str:
    """Join the lines of a message."""
    return " ".join(text.split())


def write_outcomes(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write one line per run: ``run, method, seed, fold, state, seconds, message, log``."""
    lines: list[Sequence[object]] = [("run", "method", "seed", "fold", "state", "seconds", "message", "log")]
    for outcome in outcomes:
        recipe = outcome.run.recipe
        where = (outcome.run.name, recipe.method, recipe.seed, recipe.split.fold)
        lines.append((*where, outcome.state, round(outcome.seconds, 1), outcome.message, outcome.log or ""))
    with (
        atomic_output(path, overwrite=True) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        csv.writer(stream, lineterminator="\n").writerows(lines)


def require_all(outcomes: Sequence[Outcome]) -> None:
    """Raise unless every run is finished; the message lists those that are not.

    Raises:
        MachineError: at least one failure is the machine's.
        InputError: all failures are the input's.
    """
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    if not failed:
        return
    lines = [f"{len(failed)} of {len(outcomes)} runs failed:"]
    for outcome in failed:
        log = f" (log: {outcome.log})" if outcome.log else ""
        lines.append(f"{outcome.run.name}: {outcome.message}{log}")
    error = MachineError if any(outcome.machine for outcome in failed) else InputError
    raise error("\n  ".join(lines))
