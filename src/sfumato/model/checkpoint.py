"""Checkpoints: tensors and plain data only, so that opening a foreign file runs none of its code."""

from __future__ import annotations

import dataclasses
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import sfumato
from sfumato.errors import CheckpointError, FileFormatError
from sfumato.methods.compose import Reading, without_own_code
from sfumato.model.model import Model, SegmentationTask
from sfumato.recipe.recipe import parse_recipe

CONTENT = "sfumato"  # the checkpoint's key under which everything of ours lies
NETWORK = "network."  # what the names of the network's weights begin with


def load(path: Path | str, *, device: torch.device | str = "cpu", trust_code: bool = False) -> Model:
    """Load a checkpoint of ``sfumato train`` for prediction, its tuned threshold included.

    Args:
        path: The checkpoint, or a run folder (its best checkpoint is taken).
        device: Where the network goes.
        trust_code: Import what the recipe names as ``module.path:NAME``. Otherwise nothing is imported: a
            user's own label and loss are not needed to predict, an activation or decoder is refused.

    Raises:
        FileFormatError: no such file, or not a checkpoint.
        CheckpointError: a checkpoint that was not written by Sfumato, does not fit its own recipe, or holds
            anything but tensors and plain data; no code of the file is run.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    return model_of(read_checkpoint(path), source=str(path), trust_code=trust_code).to(device)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the content of a checkpoint file, on the CPU.

    Raises:
        FileFormatError: no such file, or not a checkpoint.
        CheckpointError: the file holds anything but tensors and plain data, or not ours.
    """
    if not path.exists():
        raise FileFormatError(f"checkpoint {path} does not exist")
    try:
        with warnings.catch_warnings():
            # Torch remarks on the pickle's protocol; whatever it is, nothing but plain data is taken.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            raise CheckpointError(
                f"{path} holds code or objects besides tensors and plain data: it was not written by "
                "sfumato train, and nothing of it was run"
            ) from error
        raise FileFormatError(f"{path} is not a checkpoint, or is truncated") from error
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileFormatError(f"{path} is not a checkpoint, or is truncated: {reason}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} was not written by sfumato train")
    return content


def model_of(checkpoint: Mapping[str, Any], *, source: str, trust_code: bool = False) -> Model:
    """Rebuild the model that a checkpoint was saved from, with its weights and threshold.

    Args:
        checkpoint: The checkpoint's content.
        source: The file's name, for messages.
        trust_code: As for :func:`load`.

    Raises:
        CheckpointError: the checkpoint is not Sfumato's, or its weights do not fit its own recipe.
    """
    content = checkpoint.get(CONTENT)
    if not isinstance(content, Mapping) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{source} was not written by sfumato train: it holds no recipe")
    absent = [name for name in ("recipe", "task", "threshold") if name not in content]
    if absent:
        raise CheckpointError(f"{source} is not a complete checkpoint: it lacks {' and '.join(absent)}")
    with without_own_code(None if trust_code else Reading(**content.get("reading", {}))):
        recipe = parse_recipe(content["recipe"], source=source)
        model = Model(recipe, SegmentationTask.from_plain(content["task"]), threshold=content["threshold"])
    weights = {
        name.removeprefix(NETWORK): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(NETWORK)
    }
    try:
        model.network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{source}: weights and recipe do not fit: {str(error).splitlines()[0]}"
        ) from error
    return model


def content_of(model: Model) -> dict[str, Any]:
    """Return what a checkpoint holds beside the weights: recipe, task and threshold, as plain data."""
    method = model.method
    reading = Reading(
        method.kind.name,
        method.activation_row.name,
        method.decoder_row.name,
        dict(model.recipe.activation.options),
    )
    return {
        "reading": dataclasses.asdict(reading),
        "version": sfumato.__version__,
        "recipe": model.recipe.model_dump(mode="json"),
        "task": model.task.to_plain(),
        "threshold": model.threshold,
    }
