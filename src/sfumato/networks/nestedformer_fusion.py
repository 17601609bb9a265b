"""NestedFormer's bottom: attention within each modality, then across the modalities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfumato.networks.attention import AttentionShape, SelfAttention, join_heads, perceptron, split_heads


class Fusion(nn.Module):
    """From the bottom features of every modality to the same, fused; the sides of the grid are even.

    There are ``layers`` within and as many across the modalities, and ``tokens`` learned per modality.
    """

    def __init__(
        self, shape: AttentionShape, *, modalities: int, grid: Sequence[int], layers: int, tokens: int
    ) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(modalities, shape.width, *grid))
        self.within = nn.ModuleList(TriOrientedLayer(shape, grid) for _ in range(layers))
        self.chooser = nn.Linear(shape.width, tokens, bias=False)
        self.across = nn.ModuleList(CrossModalityLayer(shape, modalities) for _ in range(layers))

    def forward(self, modalities: Sequence[Tensor]) -> list[Tensor]:
        """Fuse one tensor ``(B, width, *grid)`` per modality, keeping the shapes."""
        shape = modalities[0].shape
        voxels = []
        for features, positions in zip(modalities, self.positions, strict=True):
            mixed = (features + positions).movedim(1, -1)
            for layer in self.within:
                mixed = layer(mixed)
            voxels.append(mixed.flatten(1, 3))
        # A token is a mean of a modality's voxels, weighted by how well each suits it.
        tokens = torch.cat(
            [self.chooser(part).softmax(dim=1).transpose(1, 2) @ part for part in voxels], dim=1
        )
        for layer in self.across:
            tokens, voxels = layer(tokens, voxels)
        return [part.transpose(1, 2).reshape(shape) for part in voxels]


class TriOrientedLayer(nn.Module):
    """Attention along the third axis and across the other two, then in windows; a perceptron after each.

    Shared by the modalities. A window has half the grid's voxels, which are even, along every axis.
    """

    def __init__(self, shape: AttentionShape, grid: Sequence[int]) -> None:
        super().__init__()
        self.line_norm = nn.LayerNorm(shape.width)
        self.vertical = SelfAttention(shape)
        self.horizontal = SelfAttention(shape)
        self.line_mlp = nn.Sequential(nn.LayerNorm(shape.width), perceptron(shape))
        self.window_norm = nn.LayerNorm(shape.width)
        self.windowed = WindowAttention(shape, tuple(side // 2 for side in grid))
        self.window_mlp = nn.Sequential(nn.LayerNorm(shape.width), perceptron(shape))

    def forward(self, voxels: Tensor) -> Tensor:
        """Attend within ``(B, *grid, width)``, keeping the shape."""
        normed = self.line_norm(voxels)
        vertical = self.vertical(normed.flatten(0, 2)).view(normed.shape)
        plane = normed.movedim(3, 1)
        horizontal = self.horizontal(plane.flatten(0, 1).flatten(1, 2)).view(plane.shape).movedim(1, 3)
        voxels = voxels + vertical + horizontal
        voxels = voxels + self.line_mlp(voxels)
        voxels = voxels + self.windowed(self.window_norm(voxels))
        added: Tensor = voxels + self.window_mlp(voxels)
        return added


class WindowAttention(nn.Module):
    """Attention inside windows, with a learned bias per relative position that all heads share."""

    places: Tensor

    def __init__(self, shape: AttentionShape, window: tuple[int, ...]) -> None:
        super().__init__()
        self.window = window
        self.attention = SelfAttention(shape)
        side = 2 * max(window) - 1
        self.bias = nn.Parameter(torch.zeros(side**3))
        axes = [torch.arange(voxels, device="cpu") for voxels in window]
        points = torch.cartesian_prod(*axes)
        steps = points[:, None] - points[None] + max(window) - 1
        places = (steps[..., 0] * side + steps[..., 1]) * side + steps[..., 2]
        self.register_buffer("places", places, persistent=False)

    def forward(self, voxels: Tensor) -> Tensor:
        """Attend within ``(B, *grid, width)``, keeping the shape."""
        result = torch.empty_like(voxels)
        corners = (range(0, side, step) for side, step in zip(voxels.shape[1:4], self.window, strict=True))
        bias = self.bias[self.places]
        for corner in product(*corners):
            box = (slice(None), *(slice(at, at + step) for at, step in zip(corner, self.window, strict=True)))
            part = voxels[box]
            result[box] = self.attention(part.flatten(1, 3), bias).view(part.shape)
        return result


class CrossModalityLayer(nn.Module):
    """The tokens of all modalities exchange, and every voxel reads from them.

    Each modality has its own queries and projection.
    """

    def __init__(self, shape: AttentionShape, modalities: int) -> None:
        super().__init__()
        self.heads = shape.heads
        self.token_norm = nn.LayerNorm(shape.width)
        self.exchange = SelfAttention(shape)
        self.voxel_norm = nn.LayerNorm(shape.width)
        self.queries = nn.ModuleList(
            nn.Linear(shape.width, shape.width, bias=False) for _ in range(modalities)
        )
        self.projections = nn.ModuleList(nn.Linear(shape.width, shape.width) for _ in range(modalities))
        self.mlp = nn.Sequential(nn.LayerNorm(shape.width), perceptron(shape))

    def forward(self, tokens: Tensor, modalities: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Exchange tokens ``(B, T, width)`` and voxels ``(B, V, width)`` between the modalities."""
        tokens = tokens + self.exchange(self.token_norm(tokens))
        keys = split_heads(tokens, self.heads)
        changed = []
        for voxels, query, projection in zip(modalities, self.queries, self.projections, strict=True):
            queries = split_heads(query(self.voxel_norm(voxels)), self.heads)
            read = functional.scaled_dot_product_attention(queries, keys, keys)
            voxels = voxels + projection(join_heads(read))
            changed.append(voxels + self.mlp(voxels))
        return tokens, changed
