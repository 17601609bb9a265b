"""What the geodesic benchmark measures on: tumours, cells, a maze, a spiral; and SVLS as others write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.ndimage
import torch

from sfumato.geodesic import inner_boundary


def phantom(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A z-scored image ``(*S)`` float32 with three nested, ragged tumours, and its labels 0 .. 3."""
    rng = np.random.default_rng(seed)
    tissue = scipy.ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), 2)
    tissue /= tissue.std()
    centre = [side * place for side, place in zip(shape, (0.5, 0.45, 0.55), strict=False)]
    grid = np.ogrid[tuple(slice(side) for side in shape)]
    radius = (
        np.sqrt(sum((axis - middle) ** 2 for axis, middle in zip(grid, centre, strict=True))) + 3 * tissue
    )
    labels = sum((radius < min(shape) / part).astype(np.int64) for part in (5, 8, 15))
    image = 0.5 * tissue + labels + 0.2 * rng.standard_normal(shape, np.float32)
    return ((image - image.mean()) / image.std()).astype(np.float32), np.asarray(labels)


def cells(side: int, count: int) -> torch.Tensor:
    """Labels of a cube cut into cells around random points."""
    points = np.random.default_rng(2).integers(0, side, (count, 3))
    ground = np.ones((side,) * 3, bool)
    ground[tuple(points.T)] = False
    near = scipy.ndimage.distance_transform_edt(ground, return_distances=False, return_indices=True)
    owner = np.zeros((side,) * 3, np.int64)
    owner[tuple(points.T)] = np.arange(count)
    return torch.from_numpy(owner[tuple(near)])


def boundary(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return inner_boundary(torch.from_numpy(mask), mask.ndim).numpy()


def eroded(mask: torch.Tensor) -> torch.Tensor:
    """The mask without the two layers of voxels at its border."""
    return torch.from_numpy(scipy.ndimage.binary_erosion(mask.numpy(), iterations=2))


def maze(side: int) -> np.ndarray[Any, Any]:
    """A random maze, corridors one voxel wide and branching: a mask of the open voxels."""
    rng = np.random.default_rng(0)
    mask = np.zeros((side,) * 3, bool)
    mask[0, 0, 0] = True
    trail = [(0, 0, 0)]
    while trail:
        here = trail[-1]
        ways = []
        for axis in range(3):
            for step in (-2, 2):
                there = tuple(place + step * (axis == other) for other, place in enumerate(here))
                if min(there) >= 0 and max(there) < side // 2 * 2 and not mask[there]:
                    ways.append(there)
        if not ways:
            trail.pop()
            continue
        there = ways[rng.integers(len(ways))]
        mask[tuple((a + b) // 2 for a, b in zip(here, there, strict=True))] = True
        mask[there] = True
        trail.append(there)
    return mask


def spiral(side: int) -> np.ndarray[Any, Any]:
    """A dark spiral sheet on a bright, noisy ground: the cheap way round is long."""
    rng = np.random.default_rng(1)
    y, x = np.indices((side, side)) - side / 2 + 0.5
    turn = (np.hypot(y, x) / 6 - np.arctan2(y, x) / (2 * np.pi)) % 1
    plane = np.where(turn < 0.5, 0, 100 * rng.standard_normal((side, side)))
    return np.repeat(plane[None], side, axis=0).astype(np.float32)


def depthwise(classes: torch.Tensor) -> Callable[[], Any]:
    """SVLS as everyone writes it: a depthwise convolution of the one-hot labels."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(-1.0, 2.0)] * 3, indexing="ij"))
    kernel = torch.exp(-0.5 * (grid**2).sum(dim=0))
    kernel[1, 1, 1] = 0
    kernel[1, 1, 1] = kernel.sum()
    weight = (kernel / kernel.sum()).expand(4, 1, 3, 3, 3).contiguous()

    def run() -> torch.Tensor:
        hard = torch.nn.functional.one_hot(classes, 4).movedim(-1, 0)[None].float()
        padded = torch.nn.functional.pad(hard, (1,) * 6, mode="replicate")
        return torch.nn.functional.conv3d(padded, weight, groups=4)

    return run
