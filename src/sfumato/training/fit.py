"""Fit one recipe on one data set: a run folder that can be killed at any moment and resumed to the bit."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tqdm import tqdm

from sfumato.data.case import Dataset
from sfumato.data.splits import Split, count_note
from sfumato.errors import InputError
from sfumato.model.checkpoint import CONTENT, model_of, read_checkpoint
from sfumato.model.model import SegmentationTask, recipe_device
from sfumato.model.threshold import tuned_threshold
from sfumato.output import atomic_output
from sfumato.recipe.dataset import recipe_dataset
from sfumato.recipe.recipe import Recipe
from sfumato.runs.folder import RunFolder
from sfumato.training.callbacks import History
from sfumato.training.cases import Cases, prepare_case, prepare_cases, prepare_training_case
from sfumato.training.empty_predictions import EmptyPredictions
from sfumato.training.module import SegmentationModule
from sfumato.training.patches import case_loader, patch_loader
from sfumato.training.snapshots import FILE as SNAPSHOTS
from sfumato.training.snapshots import ShownSlice, Snapshots, shown_slice

LOG = logging.getLogger("sfumato.training")


def fit(
    recipe: Recipe, dataset: Dataset, out: Path, *, resume: bool = False, overwrite: bool = False
) -> RunFolder:
    """Train one recipe and leave a complete run folder.

    Args:
        recipe: What to train.
        dataset: The cases; they are split by ``recipe.split``.
        out: The run folder.
        resume: Go on from the last finished epoch of ``out``; a finished run is left as it is. On the CPU
            with the same worker count, the weights end equal to the bit to those of an unbroken run.
        overwrite: Replace an existing run folder.

    Returns:
        The run folder, with ``checkpoints/best.ckpt`` (the tuned threshold inside) and ``finished.json``.

    Raises:
        OutputExistsError: ``out`` exists and neither ``resume`` nor ``overwrite`` was given.
        CheckpointError: ``resume`` with another recipe than the run was started with.
        DataError: no training, validation or labelled case.
        InputError: a GPU is asked for where there is none; or another process is writing to ``out``.
    """
    require_accelerator(recipe)
    dataset = recipe_dataset(recipe, dataset)
    folder = RunFolder(out, writes=is_first_process())
    with folder.alone():
        splits = folder.open(recipe, dataset, resume=resume, overwrite=overwrite)
        if folder.finished:
            LOG.info("%s is finished already: nothing to do", out)
        else:
            _fit(recipe, dataset, splits, folder)
    return folder


def _fit(recipe: Recipe, dataset: Dataset, splits: Split, folder: RunFolder) -> None:
    started = time.perf_counter()
    with folder.logging(), _quiet():
        note = count_note(dataset, recipe.split.counts)
        if note:
            LOG.warning(note)
        train, validation = _prepared(recipe, dataset, splits, folder)
        # The network's first weights depend on the seed alone, not on what was drawn while preparing.
        lightning.seed_everything(recipe.seed, workers=True, verbose=False)
        module = SegmentationModule(recipe, SegmentationTask.of(dataset, in_channels=train[0].image.shape[0]))
        _train(module, train, validation, folder)
        if not folder.writes:
            return
        best = read_checkpoint(folder.best_checkpoint)
        _tune(best, dataset, (*splits.train, *splits.val), folder)
        _finish(best, folder, seconds=time.perf_counter() - started)


def is_first_process() -> bool:
    """Return whether this is the first of Lightning's processes, one per device: the one that writes."""
    return getattr(rank_zero_only, "rank", 0) in (0, None)


def require_accelerator(recipe: Recipe) -> None:
    """Raise where the recipe asks for a GPU and torch finds none."""
    if recipe.accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError(
            "the recipe asks for accelerator: gpu, but torch finds no GPU on this machine: "
            "set accelerator: cpu (or auto), or install a CUDA build of torch"
        )


def _prepared(recipe: Recipe, dataset: Dataset, splits: Split, folder: RunFolder) -> tuple[Cases, Cases]:
    prepare = partial(prepare_cases, recipe, dataset, cache=folder.path / "cache", bar=folder.interactive)
    train = prepare(splits.train, prepare=prepare_training_case, title="training cases")
    return train, prepare(splits.val, prepare=prepare_case, title="validation cases")


