"""NestedFormer: one encoder per channel, fused by attention within and across the channels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sfumato.networks.attention import AttentionShape
from sfumato.networks.concatenating import SkipUp
from sfumato.networks.definition import Network, require_count, require_dropout, require_heads, require_levels
from sfumato.networks.nestedformer_encoder import GlobalPoolEncoder
from sfumato.networks.nestedformer_fusion import Fusion


def nestedformer(
    *,
    in_channels: int,
    out_channels: int,
    image_size: Sequence[int],
    channels: Sequence[int] = (16, 16, 32, 64, 128),
    mlp_width: int = 256,
    layers: int = 2,
    heads: int = 8,
    tokens: int = 32,
    dropout: float = 0.1,
) -> nn.Module:
    """Build NestedFormer: an encoder per channel (a modality), fusion at the bottom, gated skips, a decoder.

    The grid is halved four times. At the bottom, attention runs within every modality along the third axis,
    across the other two, and in windows; then across modalities through a few learned tokens. The fused
    features of a modality gate its skips, which are joined by 3x3x3 convolutions. Only the channels and
    ``image_size`` have no default.

    Args:
        in_channels: Image channels, each with its own encoder.
        out_channels: Logits per voxel.
        image_size: Voxels along the three axes, multiples of 32. The network takes this size only: layers of
            the encoder hold two weights per voxel, and the bottom a learned position per voxel.
        channels: Feature channels of the five levels, finest first.
        mlp_width: Hidden width of the perceptrons at the bottom.
        layers: Attention layers at the bottom, of both kinds.
        heads: Attention heads.
        tokens: Learned tokens per modality.
        dropout: Dropout probability at the bottom, in ``[0, 1)``. The released code fixes 0.1.

    Returns:
        A module from ``(B, in_channels, *image_size)`` to logits ``(B, out_channels, *image_size)``.
        5,578,479 parameters for 3 channels, 1 out and 128x128x32 (the released network: 5,561,239),
        8,059,169 for 4, 3 and 128x128x64 (8,043,769), 10,586,401 for 128x128x128 (10,575,097).

        Written from the paper's abstract and a list of the released network's sizes, not from its code, whose
        unused layer norm is not built. Ours are: the norms and residual convolutions of encoder and decoder,
        the form of the attention layers, of the tokens and of the gates, and the joining of the modalities.
        They were chosen so that the count comes near the released one, so its nearness does not show that
        the layers are the same.

    Raises:
        ValueRangeError: not five levels, a width that the heads cannot share, a count below 1, or a dropout
            outside ``[0, 1)``.

    References:
        Xing et al. (2022), NestedFormer: nested modality-aware transformer for brain tumor segmentation,
        doi:10.1007/978-3-031-16443-9_14; encoder after Yu et al. (2022), MetaFormer is actually what you
        need for vision, doi:10.1109/CVPR52688.2022.01055.
    """
    require_levels("channels", channels, least=5, most=5)
    for name, value in (("mlp_width", mlp_width), ("layers", layers), ("tokens", tokens)):
        require_count(name, value)
    require_heads("the last of channels", channels[-1], heads)
    require_dropout("dropout", dropout)
    shape = AttentionShape(width=channels[-1], heads=heads, mlp_width=mlp_width, dropout=dropout)
    grid = tuple(side // 2 ** (len(channels) - 1) for side in image_size)
    fusion = Fusion(shape, modalities=in_channels, grid=grid, layers=layers, tokens=tokens)
    encoders = [GlobalPoolEncoder(channels, image_size) for _ in range(in_channels)]
    return NestedFormer(encoders, fusion, channels, out_channels)


class NestedFormer(nn.Module):
    """The network that :func:`nestedformer` builds, with one encoder per modality."""

    def __init__(
        self,
        encoders: Sequence[GlobalPoolEncoder],
        fusion: Fusion,
        channels: Sequence[int],
        out_channels: int,
    ) -> None:
        super().__init__()
        bottom, above = channels[-1], channels[:-1]
        self.encoders = nn.ModuleList(encoders)
        self.fusion = fusion
        self.skips = nn.ModuleList(_GatedSkip(len(encoders), bottom, width) for width in above)
        self.bottom = nn.Sequential(
            nn.Conv3d(len(encoders) * bottom, bottom, kernel_size=1), ResidualConv(bottom, bottom, layers=1)
        )
        self.up = nn.ModuleList(_up(below, width) for width, below in reversed(list(pairwise(channels))))
        self.head = nn.Conv3d(channels[0], out_channels, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits ``(B, K, *S)`` of images ``(B, C, *S)``."""
        levels = [encoder(image[:, place : place + 1]) for place, encoder in enumerate(self.encoders)]
        fused = self.fusion([features[-1] for features in levels])
        features = self.bottom(torch.cat(fused, dim=1))
        for up, level in zip(self.up, reversed(range(len(self.skips))), strict=True):
            skip = self.skips[level]([encoded[level] for encoded in levels], fused)
            features = up(features, skip)
        logits: Tensor = self.head(features)
        return logits


class ResidualConv(nn.Module):
    """3x3x3 convolutions with instance norm and LeakyReLU, added to the input, 1x1x1 where widths differ."""

    def __init__(self, before: int, after: int, *, layers: int = 2) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for place in range(layers):
            parts += [
                nn.Conv3d(after if place else before, after, kernel_size=3, padding=1, bias=False),
                nn.InstanceNorm3d(after),
                nn.LeakyReLU(0.01),
            ]
        self.layers = nn.Sequential(*parts)
        self.shortcut = (
            nn.Identity() if before == after else nn.Conv3d(before, after, kernel_size=1, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Convolve ``(B, before, *S)`` to ``(B, after, *S)``."""
        added: Tensor = self.shortcut(features) + self.layers(features)
        return added


class _GatedSkip(nn.Module):
    """Each modality's features, weighted by a gate from its fused bottom, joined by a 3x3x3 convolution."""

    def __init__(self, modalities: int, bottom: int, width: int) -> None:
        super().__init__()
        self.gates = nn.ModuleList(nn.Conv3d(bottom, width, kernel_size=1) for _ in range(modalities))
        self.join = nn.Conv3d(modalities * width, width, kernel_size=3, padding=1)

    def forward(self, levels: Sequence[Tensor], fused: Sequence[Tensor]) -> Tensor:
        gated = []
        for gate, features, bottom in zip(self.gates, levels, fused, strict=True):
            weight = functional.interpolate(
                torch.sigmoid(gate(bottom)), size=features.shape[2:], mode="trilinear", align_corners=False
            )
            gated.append(features * weight)
        joined: Tensor = self.join(torch.cat(gated, dim=1))
        return joined


def _up(below: int, above: int) -> SkipUp:
    """Double the grid by transposed convolution, concatenate the skip, and refine by convolutions."""
    enlarge = nn.ConvTranspose3d(below, above, kernel_size=2, stride=2, bias=False)
    return SkipUp(enlarge, nn.Identity(), ResidualConv(2 * above, above))


NETWORK = Network("nestedformer", nestedformer, axes=(3,), divisor=32, fixed_size=True)
