"""TransBTS: a convolutional encoder and decoder with a transformer at the bottom."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from sfumato.errors import ValueRangeError
from sfumato.networks.attention import AttentionShape, SelfAttention, perceptron
from sfumato.networks.definition import Network, require_count, require_dropout, require_heads

GROUPS = 8
STRIDE = 8
BLOCKS = (1, 2, 2, 4)


def transbts(
    *,
    in_channels: int,
    out_channels: int,
    image_size: Sequence[int],
    filters: int = 16,
    width: int = 512,
    mlp_width: int = 4096,
    layers: int = 4,
    heads: int = 8,
    dropout: float = 0.1,
    stem_dropout: float = 0.2,
) -> nn.Module:
    """Build TransBTS: convolutions down to an eighth of the grid, a transformer there, convolutions up.

    Encoder widths ``filters`` times 1, 2, 4, 8 with 1, 2, 2, 4 residual blocks; a 3x3x3 convolution makes
    tokens of ``width``, each with a learned position. Only the channels and ``image_size`` have no default.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        image_size: Voxels along the three axes, multiples of 8. The network takes this size only: every
            token has a learned position.
        filters: Feature channels of the finest level, a multiple of 8.
        width: Width of the tokens, a multiple of ``heads``.
        mlp_width: Hidden width of the transformer's perceptrons.
        layers: Transformer layers.
        heads: Attention heads.
        dropout: Dropout probability inside the transformer, in ``[0, 1)``. The released code fixes 0.1.
        stem_dropout: Probability with which a whole channel is dropped after the first convolution.

    Returns:
        A module from ``(B, in_channels, *image_size)`` to logits ``(B, out_channels, *image_size)``.
        31,150,561 parameters for 3 channels in, 1 out and 128x128x32; 31,675,315 for 4, 3 and 128x128x64;
        32,723,891 for 128x128x128.

        Differences from the released code: its channel dropout after the first convolution acts in
        evaluation too, here in training only. It builds a linear patch projection that its token
        convolution replaces (197,120 weights for 3 channels, 262,656 for 4) and a last layer norm whose
        output it discards (1,024): neither is built here.

    Raises:
        ValueRangeError: widths that groups or heads cannot share, no layer, or a dropout outside ``[0, 1)``.

    References:
        Wang et al. (2021), TransBTS: multimodal brain tumor segmentation using transformer,
        doi:10.1007/978-3-030-87193-2_11.
    """
    require_count("layers", layers)
    require_count("mlp_width", mlp_width)
    require_heads("width", width, heads)
    require_dropout("dropout", dropout)
    require_dropout("stem_dropout", stem_dropout)
    if filters < 1 or filters % GROUPS:
        raise ValueRangeError(
            f"filters is {filters}: {GROUPS} groups share it, so give a multiple of {GROUPS}"
        )
    tokens = prod(side // STRIDE for side in image_size)
    shape = AttentionShape(width=width, heads=heads, mlp_width=mlp_width, dropout=dropout)
    transformer = Transformer(shape, tokens=tokens, layers=layers)
    widths = tuple(filters * 2**level for level in range(len(BLOCKS)))
    return TransBTS(in_channels, out_channels, widths, transformer, stem_dropout=stem_dropout)


class TransBTS(nn.Module):
    """The network that :func:`transbts` builds; ``widths`` are its levels' feature channels, finest first."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        transformer: Transformer,
        *,
        stem_dropout: float,
    ) -> None:
        super().__init__()
        bottom = widths[-1]
        self.stem = nn.Sequential(
            nn.Conv3d(in_channels, widths[0], kernel_size=3, padding=1), nn.Dropout3d(stem_dropout)
        )
        self.down = nn.ModuleList(
            nn.Conv3d(before, after, kernel_size=3, stride=2, padding=1) for before, after in pairwise(widths)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(_encoder_block(width) for _ in range(count)))
            for width, count in zip(widths, BLOCKS, strict=True)
        )
        self.to_tokens = nn.Sequential(
            nn.BatchNorm3d(bottom),
            nn.ReLU(inplace=True),
            nn.Conv3d(bottom, transformer.width, kernel_size=3, padding=1),
        )
        self.transformer = transformer
        self.from_tokens = nn.Sequential(
            *_normed(transformer.width, bottom), *_normed(bottom, bottom), _decoder_block(bottom)
        )
        self.up = nn.ModuleList(_Up(below, above) for above, below in reversed(list(pairwise(widths))))
        self.head = nn.Conv3d(widths[0], out_channels, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits ``(B, K, *S)`` of images ``(B, C, *S)``."""
        features = self.blocks[0](self.stem(image))
        skips = []
        for down, block in zip(self.down, self.blocks[1:], strict=True):
            skips.append(features)
            features = block(down(features))
        features = self.from_tokens(self.transformer(self.to_tokens(features)))
        for up in self.up:
            features = up(features, skips.pop())
        logits: Tensor = self.head(features)
        return logits


class Transformer(nn.Module):
    """Pre-norm transformer layers over the voxels of a grid of fixed size; each voxel is a token."""

    def __init__(self, shape: AttentionShape, *, tokens: int, layers: int) -> None:
        super().__init__()
        self.width = shape.width
        self.positions = nn.Parameter(torch.zeros(1, tokens, shape.width))
        self.dropout = nn.Dropout(shape.dropout)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(layers))

    def forward(self, features: Tensor) -> Tensor:
        """Transform ``(B, width, *S)``, keeping the shape."""
        tokens: Tensor = self.dropout(features.flatten(2).transpose(1, 2) + self.positions)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens.transpose(1, 2).reshape(features.shape)


class _Layer(nn.Module):
    def __init__(self, shape: AttentionShape) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(shape.width)
        self.attention = SelfAttention(shape)
        self.mlp_norm = nn.LayerNorm(shape.width)
        self.mlp = perceptron(shape)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.attention_norm(tokens))
        changed: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return changed


class _Residual(nn.Module):
    """Layers whose result is added to their input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = features + self.layers(features)
        return added


def _encoder_block(width: int) -> _Residual:
    """Build twice group norm, ReLU and 3x3x3 convolution, added to the input."""
    layers: list[nn.Module] = []
    for _ in range(2):
        conv = nn.Conv3d(width, width, kernel_size=3, padding=1)
        layers += [nn.GroupNorm(GROUPS, width), nn.ReLU(inplace=True), conv]
    return _Residual(*layers)


def _decoder_block(width: int) -> _Residual:
    """Build twice 3x3x3 convolution, batch norm and ReLU, added to the input."""
    return _Residual(*_normed(width, width), *_normed(width, width))


class _Up(nn.Module):
    """1x1x1 convolution, doubling by transposed convolution, skip joined by 1x1x1 convolution, block."""

    def __init__(self, below: int, above: int) -> None:
        super().__init__()
        self.enlarge = nn.Sequential(
            nn.Conv3d(below, above, kernel_size=1), nn.ConvTranspose3d(above, above, kernel_size=2, stride=2)
        )
        self.join = nn.Conv3d(2 * above, above, kernel_size=1)
        self.block = _decoder_block(above)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        joined: Tensor = self.block(self.join(torch.cat([skip, self.enlarge(features)], dim=1)))
        return joined


def _normed(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv3d(before, after, kernel_size=3, padding=1), nn.BatchNorm3d(after), nn.ReLU(inplace=True)]


NETWORK = Network("transbts", transbts, axes=(3,), divisor=8, fixed_size=True)