def _train(module: SegmentationModule, train: Cases, validation: Cases, folder: RunFolder) -> None:
    recipe = module.recipe
    last = folder.path / "checkpoints" / "last.ckpt"
    resume_from = last if last.exists() else None
    if resume_from is not None and _stopped_early(resume_from):
        return
    trainer = lightning.Trainer(
        accelerator=recipe.accelerator,
        devices=recipe.devices,
        precision=recipe.precision,
        max_epochs=recipe.epochs,
        check_val_every_n_epoch=recipe.validate_every,
        num_sanity_val_steps=0,
        deterministic="warn",
        logger=TensorBoardLogger(folder.path, name="tensorboard", version=""),
        callbacks=_callbacks(module, folder, shown_slice(module.model, validation)),
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder.path,
        enable_progress_bar=folder.interactive,
    )
    device = trainer.strategy.root_device.type
    patches = patch_loader(train, recipe, trainer=trainer, structures=module.model.structures, device=device)
    trainer.fit(module, patches, case_loader(validation), ckpt_path=resume_from, weights_only=True)


def _callbacks(module: SegmentationModule, folder: RunFolder, shown: ShownSlice) -> list[Callback]:
    recipe, checkpoints = module.recipe, folder.path / "checkpoints"
    callbacks: list[Callback] = [History(folder.path / "history.csv", epochs=recipe.epochs)]
    if folder.interactive:
        callbacks.append(TQDMProgressBar(refresh_rate=5))
    callbacks.append(Snapshots(folder.path / SNAPSHOTS, shown, epochs=recipe.epochs))
    if module.model.method.activation_row.name == "norm-relu":
        callbacks.append(EmptyPredictions(module.model.structures.names))
    if recipe.patience is not None:
        callbacks.append(
            EarlyStopping(
                "val_dice",
                mode="max",
                patience=recipe.patience,
                min_delta=recipe.min_delta,
                # After the validation, so that at the epoch's end it is known whether this was the last.
                check_on_train_epoch_end=False,
            )
        )
    # Two callbacks, because one that keeps the best saves the last only when the best is saved.
    save = partial(
        ModelCheckpoint, dirpath=checkpoints, save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks.append(
        save(filename="best", monitor="val_dice", mode="max", every_n_epochs=recipe.validate_every)
    )
    callbacks.append(save(filename="last", every_n_epochs=1))
    return callbacks


def _stopped_early(checkpoint: Path) -> bool:
    for name, state in read_checkpoint(checkpoint)["callbacks"].items():
        if name.startswith("EarlyStopping"):
            return bool(state["wait_count"] >= state["patience"])
    return False


def _tune(best: dict[str, Any], dataset: Dataset, names: Sequence[str], folder: RunFolder) -> None:
    """Choose the threshold on training and validation cases, where the method asks for a tuned one.

    It is the best on the images' own grids, on which predictions are scored, and not on the network's. It is
    put into ``best``, the content of the best checkpoint, and into the checkpoint itself.
    """
    model = model_of(best, source=str(folder.best_checkpoint), trust_code=True)
    if not model.method.decoder_row.tuned:
        return
    LOG.info("tuning the threshold on %d cases, each on its own grid", len(names))
    bar = partial(tqdm, desc="tuning the threshold", disable=not folder.interactive, leave=False)
    search = tuned_threshold(model.to(recipe_device(model.recipe)), dataset, names, progress=bar)
    best[CONTENT]["threshold"] = search.best()
    with atomic_output(folder.path / "threshold.csv", overwrite=True) as temporary:
        lines = [f"{value:.2f},{mean!r}" for value, mean in search.mean_dice().items()]
        temporary.write_text("\n".join(["threshold,dice", *lines]) + "\n", "utf-8")
    with atomic_output(folder.best_checkpoint, overwrite=True) as temporary:
        torch.save(best, temporary)
    LOG.info("tuned threshold: %.2f", best[CONTENT]["threshold"])


def _finish(best: dict[str, Any], folder: RunFolder, *, seconds: float) -> None:
    states = (state for name, state in best["callbacks"].items() if name.startswith("ModelCheckpoint"))
    scores = (state["best_model_score"] for state in states if state.get("monitor") == "val_dice")
    score = next(scores, None)
    report = {
        "best_epoch": int(best["epoch"]),
        "val_dice": None if score is None else float(score),
        "threshold": best[CONTENT]["threshold"],
        "seconds": round(seconds, 1),
    }
    with atomic_output(folder.path / "finished.json", overwrite=True) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    folder.clear_cache()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice about worker counts and the like out of the user's terminal."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(lightning|torch|monai|torchmetrics)\b.*")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
