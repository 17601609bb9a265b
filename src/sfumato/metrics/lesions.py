"""Lesions found and invented: detection rates over connected components."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from sfumato.checks import require_same_shape
from sfumato.errors import ValueRangeError
from sfumato.metrics.masks import leading_axes, mask
from sfumato.types import ArrayLike


@dataclass(frozen=True)
class LesionDetection:
    """Lesions per region and size class: int64 tensors ``(R, N)`` or ``(B, R, N)``, N size classes.

    Rates take ``size_class=None`` for all sizes together and give one float64 per region, ``(R)`` or
    ``(B, R)``; nan where there is nothing to take a rate of.
    """

    found: Tensor  # reference lesions that the prediction overlaps enough
    missed: Tensor  # the other reference lesions
    invented: Tensor  # predicted lesions that overlap the reference too little
    predicted: Tensor  # all predicted lesions

    def true_positive_rate(self, size_class: int | None = None) -> Tensor:
        """Compute ``found / (found + missed)``; nan without a reference lesion."""
        found, missed, _, _ = self._of(size_class)
        return _rate(found, found + missed)

    def false_detection_rate(self, size_class: int | None = None) -> Tensor:
        """Compute ``invented / (found + invented)``; nan without a predicted lesion.

        Predicted lesions may overlap the reference enough without any of its lesions being found: then
        none is invented and the rate is 0.
        """
        found, _, invented, predicted = self._of(size_class)
        rate = _rate(invented, found + invented)
        return torch.where((found + invented == 0) & (predicted > 0), 0.0, rate)

    def f1(self, size_class: int | None = None) -> Tensor:
        """Compute ``2 found / (2 found + missed + invented)``; nan where there is no lesion at all."""
        found, missed, invented, _ = self._of(size_class)
        return _rate(2 * found, 2 * found + missed + invented)

    def _of(self, size_class: int | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        tables = (self.found, self.missed, self.invented, self.predicted)
        if size_class is None:
            found, missed, invented, predicted = (table.sum(dim=-1) for table in tables)
        else:
            found, missed, invented, predicted = (table[..., size_class] for table in tables)
        return found, missed, invented, predicted


def lesion_detection(
    pred: ArrayLike,
    ref: ArrayLike,
    *,
    min_overlap: int = 3,
    size_edges: Sequence[int] = (),
    spatial_axes: int | None = None,
) -> LesionDetection:
    """Count found, missed and invented lesions, by ivadomed's overlap rule.

    A lesion is a connected component: 26 neighbours in 3-D, 8 in 2-D. A reference lesion is found if at
    least ``min_overlap`` of its voxels are predicted, by whichever lesions. A predicted lesion is
    invented if fewer than ``min_overlap`` of its voxels are in the reference. So with the default of 3
    voxels, ivadomed's, a lesion of one or two voxels can never be found, even by a perfect prediction;
    give ``min_overlap=1`` where such lesions matter.

    Args:
        pred: Predicted masks, ``(R, *S)`` or ``(B, R, *S)``, boolean (or integers 0 and 1).
        ref: Reference masks, of the same shape.
        min_overlap: Voxels of overlap that count as detection, at least 1.
        size_edges: Increasing lesion sizes in voxels that part the size classes: ``(10, 100)`` makes the
            classes up to 10, 11 to 100, and above. A lesion is classed by its own size.
        spatial_axes: Number of spatial axes, as in :func:`~sfumato.metrics.overlap.dice`.

    Returns:
        The counts, with the rates as methods. Empty masks have no lesions.

    Raises:
        ShapeError: The shapes differ, or leave no region axis.
        DTypeError: A mask holds fractions.
        ValueRangeError: ``min_overlap`` is below 1, or ``size_edges`` do not increase.

    References:
        Gros et al. (2021), ivadomed: a medical imaging deep learning toolbox, 10.21105/joss.02868.
        ivadomed joins components over 18 neighbours; ours over 26.
    """
    if min_overlap < 1:
        raise ValueRangeError(f"min_overlap is {min_overlap}: at least one voxel must overlap")
    edges = [0, *size_edges]
    if any(low >= high for low, high in itertools.pairwise(edges)):
        raise ValueRangeError(f"size_edges are {tuple(size_edges)}: they must increase and be above 0 voxels")
    predicted, reference = mask("pred", pred), mask("ref", ref)
    require_same_shape("pred", predicted.shape, "ref", reference.shape)
    lead = predicted.shape[: leading_axes(predicted, spatial_axes)]
    space = predicted.shape[len(lead) :]
    pairs = zip(
        predicted.reshape(math.prod(lead), *space).cpu().numpy(),
        reference.reshape(math.prod(lead), *space).cpu().numpy(),
        strict=True,
    )
    counts = [_count(first, second, min_overlap, np.asarray(size_edges)) for first, second in pairs]
    shape = (*lead, len(size_edges) + 1)
    found, missed, invented, predicted_lesions = (
        torch.tensor([count[i] for count in counts], dtype=torch.int64, device=predicted.device).reshape(
            shape
        )
        for i in range(4)
    )
    return LesionDetection(found, missed, invented, predicted_lesions)


def _count(pred: np.ndarray, ref: np.ndarray, min_overlap: int, size_edges: np.ndarray) -> list[list[int]]:
    """Count found, missed, invented and predicted lesions of one region, per size class."""
    for box in ndimage.find_objects((pred | ref).view(np.uint8)):
        pred, ref = pred[box], ref[box]
    sizes, overlaps = _components(ref, pred)
    detected = overlaps >= min_overlap
    drawn_sizes, drawn_overlaps = _components(pred, ref)
    invented = drawn_overlaps < min_overlap
    return [
        np.bincount(np.searchsorted(size_edges, chosen, side="left"), minlength=len(size_edges) + 1).tolist()
        for chosen in (sizes[detected], sizes[~detected], drawn_sizes[invented], drawn_sizes)
    ]


def _components(region: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the voxels of each component of ``region``, and those of them that are in ``other``."""
    labelled, count = ndimage.label(region, structure=np.ones((3,) * region.ndim, dtype=bool))
    sizes = np.bincount(labelled[region], minlength=count + 1)[1:]
    overlaps = np.bincount(labelled[region & other], minlength=count + 1)[1:]
    return sizes, overlaps


def _rate(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part.double() / whole.clamp_min(1), math.nan)
