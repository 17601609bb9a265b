"""Score a folder of predictions against its references: what ``sfumato evaluate`` does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sfumato import __version__
from sfumato.checks import require_choice
from sfumato.data.case import Dataset, VolumePath
from sfumato.data.readers.files import Volume, stem
from sfumato.data.readers.masks import read_mask, read_on_grid, read_soft, read_weights, small_labels
from sfumato.errors import DataError, InputError, ShapeError, ValueRangeError
from sfumato.evaluation.case import CaseReference, SoftPrediction, evaluate_masks, evaluate_soft
from sfumato.evaluation.files import (
    PredictionFiles,
    ReferenceFiles,
    References,
    find_predictions,
    find_references,
    paired,
    structures_of,
)
from sfumato.evaluation.metrics_table import ScoringOptions, default_metrics
from sfumato.evaluation.rows import COLUMNS, Origin, Row, write_rows
from sfumato.labels import hard_labels, majority_vote
from sfumato.output import atomic_output
from sfumato.structures import CLASSES, REGIONS, SIGNED, TARGET_KINDS, Structures, TargetKind

About = Mapping[str, str | int | None]


@dataclass(frozen=True)
class FolderScores:
    """What the predictions of a folder score."""

    rows: tuple[Row, ...]  # the tidy rows
    options: ScoringOptions  # how they were computed
    reference: str  # the references' name
    scored: int  # number of cases scored
    cases: int  # number of cases of the reference
    from_weights: int  # number of scored cases whose reference is class weights alone

    def frame(self) -> pd.DataFrame:
        """Return the rows as a data frame; a seed or fold that nobody states is missing."""
        frame = pd.DataFrame(map(dataclasses.astuple, self.rows), columns=list(COLUMNS))
        return frame.astype({"seed": "Int64", "fold": "Int64", "value": "float64"})

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the table, and how it was computed as JSON beside it.

        Raises:
            OutputExistsError, InputError, MachineError: As :func:`~sfumato.evaluation.rows.write_rows`.
        """
        notes = dataclasses.asdict(self.options) | {
            "hausdorff": {"weighting": "area", "direction": "max"},
            "sfumato": __version__,
        }
        # The table comes last: where it exists, all is complete.
        with atomic_output(settings_path(path), overwrite=overwrite) as temporary:
            temporary.write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
        write_rows(self.rows, path, overwrite=overwrite)


def settings_path(table: Path) -> Path:
    """Return where the settings of a table lie."""
    return table.with_suffix(".json")


