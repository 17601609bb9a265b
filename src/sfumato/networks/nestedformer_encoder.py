"""NestedFormer's encoder of one modality: convolutions and blocks that pool over the whole grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

BLOCKS = 2
MLP_RATIO = 4


class GlobalPool(nn.Module):
    """Each channel's mean, spread back over the voxels by one weight and one bias per voxel of ``grid``."""

    def __init__(self, grid: Sequence[int]) -> None:
        super().__init__()
        self.spread = nn.Linear(1, prod(grid))

    def forward(self, features: Tensor) -> Tensor:
        """Pool ``(B, C, *grid)``, keeping the shape."""
        means = features.flatten(2).mean(dim=-1, keepdim=True)
        spread: Tensor = self.spread(means)
        return spread.reshape(features.shape)


class PoolBlock(nn.Module):
    """A global pool and a perceptron, each after a group norm of one group and added to its input."""

    def __init__(self, width: int, grid: Sequence[int]) -> None:
        super().__init__()
        self.pool = nn.Sequential(nn.GroupNorm(1, width), GlobalPool(grid))
        self.mlp = nn.Sequential(
            nn.GroupNorm(1, width),
            nn.Conv3d(width, MLP_RATIO * width, kernel_size=1),
            nn.GELU(),
            nn.Conv3d(MLP_RATIO * width, width, kernel_size=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Mix ``(B, width, *grid)``, keeping the shape."""
        features = features + self.pool(features)
        added: Tensor = features + self.mlp(features)
        return added


class GlobalPoolEncoder(nn.Module):
    """A convolution at the image's grid, then levels of one convolution of stride 2 and two pool blocks.

    ``channels`` are the levels' feature channels, finest first.
    """

    def __init__(self, channels: Sequence[int], image_size: Sequence[int]) -> None:
        super().__init__()
        self.stem = _normed(1, channels[0], stride=1)
        self.levels = nn.ModuleList()
        for level, (above, below) in enumerate(pairwise(channels), start=1):
            grid = [side // 2**level for side in image_size]
            blocks = (PoolBlock(below, grid) for _ in range(BLOCKS))
            self.levels.append(nn.Sequential(_normed(above, below, stride=2), *blocks))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Compute the features of every level, finest first, of one channel ``(B, 1, *S)``."""
        features = [self.stem(image)]
        for level in self.levels:
            features.append(level(features[-1]))
        return features


def _normed(before: int, after: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(before, after, kernel_size=3, stride=stride, padding=1),
        nn.InstanceNorm3d(after),
        nn.LeakyReLU(0.01),
    )
