"""EoFormer: a hybrid encoder and a decoder whose convolutions carry edge filters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from sfumato.errors import ValueRangeError
from sfumato.networks.attention import DropPath, channel_norm, join_heads, split_heads
from sfumato.networks.concatenating import SkipUp
from sfumato.networks.definition import Network, require_dropout, require_levels
from sfumato.networks.eoformer_edges import EdgeConv3d, laplace_filter, sobel_filters

HEAD_WIDTH = 32
EXPANSION = 2
MLP_RATIO = 4
BLOCKS = 2
CONVOLUTION_LEVELS = 2


def eoformer(
    *,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = (32, 64, 128, 256),
    last_filters: int = 16,
    dropout: float = 0.1,
) -> nn.Module:
    """Build EoFormer: attention of linear cost on the way down, Sobel and Laplace blocks on the way up.

    The first convolution already halves the grid. Every level has two blocks, each a token mixer and a
    perceptron of four times the width, both added to their input. Mixers of the first two levels: 1x1x1
    convolution to twice the width, squared ReLU, 3x3x3 depthwise convolution, 1x1x1 convolution. Of the
    others: attention in which the keys, softmaxed over voxels, gather the values, and the queries, softmaxed
    over channels, read them. A decoder level enlarges, joins the skip, and has a Sobel and a Laplace block.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        channels: Feature channels per level, finest (half the grid) first; at least three, from the third on
            multiples of 32, the width of one attention head.
        last_filters: Feature channels at the image's own grid.
        dropout: Largest probability of dropping a residual branch, in ``[0, 1)``: rising evenly from 0 in the
            first encoder block to this in the last, none in the decoder. SiNGR sets 0.1.

    Returns:
        A module from ``(B, in_channels, *S)`` to logits ``(B, out_channels, *S)`` with three spatial axes,
        every side a multiple of ``2 ** len(channels)``. 6,378,725 parameters with 3 channels in and 1 out,
        6,379,623 with 4 and 3 (the released network has 6,376,693 and 6,377,591).

        Differences from the released code: the edge filters are buffers, not untrained parameters. The
        branches are one folded kernel in training too, not in evaluation only, so the bias of the 1x1x1
        convolutions, which the filters cancel, is left out. Our choices where the description is silent:
        how the decoder joins its skip (3x3x3 convolution of both), how it enlarges (2x2x2 transposed
        convolution), a 3x3x3 convolution before the head, and where paths are dropped. The decoder's were
        chosen so that the count comes near the released one, so its nearness does not show that the layers
        are the same.

    Raises:
        ValueRangeError: fewer than three levels, a width that heads cannot share, or a dropout outside
            ``[0, 1)``.

    References:
        She et al. (2023), EoFormer: edge-oriented transformer for brain tumor segmentation,
        doi:10.1007/978-3-031-43901-8_32; attention after Shen et al. (2021), Efficient attention: attention
        with linear complexities, doi:10.1109/WACV48630.2021.00357.
    """
    require_levels("channels", channels, least=3)
    require_levels("last_filters", (last_filters,), least=1)
    require_dropout("dropout", dropout)
    if any(width % HEAD_WIDTH for width in channels[CONVOLUTION_LEVELS:]):
        raise ValueRangeError(
            f"channels is {tuple(channels)}: from the third on they must be multiples of {HEAD_WIDTH}"
        )
    return EoFormer(in_channels, out_channels, tuple(channels), last_filters, drop_path=dropout)


class EoFormer(nn.Module):
    """The network that :func:`eoformer` builds; ``drop_path`` is its ``dropout``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        last_filters: int,
        *,
        drop_path: float,
    ) -> None:
        super().__init__()
        rates = iter(torch.linspace(0, drop_path, BLOCKS * len(channels), device="cpu").tolist())
        self.down = nn.ModuleList([_Down(in_channels, channels[0], norm_before=False)])
        self.down.extend(_Down(above, below, norm_before=True) for above, below in pairwise(channels))
        self.encoder = nn.ModuleList(
            nn.Sequential(*(_encoder_block(level, width, next(rates)) for _ in range(BLOCKS)))
            for level, width in enumerate(channels)
        )
        pairs = list(pairwise(channels))
        self.up = nn.ModuleList(
            _up(below, above, scaled=level == len(pairs) - 1)
            for level, (above, below) in reversed(list(enumerate(pairs)))
        )
        self.enlarge = _enlarging(channels[0], last_filters)
        self.head = nn.Sequential(
            nn.Conv3d(last_filters, last_filters, kernel_size=3, padding=1),
            nn.PReLU(last_filters),
            nn.Conv3d(last_filters, out_channels, kernel_size=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits ``(B, K, *S)`` of images ``(B, C, *S)``."""
        features, skips = image, []
        for down, blocks in zip(self.down, self.encoder, strict=True):
            features = blocks(down(features))
            skips.append(features)
        skips.pop()
        for up in self.up:
            features = up(features, skips.pop())
        logits: Tensor = self.head(self.enlarge(features))
        return logits


class Residual(nn.Module):
    """A token mixer and a perceptron, each normalised over channels before and added to its input.

    Args:
        width: Feature channels.
        mixer: From ``(B, width, *S)`` to the same shape.
        drop_path: Probability of dropping a branch in training.
        scaled: The input of each sum has a learned scale per channel.
        weighted: The norm has a learned weight per channel.
    """

    def __init__(
        self, width: int, mixer: nn.Module, *, drop_path: float, scaled: bool, weighted: bool
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.mlp = nn.Sequential(
            _pointwise(width, MLP_RATIO * width), SquaredReLU(), _pointwise(MLP_RATIO * width, width)
        )
        self.drop_path = DropPath(drop_path)
        self.weights = nn.Parameter(torch.ones(2, width)) if weighted else None
        self.scales = nn.Parameter(torch.ones(2, width, 1, 1, 1)) if scaled else None

    def forward(self, features: Tensor) -> Tensor:
        """Mix the voxels of ``(B, width, *S)``, keeping the shape."""
        for place, branch in enumerate((self.mixer, self.mlp)):
            weight = None if self.weights is None else self.weights[place]
            kept = features if self.scales is None else self.scales[place] * features
            features = kept + self.drop_path(branch(channel_norm(features, weight)))
        return features


class SquaredReLU(nn.Module):
    """``scale * max(x, 0) ** 2 + bias`` with one learned scale and one learned bias."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """Scale voxel by voxel, any shape."""
        return self.scale * torch.relu(features) ** 2 + self.bias


class LinearAttention(nn.Module):
    """Attention whose cost grows with the voxels, not with their square; ``heads`` share ``width`` evenly."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.projection = nn.Linear(width, width, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Mix the voxels of ``(B, width, *S)``, keeping the shape."""
        tokens = features.flatten(2).transpose(1, 2)
        parts = self.queries_keys_values(tokens).chunk(3, dim=-1)
        queries, keys, values = (split_heads(part, self.heads) for part in parts)
        gathered = keys.softmax(dim=-2).transpose(-1, -2) @ values
        read: Tensor = self.projection(join_heads(queries.softmax(dim=-1) @ gathered))
        return read.transpose(1, 2).reshape(features.shape)


class _Down(nn.Module):
    """3x3x3 convolution of stride 2, normalised over channels before it, or after it in the first level."""

    def __init__(self, before: int, after: int, *, norm_before: bool) -> None:
        super().__init__()
        self.norm_before = norm_before
        self.weight = nn.Parameter(torch.ones(before if norm_before else after))
        self.conv = nn.Conv3d(before, after, kernel_size=3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        if self.norm_before:
            smaller: Tensor = self.conv(channel_norm(features, self.weight))
            return smaller
        return channel_norm(self.conv(features), self.weight)


def _up(below: int, above: int, *, scaled: bool) -> SkipUp:
    """Enlarge, join the skip by a 3x3x3 convolution, and refine by a Sobel and a Laplace block."""
    enlarge, join = _enlarging(below, above), nn.Conv3d(2 * above, above, kernel_size=3, padding=1)
    mixers = (
        nn.Sequential(EdgeConv3d(above, filters), nn.PReLU(above))
        for filters in (sobel_filters(), laplace_filter())
    )
    blocks = (Residual(above, mixer, drop_path=0.0, scaled=scaled, weighted=False) for mixer in mixers)
    return SkipUp(enlarge, join, nn.Sequential(*blocks))


def _encoder_block(level: int, width: int, drop_path: float) -> Residual:
    convolutional = level < CONVOLUTION_LEVELS
    mixer: nn.Module
    if convolutional:
        hidden = EXPANSION * width
        mixer = nn.Sequential(
            _pointwise(width, hidden),
            SquaredReLU(),
            nn.Conv3d(hidden, hidden, kernel_size=3, padding=1, groups=hidden, bias=False),
            _pointwise(hidden, width),
        )
    else:
        mixer = LinearAttention(width, width // HEAD_WIDTH)
    return Residual(width, mixer, drop_path=drop_path, scaled=not convolutional, weighted=True)


def _pointwise(before: int, after: int) -> nn.Conv3d:
    return nn.Conv3d(before, after, kernel_size=1, bias=False)


def _enlarging(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.GroupNorm(1, before), nn.ConvTranspose3d(before, after, kernel_size=2, stride=2))


NETWORK = Network("eoformer", eoformer, axes=(3,), divisor="channels", first_halves=True)
