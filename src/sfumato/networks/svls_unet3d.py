"""The 3-D U-Net with which SVLS was published."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sfumato.networks.concatenating import grouped_unet3d, groups_for
from sfumato.networks.definition import Network


def svls_unet3d(
    *,
    in_channels: int,
    out_channels: int,
    channels: Sequence[int] = (16, 32, 64, 128, 256, 512),
    groups: int = 8,
) -> nn.Module:
    """Build the U-Net of SVLS.

    Two layers per level, each 3x3x3 convolution without bias, ReLU and group normalisation, in this order.

    The first layer of an encoder level has half the level's width, but no less than what comes in.
    Max-pooling down, nearest-neighbour interpolation up, skips concatenated, 1x1x1 head.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        channels: Feature channels per level, finest first.
        groups: Groups of the normalisation; 1 where they do not divide a layer's channels evenly.

    Returns:
        A module from ``(B, in_channels, *S)`` to logits ``(B, out_channels, *S)`` with three spatial axes of
        any size. 16,508,340 parameters with 4 channels in and 4 out, 16,507,658 with 1 and 2.

        A side that shrinks to one voxel is not pooled further; otherwise it is the released network.

    Raises:
        ValueRangeError: fewer than two levels, or a width or ``groups`` below 1.

    References:
        Islam, Glocker (2021), Spatially varying label smoothing: capturing uncertainty from expert
        annotations, doi:10.1007/978-3-030-78191-0_52; after Çiçek et al. (2016), 3D U-Net,
        doi:10.1007/978-3-319-46723-8_49.
    """
    return grouped_unet3d(in_channels, out_channels, channels, groups, _layer)


def _layer(before: int, after: int, groups: int) -> list[nn.Module]:
    return [
        nn.Conv3d(before, after, kernel_size=3, padding=1, bias=False),
        nn.ReLU(inplace=True),
        nn.GroupNorm(groups_for(after, groups), after),
    ]


NETWORK = Network("svls-unet3d", svls_unet3d, axes=(3,), divisor=1)