def evaluate_folder(
    predictions: Path | str,
    reference: Path | str | Dataset,
    *,
    metrics: Sequence[str] | None = None,
    tolerance_mm: float | None = None,
    missing: str = "nan",
    partial: bool = False,
    about: About | None = None,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> pd.DataFrame:
    """Score every case of a folder of predictions, as the tidy rows that ``sfumato evaluate`` writes.

    Args:
        predictions: A folder of ``<case>.nii.gz``, and ``<case>_soft.nii.gz`` for soft predictions; or one
            file.
        reference: A folder of masks ``<case>.nii.gz``, one mask, the folder of a data set, a CSV manifest,
            ``sample:NAME``, or a data set that was opened already.
        metrics: Names of :data:`~sfumato.evaluation.metrics_table.METRICS`; by default those that every
            evaluation has.
        tolerance_mm: Tolerance of the surface Dice; by default that of the training, else 2.
        missing: Distances where only one mask is empty: ``"nan"``, or the image's ``"diagonal"``.
        partial: Allow a folder of masks to hold cases without a prediction.
        about: What the rows say about themselves: any of ``run``, ``method``, ``dataset``, ``seed`` and
            ``fold``; by default what ``prediction.json`` says, and the folders' names.
        progress: Wraps the cases' names, for a progress bar.

    Returns:
        One row per case, rater, structure and metric, with the columns of
        :class:`~sfumato.evaluation.rows.Row`. Several raters: rows against each, and against their consensus.

    Raises:
        DataError: Files have no partner, cannot be read, or do not fit: all of them, with their cases.
        FileFormatError: There is nothing to score.
        InputError: Predictions and references declare different labels.
        UnknownNameError: A metric, a key of ``about`` or the treatment of missing surfaces is unknown.
        ValueRangeError: The tolerance is not above 0.
    """
    return score_folder(
        predictions,
        reference,
        metrics=metrics,
        tolerance_mm=tolerance_mm,
        missing=missing,
        partial=partial,
        about=about,
        progress=progress,
    ).frame()


def score_folder(
    predictions: Path | str,
    reference: Path | str | Dataset,
    *,
    metrics: Sequence[str] | None = None,
    tolerance_mm: float | None = None,
    missing: str = "nan",
    partial: bool = False,
    about: About | None = None,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> FolderScores:
    """Score every case of a folder of predictions; arguments and errors as :func:`evaluate_folder`."""
    files, references = find_predictions(Path(predictions)), find_references(reference)
    options = ScoringOptions(
        metrics=tuple(metrics or default_metrics()),
        tolerance_mm=tolerance_mm or files.description.get("tolerance_mm") or ScoringOptions.tolerance_mm,
        missing=missing,
    )
    pairs, problems = paired(files, references, partial=partial)
    if not pairs:
        raise DataError(problems)
    origin = _origin(about or {}, files, references, Path(predictions))
    scorer = _FolderScorer(files, references, structures_of(files, references, pairs), options, origin)
    rows: list[Row] = []
    for case in progress(list(pairs)):
        try:
            rows += scorer.score(case, *pairs[case])
        except InputError as error:
            problems.append(f"case {case}: {error}")
    if problems:
        raise DataError(problems)
    from_weights = sum(not reference_files.masks for _, reference_files in pairs.values())
    return FolderScores(
        tuple(rows), options, references.name, len(pairs), len(references.cases), from_weights
    )


def _origin(about: About, files: PredictionFiles, references: References, place: Path) -> Origin:
    """Join what the caller, prediction.json and the folders' names say, in this order."""
    for name in about:
        require_choice("key of about", name, ("run", "method", "dataset", "seed", "fold"))
    said = {key: value for key, value in files.description.items() if value is not None}
    if not references.complete:
        said["dataset"] = references.name  # the data set that is scored, not the one trained on
    said |= {key: value for key, value in about.items() if value is not None}
    method = str(said.get("method") or (place.resolve().name if place.is_dir() else place.name))
    seed, fold = (None if said.get(key) is None else int(said[key]) for key in ("seed", "fold"))
    tail = [f"{key}{value}" for key, value in (("seed", seed), ("fold", fold)) if value is not None]
    run, dataset = said.get("run") or "-".join([method, *tail]), said.get("dataset") or references.name
    return Origin(run=str(run), method=method, dataset=str(dataset), seed=seed, fold=fold, case="")


@dataclass(frozen=True)
class _FolderScorer:
    """Reads the files of each case and scores them."""

    predictions: PredictionFiles
    references: References
    structures: Structures
    options: ScoringOptions
    origin: Origin

    @property
    def num_classes(self) -> int:
        """Number of class weights: labels may leave numbers out."""
        return max(self.structures.label_names) + 1

    def score(self, case: str, hard: Path, files: ReferenceFiles) -> list[Row]:
        """Score one case.

        Raises:
            InputError: A file is missing, damaged, or does not fit; the message names it.
        """
        path, grid, reference = self._reference(dataclasses.replace(self.origin, case=case), files)
        masks = self._masks(hard, grid, path)
        rows = evaluate_masks(masks, reference, options=self.options)
        # The soft prediction is the largest array of all: it is read when the surfaces are done, and the
        # masks make room for it.
        del masks
        soft = self.predictions.soft.get(stem(hard))
        if soft is not None:
            rows += evaluate_soft(self._soft(soft, grid, path), reference, options=self.options)
        return rows

    def _reference(self, origin: Origin, files: ReferenceFiles) -> tuple[VolumePath, Volume, CaseReference]:
        """Read a reference: the file and the grid that bind the prediction, and what it is compared with."""
        if not files.masks:
            grid, weights = read_weights(files.weights, self.references.spacing, num_classes=self.num_classes)
            labels = hard_labels(weights)
            compared = CaseReference(self.structures, grid.spacing, origin, labels, weights=weights)
            return files.weights[0], grid, compared
        first = files.masks[0]
        grid = read_mask(first, self.references.spacing)
        raters = {
            name: self._labels(grid.array if path == first else read_on_grid(path, grid, first), path)
            for name, path in files.raters.items()
        }
        if files.mask is not None:
            consensus = self._labels(grid.array, files.mask)
        else:
            stack = torch.stack([labels.long() for labels in raters.values()])
            consensus = majority_vote(stack, num_classes=self.num_classes)
        return first, grid, CaseReference(self.structures, grid.spacing, origin, consensus, raters)

    def _labels(self, array: np.ndarray, path: VolumePath) -> Tensor:
        return small_labels(array, self.structures.label_names, path, self.references.label_values)

    def _masks(self, path: Path, grid: Volume, grid_path: VolumePath) -> Tensor:
        """Read a hard prediction: labels ``(*S)``, or one mask per structure ``(R, *S)``."""
        array, names = read_on_grid(path, grid, grid_path), self.structures.names
        if array.ndim == len(grid.spacing) and self.predictions.regions and len(names) == 1:
            array = array[..., None]  # the mask of the only region: files drop a last axis of length one
        if array.ndim == len(grid.spacing):
            return small_labels(array, self.structures.label_names, path)
        if array.shape[-1] != len(names):
            raise ShapeError(
                f"{path} has {array.shape[-1]} channels: expected labels, or one mask for each of "
                f"{', '.join(names)}"
            )
        if not ((array == 0) | (array == 1)).all():
            raise ValueRangeError(f"{path} holds other values than 0 and 1: expected one mask per channel")
        return torch.from_numpy(array == 1).movedim(-1, 0)

    def _soft(self, path: Path, grid: Volume, grid_path: VolumePath) -> SoftPrediction:
        values = read_soft(path, grid, grid_path)
        kind = self._kind(values, path)
        if kind is SIGNED:
            # In place: the largest array is not copied.
            values.sub_(SIGNED.low).div_(SIGNED.high - SIGNED.low)
            kind = REGIONS
        return SoftPrediction(values, kind)

    def _kind(self, values: Tensor, path: Path) -> TargetKind:
        """Return what the channels are: as declared, or by their number and sign.

        Raises:
            InputError: The number of channels fits neither the classes nor the regions.
        """
        declared, regions = self.predictions.description.get("kind"), len(self.structures.names)
        if declared is not None:
            kind = TARGET_KINDS[declared]
        elif len(values) == self.num_classes:
            kind = CLASSES
        else:
            kind = SIGNED if bool((values < -0.001).any()) else REGIONS
        if len(values) != (self.num_classes if kind.joint else regions):
            raise InputError(
                f"{path} has {len(values)} channels: expected {self.num_classes} classes (background first), "
                f"or {regions} regions"
            )
        return kind
