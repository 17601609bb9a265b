"""A run is a folder: what it holds from the start, what it may be resumed with, and its log."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from sfumato.data import Dataset, Split, Splits, read_splits, write_splits
from sfumato.errors import CheckpointError, DataError, OutputExistsError
from sfumato.output import atomic_output
from sfumato.recipe.recipe import Recipe, differences, read_recipe, write_recipe
from sfumato.runs.lock import LOCK, holds_anything, sole_writer

LIBRARIES = ("sfumato", "torch", "lightning", "monai", "numpy", "scipy", "numba", "scikit-image", "nibabel")


class RunFolder:
    """The folder of one training run.

    Args:
        path: Where it is, or will be.
        interactive: Show a progress bar; by default only on a terminal.
        writes: This process writes. Of the processes of one training, one per device, only the first does.
    """

    def __init__(self, path: Path, *, interactive: bool | None = None, writes: bool = True) -> None:
        self.path = Path(path)
        self.interactive = sys.stderr.isatty() if interactive is None else interactive
        self.writes = writes

    @property
    def finished(self) -> bool:
        """True once training, selection and threshold are complete."""
        return (self.path / "finished.json").exists()

    @property
    def best_checkpoint(self) -> Path:
        """The checkpoint with the best validation Dice."""
        return self.path / "checkpoints" / "best.ckpt"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other process write to the run, as long as this lasts; the folder is made.

        Raises:
            InputError: another process does; its id is named.
        """
        if not self.writes:
            yield
            return
        with sole_writer(self.path):
            yield

    def open(self, recipe: Recipe, dataset: Dataset, *, resume: bool, overwrite: bool) -> Split:
        """Create the folder, or check that an existing one may be resumed.

        Returns:
            The split, written to ``splits.json`` when the run was started.

        Raises:
            OutputExistsError: the folder holds something and neither ``resume`` nor ``overwrite`` is given.
            CheckpointError: the folder's recipe differs from ``recipe``; the differing keys are named.
            DataError: the split leaves no training or no validation case.
        """
        if not self.writes:
            return read_splits(self.path / "splits.json").fold(recipe.split.fold)
        started = (self.path / "recipe.yaml").exists()
        filled = holds_anything(self.path)
        if filled and not overwrite:
            if not resume:
                raise OutputExistsError(
                    f"{self.path} exists already: give --resume to go on with it, --overwrite to replace it, "
                    "or another --out"
                )
            if started:
                return self._reopen(recipe)
        splits = _new_splits(recipe, dataset)
        # An existing run goes only after everything that can be wrong with the new one.
        if filled and overwrite:
            self._remove(started=started)
        (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_splits(splits, self.path / "splits.json", overwrite=True)
        self._write_environment(dataset)
        # The recipe comes last: a folder with a recipe has everything that resuming needs.
        with atomic_output(self.path / "recipe.yaml", overwrite=True) as temporary:
            write_recipe(recipe, temporary)
        return splits.fold(recipe.split.fold)

    def _reopen(self, recipe: Recipe) -> Split:
        differing = differences(read_recipe(self.path / "recipe.yaml"), recipe)
        if differing:
            raise CheckpointError(
                f"{self.path} was started with another recipe (run and recipe: {'; '.join(differing)}): "
                "resume with the run's own recipe.yaml, or give another --out"
            )
        return read_splits(self.path / "splits.json").fold(recipe.split.fold)

    def _remove(self, *, started: bool) -> None:
        if not started and not (self.path / "splits.json").exists():
            raise OutputExistsError(
                f"{self.path} is not a run folder (it has no recipe.yaml): it is not removed, "
                "give another --out"
            )
        for path in self.path.iterdir():
            if path.name == LOCK:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _write_environment(self, dataset: Dataset) -> None:
        source = dataset.source or str(dataset.root.absolute())
        content = {**environment(), "data": source, "kind": dataset.layout, "dataset": dataset.name}
        with atomic_output(self.path / "environment.json", overwrite=True) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Write everything that our loggers say to ``log.txt``, with times, as long as this lasts."""
        if not self.writes:
            yield
            return
        handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
        logger = logging.getLogger("sfumato")
        level = logger.level
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        try:
            yield
        except BaseException as error:
            logger.error("stopped: %s: %s", type(error).__name__, error)
            raise
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            handler.close()

    def clear_cache(self) -> None:
        """Remove the prepared cases, which only an unfinished run needs."""
        shutil.rmtree(self.path / "cache", ignore_errors=True)


def _new_splits(recipe: Recipe, dataset: Dataset) -> Splits:
    """Divide the cases as the recipe says; its fold has cases to train on and to choose by."""
    splits = recipe.split.splits(dataset)
    chosen = splits.fold(recipe.split.fold)
    for name, names in (("training", chosen.train), ("validation", chosen.val)):
        if not names:
            raise DataError(
                [f"the split leaves no {name} case of {len(dataset.cases)}: change the recipe's split"]
            )
    return splits


def environment() -> dict[str, Any]:
    """Return versions, machine and command of this process, as written to ``environment.json``."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": versions,
    }
