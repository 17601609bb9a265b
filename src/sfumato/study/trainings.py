"""Train the runs of a study that are not finished, wherever an executor trains them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from sfumato.data.case import Dataset
from sfumato.errors import InputError, OutputExistsError
from sfumato.output import atomic_output
from sfumato.recipe.recipe import write_recipe
from sfumato.runs.lock import holds_anything
from sfumato.study.executors import Executor
from sfumato.study.outcomes import Notify, Outcome, settled_outcome, write_outcomes
from sfumato.study.plan import PlannedRun

PLAN = "plan.yaml"  # a folder that has it is a study's


def train_runs(
    runs: Sequence[PlannedRun],
    out: Path,
    executor: Executor,
    *,
    dataset: Dataset | None = None,
    notify: Notify = lambda _: None,
) -> list[Outcome]:
    """Train every run that is not finished, and write ``<out>/runs.csv``.

    A run lies in ``<out>/runs/<name>``, its recipe in ``<out>/recipes/<name>.yaml``. A run that has its
    ``metrics.csv`` and the planned recipe is kept.

    Args:
        runs: What to train.
        out: The study's folder.
        executor: What trains them.
        dataset: Where given, a folder is refused whose split names cases that it lacks, or lacks some that
            it has.
        notify: Told of every run that starts and of every outcome, as it happens.

    Returns:
        One outcome per run, in their order.

    Raises:
        InputError: two runs have one name.
    """
    if len({run.name for run in runs}) < len(runs):
        raise InputError("two runs of the study have one name: their folder would be the same")
    outcomes: dict[str, Outcome] = {}
    waiting: list[PlannedRun] = []
    for run in runs:
        with atomic_output(out / "recipes" / f"{run.name}.yaml", overwrite=True) as temporary:
            write_recipe(run.recipe, temporary)
        early = settled_outcome(run, out / "runs" / run.name, dataset)
        if early is None:
            waiting.append(run)
        else:
            outcomes[run.name] = early
            notify(early)
    # Closed at once where a notification raises: what was started is ended.
    with terminated_like_interrupted(), closing(executor.outcomes(waiting, out, notify=notify)) as ending:
        for outcome in ending:
            outcomes[outcome.run.name] = outcome
            notify(outcome)
    settled = [outcomes[run.name] for run in runs]
    write_outcomes(settled, out / "runs.csv")
    return settled


def open_study(out: Path, plan: Path) -> None:
    """Copy the plan into the folder of its study, which is new or goes on.

    Raises:
        OutputExistsError: the folder holds something that is no study.
    """
    if holds_anything(out) and not (out / PLAN).exists():
        raise OutputExistsError(f"{out} exists already and is no study: give another --out")
    with atomic_output(out / PLAN, overwrite=True) as temporary:
        temporary.write_bytes(plan.read_bytes())


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let a polite kill end the runs' processes too, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may say what a signal does.
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
