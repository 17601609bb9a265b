"""Predictions of a trained checkpoint, written on each input's own grid."""

from __future__ import annotations

import json
import logging
import pickle
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from sfumato.data import load_case
from sfumato.data.case import Case, Dataset
from sfumato.data.readers.files import write_volume
from sfumato.errors import CheckpointError, DataError, FileFormatError, InputError
from sfumato.model.folder import DESCRIPTION, PredictionFolder
from sfumato.output import atomic_output
from sfumato.training.module import SegmentationModule, module_from_checkpoint

LOG = logging.getLogger("sfumato.model")
SoftFormat = Literal["float32", "uint8"]


@dataclass(frozen=True)
class Prediction:
    """One case's prediction on the grid of its image file.

    Attributes:
        case: The case it belongs to.
        soft: The activated prediction ``(channels, *S)`` float32, never binarised.
        labels: Class per voxel ``(*S)`` int64.
        regions: Binary regions ``(R, *S)`` where the data set defines overlapping regions, else None.
    """

    case: Case
    soft: Tensor
    labels: Tensor
    regions: Tensor | None


def load_checkpoint(path: Path, *, device: torch.device | str = "cpu") -> SegmentationModule:
    """Load a checkpoint of ``sfumato train`` for prediction, its tuned threshold included.

    Raises:
        FileFormatError: no such file, or not a checkpoint.
        CheckpointError: a checkpoint that was not written by Sfumato, or does not fit its own recipe.
    """
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    if not path.exists():
        raise FileFormatError(f"checkpoint {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except (
        RuntimeError,
        EOFError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
    ) as error:
        raise FileFormatError(f"{path} is not a checkpoint, or is truncated: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} was not written by sfumato train")
    return module_from_checkpoint(content, source=str(path)).to(device)


def predict_case(module: SegmentationModule, case: Case) -> Prediction:
    """Predict one case: :func:`graded_prediction`, decoded on the image's own grid.

    Raises:
        CheckpointError: the image does not have the channels or axes that the network was trained on.
    """
    return decoded(module, case, graded_prediction(module, case), threshold=module.threshold)


