"""The U-Net skeleton that three published networks share: pool down, interpolate up, concatenate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfumato.networks.definition import require_count, require_levels


class ConcatenatingUNet(nn.Module):
    """Blocks on the way down and up, with max-pooling, interpolation and concatenation between them.

    Any image size goes through: the way up interpolates to the size of the skip it joins, and a side that has
    shrunk to one voxel is not pooled further.

    Args:
        encoder: One block per level, finest first; the last is the bottom.
        decoder: One block per level but the bottom, coarsest first; each sees the skip and the features from
            below, in this order.
        head: From the finest features to logits.
        mode: ``"nearest"`` or ``"bilinear"`` (corners aligned) interpolation.
    """

    def __init__(
        self, encoder: Sequence[nn.Module], decoder: Sequence[nn.Module], head: nn.Module, *, mode: str
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.head = head
        self.mode = mode

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits ``(B, K, *S)`` of images ``(B, C, *S)``."""
        features, skips = image, []
        for level, block in enumerate(self.encoder):
            features = block(halved(features) if level else features)
            skips.append(features)
        skips.pop()
        for block in self.decoder:
            skip = skips.pop()
            features = block(torch.cat([skip, self._enlarged(features, skip.shape[2:])], dim=1))
        logits: Tensor = self.head(features)
        return logits

    def _enlarged(self, features: Tensor, size: torch.Size) -> Tensor:
        corners = None if self.mode == "nearest" else True
        return functional.interpolate(features, size=tuple(size), mode=self.mode, align_corners=corners)


class SkipUp(nn.Module):
    """One level of a way up: enlarge, join the skip, refine.

    Args:
        enlarge: From the features below to the skip's grid.
        join: From the skip and the enlarged features, in this order, to the level's width.
        refine: What follows.
    """

    def __init__(self, enlarge: nn.Module, join: nn.Module, refine: nn.Module) -> None:
        super().__init__()
        self.enlarge, self.join, self.refine = enlarge, join, refine

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Compute the level's features from those below and the skip."""
        refined: Tensor = self.refine(self.join(torch.cat([skip, self.enlarge(features)], dim=1)))
        return refined


def halved(features: Tensor) -> Tensor:
    """Max-pool ``(B, C, *S)`` by 2 along every axis that is longer than one voxel."""
    window = [min(2, side) for side in features.shape[2:]]
    pool = functional.max_pool2d if len(window) == 2 else functional.max_pool3d
    return pool(features, kernel_size=window, stride=window)


def groups_for(channels: int, groups: int) -> int:
    """Return ``groups`` where they divide ``channels`` evenly, else 1."""
    return groups if channels % groups == 0 else 1


def grouped_unet3d(
    in_channels: int,
    out_channels: int,
    channels: Sequence[int],
    groups: int,
    layer: Callable[[int, int, int], list[nn.Module]],
) -> ConcatenatingUNet:
    """Build a 3-D U-Net of two layers per level, each made by ``layer(before, after, groups)``.

    Raises:
        ValueRangeError: fewer than two levels, or a width or ``groups`` below 1.
    """
    require_levels("channels", channels)
    require_count("groups", groups)

    def block(before: int, middle: int, after: int) -> nn.Sequential:
        return nn.Sequential(*layer(before, middle, groups), *layer(middle, after, groups))

    encoder = [
        block(before, max(width // 2, before), width) for before, width in pairwise((in_channels, *channels))
    ]
    decoder = [block(above + below, above, above) for above, below in reversed(list(pairwise(channels)))]
    head = nn.Conv3d(channels[0], out_channels, kernel_size=1)
    return ConcatenatingUNet(encoder, decoder, head, mode="nearest")
