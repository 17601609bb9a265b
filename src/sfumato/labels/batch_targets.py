"""Targets of a whole training batch, made where the batch lies: after augmentation, on the GPU.

What only the CPU can find (Canny's edges, skeletons, random seeds) is found beforehand, in the data loader's
processes, on the moved and cut mask itself: these marks travel with the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.geodesic.gpu import works as gpu_works
from sfumato.labels.boundary import boundary_voxels
from sfumato.labels.geols import geols
from sfumato.labels.seeds import seed_voxels
from sfumato.labels.sing import sing
from sfumato.labels.targets import TARGETS, Options, RegionValues, TargetCase
from sfumato.types import Spacing

__all__ = ["ON_DEVICE", "TargetBatch", "batch_targets", "gpu_works", "marks"]

# Labels that are computed on the device of the batch. The others need a library on the CPU, or the raters,
# whose number may differ from case to case.
ON_DEVICE = frozenset({"one-hot", "uniform", "ordinal", "SVLS", "geodesic", "SiNG"})


@dataclass(frozen=True)
class TargetBatch:
    """What the targets of a batch are made from, all of it on one device.

    Attributes:
        labels: Class indices, ``(B, *S)``.
        image: ``(B, C, *S)``.
        num_classes: Number of classes ``K``, background included.
        spacing: Millimetres per spatial axis, for each item.
        regions: Label values per region name; ``None`` takes one region per foreground label.
        marks: What :func:`marks` found for each item, ``(B, M, *S)``, or ``None``.
    """

    labels: Tensor
    image: Tensor
    num_classes: int
    spacing: Sequence[Spacing]
    regions: RegionValues | None
    marks: Tensor | None

    def cases(self) -> list[TargetCase]:
        """The items one by one; none of them draws random seeds any more."""
        return [
            TargetCase(
                labels=self.labels[index],
                image=self.image[index],
                num_classes=self.num_classes,
                spacing=each,
                per_rater=None,
                regions=self.regions,
                generator=None,
            )
            for index, each in enumerate(self.spacing)
        ]


def marks(label: str, case: TargetCase, options: Options) -> Tensor | None:
    """Find what the label of one item needs from the CPU.

    Args:
        label: The label's printed name, one of :data:`ON_DEVICE`.
        case: The item.
        options: Every option of the label.

    Returns:
        Canny edges ``(R, *S)`` for SiNG, skeletons or random seeds ``(K, *S)`` for GeoLS, boolean; ``None``
        where the device needs nothing.
    """
    if label == "SiNG" and options["boundary"] == "canny":
        axis = options["slice_axis"]
        return torch.stack(
            [boundary_voxels(mask, rule="canny", slice_axis=axis).voxels for mask in case.masks()]
        )
    if label == "geodesic" and options["seeds"] != "erosion":
        return seed_voxels(
            case.labels,
            num_classes=case.num_classes,
            seeds=options["seeds"],
            num_seeds=options["num_seeds"],
            generator=case.generator,
        )
    return None


def batch_targets(label: str, batch: TargetBatch, options: Options) -> Tensor:
    """Build the targets of a batch, ``(B, channels, *S)`` float32: those of its items, one by one.

    Args:
        label: The label's printed name, one of :data:`ON_DEVICE`.
        batch: The batch.
        options: Every option of the label.
    """
    cases = batch.cases()
    if label == "geodesic":
        rule = options["seeds"] if batch.marks is None else batch.marks
        return geols(
            batch.labels,
            batch.image,
            num_classes=batch.num_classes,
            spacing=batch.spacing,
            **{**options, "seeds": rule},
        )
    if label == "SiNG":
        rule = options["boundary"] if batch.marks is None else batch.marks
        masks = torch.stack([case.masks() for case in cases])
        return sing(masks, batch.image, spacing=batch.spacing, **{**options, "boundary": rule})
    return torch.stack([TARGETS[label](case, options) for case in cases])
