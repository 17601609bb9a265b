"""Read a whole data set once and list everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from sfumato.data.case import Case, Dataset
from sfumato.data.dataset import scan_dataset
from sfumato.data.readers.cases import inspect_case
from sfumato.data.readers.layouts import layout_around
from sfumato.errors import SfumatoError
from sfumato.types import Spacing


@dataclass
class Inspection:
    """What a data set holds.

    Attributes:
        dataset: The data set; ``None`` where it could not even be listed.
        problems: What must be mended, one sentence each.
        warnings: What is allowed but deserves a look.
        spacings: Number of cases with each spacing, in mm.
        shapes: Number of cases with each shape, in voxels.
        raters: Number of cases with each number of raters' masks.
        voxels: Voxels of each label, over all cases.
        cases_with_label: Cases that have each label at all.
        weights_only: Number of cases with class weights and no mask.
        weights_beside: Number of cases with class weights beside their mask.
        axial_axes: The stored axis of every volume that runs closest to head-foot, where the file says so:
            axial slices follow each other along it.
    """

    dataset: Dataset | None = None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    spacings: Counter[Spacing] = field(default_factory=Counter)
    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    raters: Counter[int] = field(default_factory=Counter)
    voxels: Counter[int] = field(default_factory=Counter)
    cases_with_label: Counter[int] = field(default_factory=Counter)
    weights_only: int = 0
    weights_beside: int = 0
    axial_axes: dict[str, int] = field(default_factory=dict)


def check_dataset(dataset: Dataset | Path | str, *, layout: str = "auto") -> list[str]:
    """List every problem of a data set, one sentence each; an empty list if it is clean.

    Every file is read to its last byte. A case may add several problems. Arguments as in
    :func:`inspect_dataset`.
    """
    return inspect_dataset(dataset, layout=layout).problems


def inspect_dataset(
    dataset: Dataset | Path | str, *, layout: str = "auto", progress: Callable[[int, int], None] | None = None
) -> Inspection:
    """Read a data set once: problems, warnings, and what it holds.

    Args:
        dataset: A data set, or where to find one (as in :func:`open_dataset`).
        layout: The layout, as in :func:`open_dataset`, where ``dataset`` says where to find one.
        progress: Called with the number of cases read and of all cases.
    """
    summary = Inspection()
    if isinstance(dataset, Dataset):
        summary.dataset = dataset
    else:
        try:
            summary.dataset, problems = scan_dataset(dataset, layout=layout)
        except SfumatoError as error:
            summary.problems.append(str(error))
            return summary
        summary.problems += problems
    summary.warnings += [*summary.dataset.notes, *_whole(summary.dataset)]
    # A missing file was listed with the layout already.
    known = set(summary.problems)
    for number, files in enumerate(summary.dataset.cases, start=1):
        case, errors = inspect_case(files, summary.dataset)
        summary.problems += [str(error) for error in errors if not _says_again(str(error), known)]
        if case is not None:
            _count(case, summary)
        if progress is not None:
            progress(number, len(summary.dataset.cases))
    _compare(summary, summary.dataset)
    return summary


def _whole(dataset: Dataset) -> list[str]:
    """Say where the masks of a folder of images may be: beside it, in a public data set's layout."""
    if not dataset.cases or any(files.mask or files.rater_masks or files.soft for files in dataset.cases):
        return []
    around = layout_around(dataset.root)
    if around is None:
        return []
    title, folder = around
    return [f"the images have no masks here, but lie in {folder}, which looks like {title}: give that folder"]


def _says_again(problem: str, known: set[str]) -> bool:
    if not problem.endswith(" does not exist"):
        return problem in known
    path = problem.removesuffix(" does not exist").split(": ", 1)[-1]
    return any(path in other for other in known)


def _count(case: Case, summary: Inspection) -> None:
    summary.spacings[tuple(round(value, 4) for value in case.spacing)] += 1
    summary.shapes[case.shape] += 1
    if case.affine is not None and len(case.shape) == 3:
        steps = np.abs(case.affine[:3, :3])
        summary.axial_axes[case.name] = int((steps[2] / np.linalg.norm(steps, axis=0)).argmax())
    summary.raters[0 if case.labels_per_rater is None else len(case.labels_per_rater)] += 1
    if case.labels is None:
        return
    summary.weights_only += case.labels_from_soft
    summary.weights_beside += case.soft is not None and not case.labels_from_soft
    per_label = torch.bincount(case.labels.flatten()).tolist()
    summary.voxels.update({label: count for label, count in enumerate(per_label) if count})
    summary.cases_with_label.update(label for label, count in enumerate(per_label) if count)
    if not any(per_label[1:]):
        summary.warnings.append(f"case {case.name} has background only")


def _compare(summary: Inspection, dataset: Dataset) -> None:
    axes = sorted({len(shape) for shape in summary.shapes})
    if len(axes) > 1:
        summary.problems.append(f"the cases differ in their number of axes: {' and '.join(map(str, axes))}")
    readable = sum(summary.shapes.values())
    among = "any case" if readable == len(dataset.cases) else f"any of the {readable} readable cases"
    for label, name in dataset.label_names.items():
        if summary.voxels and not summary.voxels[label]:
            summary.warnings.append(f"label {label} ({name}) has no voxel in {among}")
    for region, labels in (dataset.regions or {}).items():
        unknown = [label for label in labels if label not in dataset.label_names]
        if unknown:
            summary.problems.append(
                f"region {region} is made of labels {unknown} that the data set does not declare"
            )
    every = len(dataset.cases)
    if summary.weights_only:
        summary.warnings.append(
            f"class weights and no mask in {summary.weights_only} of {every} cases: methods that take soft "
            "masks train on the weights as they are; what needs a hard mask (other methods, Dice, "
            "thresholds) takes the class that weighs most, the lowest of equals (of two: above 0.5)"
        )
    if summary.weights_beside:
        summary.warnings.append(
            f"class weights beside the mask in {summary.weights_beside} of {every} cases: SoftSeg's methods "
            "train on the weights, the others on the mask, and every score compares with the mask"
        )
    if len(summary.spacings) > 1:
        summary.warnings.append(
            f"the cases have {len(summary.spacings)} different spacings: consider resampling"
        )
