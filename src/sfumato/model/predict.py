"""Predictions of a trained checkpoint, written on each input's own grid."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from sfumato.data import Case, CaseFiles, Dataset, load_case, write_volume
from sfumato.errors import DataError, InputError
from sfumato.model.checkpoint import load
from sfumato.model.folder import DESCRIPTION, PredictionFolder
from sfumato.model.model import Model, Prediction
from sfumato.output import atomic_output

LOG = logging.getLogger("sfumato.model")
SoftFormat = Literal["float32", "uint8"]


def predict(
    checkpoint: Path,
    dataset: Dataset,
    out: Path,
    *,
    soft: SoftFormat | None = None,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    trust_code: bool = False,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda names: names,
) -> list[Path]:
    """Predict every case of a data set and write the results to a folder.

    Most uses need ``checkpoint``, ``dataset`` and ``out``, and at times ``soft``.
    Writes ``<case>.nii.gz`` (uint8 labels; with overlapping regions one channel each, last axis), with
    ``soft`` also ``<case>_soft.nii.gz`` (channels last), and ``prediction.json``, which says what the files
    hold. Affine and spacing are the input's.

    Args:
        checkpoint: A checkpoint, or a run folder (its best checkpoint is taken).
        dataset: The cases.
        out: The folder for the results.
        soft: Also write the soft prediction, as ``float32`` or scaled to ``uint8``.
        names: Only these cases.
        overwrite: Replace existing files, and remove a case's soft prediction and uncertainty maps that are
            not written anew; otherwise nothing is predicted where a file exists, or where ``prediction.json``
            tells of another training.
        device: Where the network runs.
        trust_code: As for :func:`~sfumato.model.load`.
        progress: Wraps the case names, for a progress bar.

    Returns:
        The hard predictions' paths.

    Raises:
        FileFormatError, CheckpointError: see :func:`~sfumato.model.load` and :meth:`Model.predict`.
        OutputExistsError: a result exists already; checked before any work.
        DataError: no case, or an unknown name.
    """
    model = load(checkpoint, device=device, trust_code=trust_code)
    chosen = chosen_cases(dataset, names)
    folder = PredictionFolder(out, dataset.names, ("", "_soft") if soft else ("",))
    folder.require_free(chosen, description(model, soft=soft), overwrite=overwrite)
    written = []
    by_name = {files.name: files for files in dataset.cases}
    for name in progress(chosen):
        prediction = model.predict(image_of(by_name[name], dataset))
        folder.clear(name)
        written.append(write_prediction(prediction, model, out, soft=soft))
        LOG.info("predicted %s", name)
    describe(model, out, soft=soft)
    return written


def image_of(files: CaseFiles, dataset: Dataset) -> Case:
    """Read a case's image alone: a broken mask must not stop a prediction."""
    return load_case(replace(files, mask=None, rater_masks=(), soft=()), dataset)


def chosen_cases(dataset: Dataset, names: Sequence[str] | None) -> list[str]:
    """Return the names of the cases to predict: these, or every case.

    Raises:
        DataError: no case, or an unknown name.
    """
    known = list(dataset.names)
    if not known:
        raise DataError([f"{dataset.root} holds no case to predict"])
    missing = [name for name in names or () if name not in known]
    if missing:
        raise DataError([f"{dataset.name} has no case {name!r}" for name in missing])
    return list(names) if names is not None else known


def write_prediction(prediction: Prediction, model: Model, out: Path, *, soft: SoftFormat | None) -> Path:
    """Write one prediction; each file appears whole or not at all.

    Raises:
        InputError: more than 256 classes, which uint8 labels cannot hold.
        MachineError: the disk is full.
    """
    if model.structures.num_classes > 256:
        raise InputError(f"{model.structures.num_classes} classes do not fit into uint8 labels")
    name = prediction.case.name
    hard = prediction.labels if prediction.regions is None else prediction.regions.movedim(0, -1)
    path, affine, spacing = out / f"{name}.nii.gz", prediction.case.affine, prediction.case.spacing
    write = partial(write_volume, affine=affine, spacing=spacing, overwrite=True)
    if soft is not None:
        values = prediction.soft.movedim(0, -1).numpy()
        write(out / f"{name}_soft.nii.gz", values, encoding="uint8" if soft == "uint8" else "exact")
    write(path, hard.to(torch.uint8).numpy())
    return path


def describe(
    model: Model, out: Path, *, soft: SoftFormat | None, changes: Mapping[str, object] | None = None
) -> None:
    """Write ``prediction.json``: the :func:`description` of the files of this folder."""
    content = description(model, soft=soft, changes=changes)
    with atomic_output(out / DESCRIPTION, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def description(
    model: Model, *, soft: SoftFormat | None, changes: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Say which training made the files of a folder, and what they hold.

    ``changes`` adds entries, or replaces those of a single plain prediction.
    """
    recipe = model.recipe
    return {
        "method": recipe.title,
        "kind": model.method.kind.name,
        **model.structures.to_plain(),
        "threshold": model.threshold,
        "tolerance_mm": recipe.tolerance_mm,
        "soft": soft,
        "seed": recipe.seed,
        "fold": recipe.split.fold,
        "dataset": model.task.dataset,
        "run": model.run_name,
        **(changes or {}),
    }