def graded_prediction(
    module: SegmentationModule, case: Case, *, logits: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Predict one case's graded values on the image's own grid.

    The image is preprocessed as in training; the logits of all windows are joined, and those of all slices
    stacked; the activation follows on the whole volume (so NormReLU divides by the volume's maximum; a
    network of slices divides each slice by its own); the activated prediction is brought back to the image's
    own grid by linear interpolation.

    Args:
        module: The trained model.
        case: The case; its masks are not looked at.
        logits: From the prepared image ``(C, *S')`` to logits ``(1, K, *S')``; by default the module's.

    Returns:
        The activated prediction ``(channels, *S)`` float32, on the CPU.

    Raises:
        CheckpointError: the image does not have the channels or axes that the network was trained on.
    """
    wanted = module.task["in_channels"]
    if case.image.shape[0] != wanted:
        raise CheckpointError(
            f"case {case.name} has {case.image.shape[0]} channels, but the checkpoint was trained on "
            f"{wanted} ({', '.join(module.task['channel_names'])})"
        )
    if len(case.spacing) != module.recipe.data_axes:
        what = "" if module.recipe.slice_axis is None else " (it cuts volumes into slices)"
        raise CheckpointError(
            f"case {case.name} is {len(case.spacing)}-D, "
            f"but the checkpoint is {module.recipe.data_axes}-D{what}"
        )
    bare = replace(case, labels=None, labels_per_rater=None, soft=None)
    settings = module.recipe.preprocess
    device = next(module.network.parameters()).device
    with torch.inference_mode():
        found = (logits or module.case_logits)(settings.apply(bare).image.to(device))
        prediction = module.activated(found.float()).cpu()
    return settings.restore(prediction, bare, padding=module.method.kind.outside(len(prediction)))


def decoded(module: SegmentationModule, case: Case, soft: Tensor, *, threshold: float | None) -> Prediction:
    """Decode a graded prediction ``(channels, *S)`` at the threshold; None takes the decoder's own."""
    labels = module.method.decode(soft, threshold=threshold)
    regions = None
    if module.regions and module.method.kind.joint:
        regions = module.found_regions(soft)
    elif module.regions:
        regions = module.method.decode_regions(soft, threshold=threshold)
    return Prediction(case, soft, labels, regions)


def predict(
    checkpoint: Path,
    dataset: Dataset,
    out: Path,
    *,
    soft: SoftFormat | None = None,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda names: names,
) -> list[Path]:
    """Predict every case of a data set and write the results to a folder.

    Writes ``<case>.nii.gz`` (uint8 labels; with overlapping regions one channel each, last axis), with
    ``soft`` also ``<case>_soft.nii.gz`` (channels last), and ``prediction.json``, which says what the files
    hold. Affine and spacing are the input's.

    Args:
        checkpoint: A checkpoint, or a run folder (its best checkpoint is taken).
        dataset: The cases.
        out: The folder for the results.
        soft: Also write the graded prediction, as ``float32`` or scaled to ``uint8``.
        names: Only these cases.
        overwrite: Replace existing files, and remove a case's graded prediction and uncertainty maps that are
            not written anew; otherwise nothing is predicted where a file exists, or where ``prediction.json``
            tells of another training.
        device: Where the network runs.
        progress: Wraps the case names, for a progress bar.

    Returns:
        The hard predictions' paths.

    Raises:
        FileFormatError, CheckpointError: see :func:`load_checkpoint` and :func:`predict_case`.
        OutputExistsError: a result exists already; checked before any work.
        DataError: no case, or an unknown name.
    """
    module = load_checkpoint(checkpoint, device=device)
    chosen = chosen_cases(dataset, names)
    folder = PredictionFolder(out, dataset.names, ("", "_soft") if soft else ("",))
    folder.require_free(chosen, description(module, soft=soft), overwrite=overwrite)
    written = []
    by_name = {files.name: files for files in dataset.cases}
    for name in progress(chosen):
        found = predict_case(
            module, load_case(replace(by_name[name], mask=None, rater_masks=(), soft=()), dataset)
        )
        folder.clear(name)
        written.append(write_prediction(found, module, out, soft=soft))
        LOG.info("predicted %s", name)
    describe(module, out, soft=soft)
    return written


def chosen_cases(dataset: Dataset, names: Sequence[str] | None) -> list[str]:
    """Give the names of the cases to predict: these, or every case.

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


def write_prediction(
    found: Prediction, module: SegmentationModule, out: Path, *, soft: SoftFormat | None
) -> Path:
    """Write one prediction; each file appears whole or not at all.

    Raises:
        InputError: more than 256 classes, which uint8 labels cannot hold.
        MachineError: the disk is full.
    """
    if module.task["num_classes"] > 256:
        raise InputError(f"{module.task['num_classes']} classes do not fit into uint8 labels")
    name = found.case.name
    hard = found.labels if found.regions is None else found.regions.movedim(0, -1)
    path = out / f"{name}.nii.gz"
    if soft is not None:
        write_volume(
            out / f"{name}_soft.nii.gz",
            found.soft.movedim(0, -1).numpy(),
            affine=found.case.affine,
            spacing=found.case.spacing,
            encoding="uint8" if soft == "uint8" else "exact",
            overwrite=True,
        )
    write_volume(
        path,
        hard.to(torch.uint8).numpy(),
        affine=found.case.affine,
        spacing=found.case.spacing,
        overwrite=True,
    )
    return path


def describe(
    module: SegmentationModule,
    out: Path,
    *,
    soft: SoftFormat | None,
    changes: Mapping[str, object] | None = None,
) -> None:
    """Write ``prediction.json``: the :func:`description` of the files of this folder."""
    content = description(module, soft=soft, changes=changes)
    with atomic_output(out / DESCRIPTION, overwrite=True) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def description(
    module: SegmentationModule, *, soft: SoftFormat | None, changes: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Say which training made the files of a folder, and what they hold.

    ``changes`` adds entries, or replaces those of a single plain prediction.
    """
    recipe = module.recipe
    return {
        "method": recipe.title,
        "kind": module.method.kind.name,
        "label_names": module.task["label_names"],
        "regions": module.task["regions"],
        "threshold": module.threshold,
        "tolerance_mm": recipe.tolerance_mm,
        "soft": soft,
        "seed": recipe.seed,
        "fold": recipe.split.fold,
        "dataset": module.task["dataset"],
        "run": run_name(module),
        **(changes or {}),
    }


def run_name(module: SegmentationModule) -> str:
    """The training's name in every table: ``<title>-seed<k>-fold<j>``."""
    return module.recipe.run_name
