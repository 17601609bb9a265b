"""The U-Net skeleton that three published networks share: pool down, interpolate up, concatenate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


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


def halved(features: Tensor) -> Tensor:
    """Max-pool ``(B, C, *S)`` by 2 along every axis that is longer than one voxel."""
    window = [min(2, side) for side in features.shape[2:]]
    pool = functional.max_pool2d if len(window) == 2 else functional.max_pool3d
    return pool(features, kernel_size=window, stride=window)


def groups_for(channels: int, groups: int) -> int:
    """Return ``groups`` where they divide ``channels`` evenly, else 1."""
    return groups if channels % groups == 0 else 1
