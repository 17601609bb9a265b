"""How ``sfumato evaluate`` scores one case: read, compare the grids, compute the rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfumato.data.case import VolumePath
from sfumato.data.readers.files import Volume, stem
from sfumato.errors import InputError, ShapeError, ValueRangeError
from sfumato.evaluation.case import (
    Origin,
    Settings,
    evaluate_calibration,
    evaluate_maps,
    evaluate_masks,
)
from sfumato.evaluation.files import (
    PredictionFiles,
    ReferenceFiles,
    References,
    kind_of,
    labels_found,
    read_graded,
    read_on_grid,
    read_reference,
    read_weights,
    small_labels,
)
from sfumato.evaluation.raters import evaluate_agreement, evaluate_rater_maps, evaluate_rater_masks
from sfumato.evaluation.rows import Row
from sfumato.labels import hard_labels, majority_vote
from sfumato.structures import region_weights, with_background
from sfumato.types import Spacing

Pairs = Mapping[str, tuple[Path, ReferenceFiles]]


@dataclass(frozen=True)
class Scorer:
    """Scores the cases of one prediction folder.

    Attributes:
        predictions: Their files.
        references: What they are compared with.
        label_names: Name of every label, background first.
        regions: Region name to the labels that form it; ``None``: one structure per foreground label.
        settings: Which metrics, and how.
        origin: What all rows say about themselves.
    """

    predictions: PredictionFiles
    references: References
    label_names: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]] | None
    settings: Settings
    origin: Origin

    @property
    def structures(self) -> dict[str, tuple[int, ...]]:
        """The regions, or one structure per foreground label."""
        if self.regions:
            return dict(self.regions)
        return {name: (label,) for label, name in self.label_names.items() if label != 0}

    def score(self, case: str, hard: Path, files: ReferenceFiles) -> list[Row]:
        """Score one case against its consensus and each rater.

        Raises:
            InputError: A file is missing, damaged, or does not fit; the message names it.
        """
        paths = [path for path in (files.mask, *(path for _, path in files.raters)) if path is not None]
        weights: Tensor | None = None
        if files.hard:
            grid = read_reference(paths[0], self.references.spacing)
            targets = self._targets(case, files, grid, paths[0])
        else:
            paths, classes = [*files.weights], max(self.label_names) + 1
            grid, weights = read_weights(files.weights, self.references.spacing, num_classes=classes)
            targets = [(replace(self.origin, case=case), hard_labels(weights))]
        masks = self._masks(hard, grid, paths[0])
        rows: list[Row] = []
        for origin, labels in targets:
            rows += evaluate_masks(
                masks,
                labels,
                structures=self.structures,
                spacing=grid.spacing,
                origin=origin,
                settings=self.settings,
            )
        if files.raters:
            rows += self._rater_rows(masks, targets, grid)
        # The graded prediction is the largest array of all: it is read when the surfaces are done, and the
        # masks make room for it.
        del masks
        soft = self.predictions.soft.get(stem(hard))
        if soft is not None:
            rows += self._graded_rows(soft, targets, grid, paths[0], weights)
        return rows

    def _rater_rows(self, masks: Tensor, targets: list[tuple[Origin, Tensor]], grid: Volume) -> list[Row]:
        """Score against all raters together, and the raters against one another."""
        (origin, _), *raters = targets
        drawn, names = [labels for _, labels in raters], [rater.rater for rater, _ in raters]
        rows = evaluate_rater_masks(
            masks,
            drawn,
            structures=self.structures,
            spacing=grid.spacing,
            origin=origin,
            settings=self.settings,
        )
        return rows + evaluate_agreement(
            drawn,
            structures=self.structures,
            spacing=grid.spacing,
            origin=origin,
            raters=names,
            settings=self.settings,
        )

    def _targets(
        self, case: str, files: ReferenceFiles, grid: Volume, grid_path: VolumePath
    ) -> list[tuple[Origin, Tensor]]:
        origin = replace(self.origin, case=case)
        raters = []
        for name, path in files.raters:
            array = read_on_grid(path, grid, grid_path)
            raters.append((replace(origin, rater=name), self._reference_labels(array, path)))
        if files.mask is not None:
            consensus = self._reference_labels(grid.array, files.mask)
        else:
            stack = torch.stack([labels.long() for _, labels in raters])
            consensus = majority_vote(stack, num_classes=max(self.label_names) + 1)
        return [(origin, consensus), *raters]

    def _reference_labels(self, array: np.ndarray, path: VolumePath) -> Tensor:
        return small_labels(array, self.label_names, path, self.references.label_values)

    def _masks(self, path: Path, grid: Volume, grid_path: VolumePath) -> Tensor:
        """Read a hard prediction: labels ``(*S)``, or one mask per structure ``(R, *S)``."""
        array = read_on_grid(path, grid, grid_path)
        if array.ndim == len(grid.spacing) and self.predictions.regions and len(self.structures) == 1:
            array = array[..., None]  # the mask of the only region: files drop a last axis of length one
        if array.ndim == len(grid.spacing):
            return small_labels(array, self.label_names, path)
        if array.shape[-1] != len(self.structures):
            raise ShapeError(
                f"{path} has {array.shape[-1]} channels: expected labels, or one mask for each of "
                f"{', '.join(self.structures)}"
            )
        if not ((array == 0) | (array == 1)).all():
            raise ValueRangeError(f"{path} holds other values than 0 and 1: expected one mask per channel")
        return torch.from_numpy(array == 1).movedim(-1, 0)

    def _graded_rows(
        self,
        path: Path,
        targets: list[tuple[Origin, Tensor]],
        grid: Volume,
        grid_path: VolumePath,
        weights: Tensor | None,
    ) -> list[Row]:
        soft = read_graded(path, grid, grid_path)
        structures = self.structures
        declared = self.predictions.description.get("kind")
        kind = kind_of(soft, declared, max(self.label_names) + 1, len(structures), path)
        if kind == "signed":
            soft.add_(1).div_(2)
        rows: list[Row] = []
        for index, (name, values) in enumerate(structures.items()):
            one = soft[index : index + 1] if kind != "classes" else _sum_of(soft, values)
            truths = targets
            if weights is not None:
                truths = [(targets[0][0], region_weights(weights, values=[values]))]
            rows += self._map_rows(one.clamp(0, 1), {name: values}, truths, grid)
        for origin, labels in targets:
            rows += self._calibration_rows(soft, kind, labels, origin, grid.spacing)
        return rows

    def _map_rows(
        self,
        soft: Tensor,
        structure: dict[str, tuple[int, ...]],
        targets: list[tuple[Origin, Tensor]],
        grid: Volume,
    ) -> list[Row]:
        """Score the graded map ``(1, *S)`` of one structure against every reference, and all raters' mean.

        The targets are labels; of a reference that is class weights, this structure's weight ``(1, *S)``.
        """
        rows: list[Row] = []
        for origin, labels in targets:
            rows += evaluate_maps(
                soft,
                labels,
                structures=structure,
                spacing=grid.spacing,
                origin=origin,
                settings=self.settings,
            )
        if len(targets) > 1:
            rows += evaluate_rater_maps(
                soft,
                [labels for _, labels in targets[1:]],
                structures=structure,
                spacing=grid.spacing,
                origin=targets[0][0],
                settings=self.settings,
            )
        return rows

    def _calibration_rows(
        self, soft: Tensor, kind: str, labels: Tensor, origin: Origin, spacing: Spacing
    ) -> list[Row]:
        """Calibration over all classes; of regions that may overlap, each against the rest."""
        if kind == "classes":
            return evaluate_calibration(soft, labels, spacing=spacing, origin=origin, settings=self.settings)
        if not self.regions:
            probs = with_background(soft, axis=0)
            return evaluate_calibration(probs, labels, spacing=spacing, origin=origin, settings=self.settings)
        rows: list[Row] = []
        for index, (name, values) in enumerate(self.structures.items()):
            inside = torch.isin(labels, torch.tensor(values, dtype=labels.dtype)).to(torch.uint8)
            channel = soft[index].clamp(0, 1)
            rows += evaluate_calibration(
                torch.stack([1 - channel, channel]),
                inside,
                spacing=spacing,
                origin=origin,
                settings=self.settings,
                structure=name,
            )
        return rows


def _sum_of(soft: Tensor, labels: tuple[int, ...]) -> Tensor:
    """Probability of a structure, ``(1, *S)``: that of its labels together."""
    total = soft[labels[0]][None]
    for label in labels[1:]:
        total = total + soft[label]
    return total


def pair(
    found: PredictionFiles, references: References, *, partial: bool
) -> tuple[dict[str, tuple[Path, ReferenceFiles]], list[str]]:
    """Match predictions and references by case name.

    Args:
        found: The predictions.
        references: The references.
        partial: Allow references without a prediction; a data set always may have them.

    Returns:
        The pairs, and one sentence per file without a partner.
    """
    hard, masks = found.hard, references.cases
    if len(hard) == len(masks) == 1 and references.complete:
        # Two single files belong together whatever their names.
        case = next(iter(masks))
        alone = next(iter(hard))
        return {case: (hard[alone], masks[case])}, []
    problems = [
        f"case {case}: prediction {path} has no reference in {references.name}"
        for case, path in hard.items()
        if case not in masks
    ]
    if references.complete and not partial:
        problems += [
            f"case {case}: reference {files.mask} has no prediction; --partial leaves it out"
            for case, files in masks.items()
            if case not in hard
        ]
    return {case: (path, masks[case]) for case, path in hard.items() if case in masks}, problems


def name_labels(found: PredictionFiles, references: References, pairs: Pairs) -> dict[int, str]:
    """Name the labels: as declared by the data or the predictions, else as found in the files.

    Raises:
        InputError: Predictions and references declare different labels.
    """
    declared = references.label_names
    said = {int(label): str(name) for label, name in (found.description.get("label_names") or {}).items()}
    if declared is not None and said and set(said) != set(declared):
        raise InputError(
            f"the predictions were made for labels {sorted(said)}, but {references.name} declares "
            f"{sorted(declared)}"
        )
    if declared is not None or said:
        return dict(declared or said)
    masks = [files.mask for _, files in pairs.values() if files.mask is not None]
    return labels_found([*masks, *(path for path, _ in pairs.values())])


def name_regions(
    found: PredictionFiles, references: References, label_names: Mapping[int, str]
) -> Mapping[str, tuple[int, ...]] | None:
    """Give the regions that the predictions were made for, else the reference's; None where neither has any.

    Raises:
        InputError: A region holds labels that are not declared; they are listed.
    """
    regions = found.regions or references.regions
    for name, labels in (regions or {}).items():
        unknown = sorted(set(labels) - set(label_names))
        if unknown:
            raise InputError(
                f"region {name} is formed of labels {sorted(labels)}, but {unknown} are not among the labels "
                f"{sorted(label_names)} of {references.name}"
            )
    return regions
