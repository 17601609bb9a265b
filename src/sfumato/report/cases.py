"""The cases of the viewer: image, reference, and what the first run of each method predicts for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfumato.data import Case, Dataset, load_case, read_volume
from sfumato.errors import DataError, GeometryError, SfumatoError
from sfumato.methods import METHODS
from sfumato.methods.compose import Reading, without_own_code
from sfumato.recipe.recipe import read_recipe
from sfumato.report.data import Overlay, ReportCase, ReportData
from sfumato.report.predicted import PredictedRun, predicted_run
from sfumato.report.viewer import from_both_ends
from sfumato.structures import REGIONS, Structures
from sfumato.tables.results import case_lines
from sfumato.types import Array

MOST_TARGET_VOXELS = 1_000_000  # soft labels of larger cases are not computed again for the viewer


def read_cases(
    dataset: Dataset, folders: Sequence[Path], data: ReportData, most: int
) -> tuple[tuple[ReportCase, ...], list[str]]:
    """Read the images of some cases and what the first run of each method predicts for them.

    Args:
        dataset: The data set.
        folders: The runs.
        data: Their results.
        most: How many cases, the worst and the best first.

    Returns:
        The cases, and notes on what is not shown.

    Raises:
        DataError: the data set has none of the runs' cases.
        GeometryError: a prediction does not lie on its image's grid.
    """
    files = {case.name: case for case in dataset.cases}
    lines = case_lines(data.rows) if data.rows else ()
    order = [line.case for line in lines if line.case in files]
    order = order or [row.case for row in data.rows if row.case in files]
    chosen = list(dict.fromkeys(from_both_ends(order)))[:most]
    if not chosen:
        raise DataError([f"data set {dataset.name} has none of the cases in the runs' metrics.csv"])
    runs = [predicted_run(folder) for folder in folders]
    structures = next((run.structures for run in runs if run.structures), dataset.structures)
    # Colours and names of other regions would mean something else.
    alike = [
        run for run in runs if run.structures is None or _regions(run.structures) == _regions(structures)
    ]
    notes = [
        f"{run.folder.resolve().name} predicts other regions: it is not in the case viewer."
        for run in runs
        if run not in alike
    ]
    cases = []
    for name in chosen:
        case = load_case(files[name], dataset)
        predictions: dict[str, Overlay] = {}
        for run in alike:
            method = data.methods[run.folder.resolve().name]
            if method not in predictions and (run.files / f"{name}.nii.gz").is_file():
                predictions[method] = _overlay(run, case, dataset)
        reference = None if case.labels is None else _painted(case.labels, structures)
        cases.append(ReportCase(name, case.image, reference, case.spacing, predictions))
    if not any(case.predictions for case in cases):
        notes.append("The runs hold no predictions: the viewer shows images and references only.")
    return tuple(cases), notes


def _regions(structures: Structures) -> list[tuple[str, tuple[int, ...]]]:
    return list((structures.regions or {}).items())


def _painted(labels: Tensor, structures: Structures) -> Tensor:
    """Make one label map of the reference; of overlapping regions the later lies on top."""
    if not structures.overlap:
        return labels
    painted = torch.zeros_like(labels)
    for number, mask in enumerate(structures.masks(labels), start=1):
        painted[mask] = number
    return painted


def _overlay(run: PredictedRun, case: Case, dataset: Dataset) -> Overlay:
    labels = _stored(run.files / f"{case.name}.nii.gz", case)
    if labels.ndim > len(case.spacing):
        # One mask per overlapping region, last axis: the later region lies on top.
        numbers = np.arange(1, labels.shape[-1] + 1)
        labels = (numbers * (labels > 0)).max(axis=-1)
    path = run.files / f"{case.name}_soft.nii.gz"
    soft = _channels_first(_stored(path, case), case) if path.is_file() else None
    target, kind = _target(run, case, dataset), run.kind
    if kind.joint and run.structures and run.structures.overlap:
        # The legend counts regions: a region weighs what its classes weigh together.
        soft = None if soft is None else run.structures.weights(soft).numpy()
        target = None if target is None else run.structures.weights(target)
        kind = REGIONS
    uncertainty = next(iter(sorted(run.files.glob(f"{case.name}_uncertainty-*.nii.gz"))), None)
    for name, array in (("prediction", labels), ("soft prediction", None if soft is None else soft[0])):
        if array is not None and array.shape != case.shape:
            raise GeometryError(
                f"the {name} of {case.name} in {run.files} has shape {array.shape}, its image {case.shape}"
            )
    return Overlay(
        labels=np.ascontiguousarray(labels.astype(np.int64)),
        soft=None if soft is None else np.ascontiguousarray(soft, dtype=np.float32),
        kind=kind,
        uncertainty=None
        if uncertainty is None
        else np.ascontiguousarray(_stored(uncertainty, case), dtype=np.float32),
        target=target,
    )


def _stored(path: Path, case: Case) -> Array:
    """Read a prediction's array; NIfTI puts a picture's channels behind a third axis of one slice."""
    array, axes = read_volume(path).array, len(case.spacing)
    return array.squeeze(axes) if array.ndim == axes + 2 and array.shape[axes] == 1 else array


def _channels_first(array: Array, case: Case) -> Array:
    return np.moveaxis(array, -1, 0) if array.ndim > len(case.spacing) else array[None]


def _target(run: PredictedRun, case: Case, dataset: Dataset) -> Tensor | None:
    """Make the soft label that the run trains with, on the case's own grid; None where it cannot be."""
    if case.labels is None or math.prod(case.shape) > MOST_TARGET_VOXELS:
        return None
    path = run.folder / "recipe.yaml"
    try:
        # The run may be another's: code that its recipe names is not run.
        with without_own_code(Reading()):
            recipe = read_recipe(path) if path.exists() else None
            # The prediction's method is what tables call the run; the recipe's is the one that trained it.
            method = recipe.composed if recipe else METHODS.get(run.method)
        if method is None:
            return None
        consensus = recipe is None or recipe.raters == "consensus"
        taken = consensus and method.takes_weights(beside_mask=not case.labels_from_soft)
        target = method.target(
            case.labels,
            case.image if method.label_row.needs_image else None,
            num_classes=dataset.num_classes,
            spacing=case.spacing,
            labels_per_rater=case.labels_per_rater,
            regions=(recipe.regions if recipe else None) or dataset.regions,
            generator=torch.Generator().manual_seed(0),
            soft=case.soft if taken else None,
        )
        # Masks that training rounds after it moved them are shown as it sees them.
        return method.finished(target)
    except SfumatoError:
        # A damaged recipe, or one with an option that is gone: the page does without this layer.
        return None
