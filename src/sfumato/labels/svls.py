"""Spatially varying label smoothing: a voxel shares half its weight with its neighbours."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_choice, require_labels, require_positive, require_spacing
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.geodesic import gpu
from sfumato.labels.definition import Label, OnDevice, Options, TargetCase, default_options
from sfumato.labels.kernels.votes import device_votes, voted_labels
from sfumato.labels.one_hot import one_hot
from sfumato.structures import CLASSES
from sfumato.types import ArrayLike, Soft, Spacing


def svls(
    labels: ArrayLike,
    *,
    num_classes: int,
    sigma: float = 1.0,
    size: int | float = 3,
    spacing: Spacing | None = None,
) -> Soft:
    """Mix every voxel's class with a Gaussian mean of its neighbours' classes, half and half.

    ``q = (onehot + sum_o w_o onehot(v + o) / sum_o w_o) / 2`` over the offsets ``o`` other than 0 in a box,
    ``w_o = exp(-|o|^2 / (2 sigma^2))``. The image is continued by its border voxels. This is the published
    kernel (a Gaussian whose centre is replaced by the sum of the other weights), written out.

    Args:
        labels: Class indices, ``(*S)``, integers in ``0 .. num_classes - 1``.
        num_classes: Number of classes ``K``, background included.
        sigma: Standard deviation of the Gaussian, in voxels; in mm when ``spacing`` is given.
        size: Side of the box. In voxels an odd number from 3; in mm (with ``spacing``) any width, and the
            box holds the voxels whose centres lie within ``size / 2`` along every axis.
        spacing: Millimetres between voxel centres, one value per axis; ``None`` counts in voxels.

    Returns:
        Class weights, ``(K, *S)``, float32, summing to 1. Inside an area of one class they are exactly
        one-hot; a lone voxel in another class gets 0.5 / 0.5. A class that is absent weighs 0 everywhere,
        one that fills the image weighs 1.

    Raises:
        DTypeError: ``labels`` holds fractions.
        ShapeError: ``spacing`` does not have one value per axis of ``labels``, or they have more than three.
        ValueRangeError: ``size`` is not odd or below 3, ``sigma`` is not above 0, or the box or the
            Gaussian is so narrow that no neighbour has any weight.

    Example:
        >>> svls(torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 0]]), num_classes=2)[1, 1, 1]
        tensor(0.5000)

    References:
        Islam and Glocker (2021), Spatially varying label smoothing: capturing uncertainty from expert
        annotations, doi:10.1007/978-3-030-78191-0_52. The authors' code fixes ``size`` at 3 and ignores
        the spacing; both are options here.
    """
    labels = as_tensor(labels)
    require_labels(labels, num_classes)
    require_positive("sigma", sigma)
    if spacing is not None:
        require_spacing(spacing, labels.shape, name="labels")
    radii = _radii(size, labels.ndim, spacing)
    steps = spacing or (1.0,) * labels.ndim
    # The weights are summed without the centre, so that they stay exact however narrow the Gaussian is.
    offsets = [offset for offset in itertools.product(*[range(-r, r + 1) for r in radii]) if any(offset)]
    weights = [
        math.exp(-0.5 * sum((o * s / sigma) ** 2 for o, s in zip(offset, steps, strict=True)))
        for offset in offsets
    ]
    total = math.fsum(weights)
    if total == 0.0:
        raise ValueRangeError(
            f"size {size} and sigma {sigma} give no neighbour any weight: choose them wider than a voxel"
        )
    if labels.ndim > 3 or labels.ndim == 0:
        raise ShapeError(f"labels has {labels.ndim} axes {tuple(labels.shape)}: give one to three")
    if not gpu.takes(labels) and labels.device.type != "cpu":
        return mixed_labels(labels, num_classes, offsets, weights)
    # The kernels take three axes: shorter maps are one voxel thick along the others.
    thin = (1,) * (3 - labels.ndim)
    solid = labels.detach().reshape(*thin, *labels.shape)
    moves = np.array([(*(0,) * len(thin), *offset) for offset in offsets])
    if gpu.takes(labels):
        soft = device_votes(solid, num_classes, torch.from_numpy(moves), torch.tensor(weights).double())
    else:
        soft = torch.from_numpy(voted_labels(solid.numpy(), num_classes, moves, np.array(weights)))
    return soft.reshape(num_classes, *labels.shape)


def mixed_labels(
    labels: Tensor, num_classes: int, offsets: Sequence[Sequence[int]], weights: Sequence[float]
) -> Soft:
    """Mix half each voxel's own class with half its neighbours' by weight; the border continues the image.

    The definition that the faster kernels are tested against.
    """
    hard = one_hot(labels, num_classes=num_classes)
    soft, alone = hard / 2, torch.ones_like(labels, dtype=torch.bool)
    for offset, weight in zip(offsets, weights, strict=True):
        other = labels
        for axis, step in enumerate(offset):
            places = torch.arange(step, labels.shape[axis] + step, device=labels.device)
            other = other.index_select(axis, places.clamp(0, labels.shape[axis] - 1))
        soft += one_hot(other, num_classes=num_classes) * (weight / math.fsum(weights) / 2)
        alone &= other == labels
    # Rounded sums would not be exact where all neighbours agree.
    return torch.where(alone, hard, soft)


def _radii(size: int | float, axes: int, spacing: Spacing | None) -> tuple[int, ...]:
    """Return the voxels on either side of the centre, per axis."""
    if spacing is not None:
        require_positive("size", size)
        # A width of exactly n voxels must not lose its last one to rounding.
        return tuple(math.floor(size / 2 / step * (1 + 1e-9)) for step in spacing)
    if size != int(size) or size < 3 or size % 2 == 0:
        raise ValueRangeError(f"size is {size}: it must be an odd number of voxels, 3 or more")
    return (int(size) // 2,) * axes


def _make(case: TargetCase, options: Options) -> Tensor:
    require_choice("unit", options["unit"], ("voxel", "mm"))
    spacing = case.spacing if options["unit"] == "mm" else None
    lengths = {name: value for name, value in options.items() if name != "unit"}
    return svls(case.labels, num_classes=case.num_classes, spacing=spacing, **lengths)


LABEL = Label(
    "svls",
    "SVLS",
    CLASSES,
    _make,
    {**default_options(svls), "unit": "voxel"},
    when="after",
    on_device=OnDevice(),
)
