"""The plain 3-D U-Net of pytorch-3dunet, the family that GeoLS and SVLS cite."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sfumato.networks.concatenating import grouped_unet3d, groups_for
from sfumato.networks.definition import Network


def unet3d(
    *, in_channels: int, out_channels: int, channels: Sequence[int] = (64, 128, 256, 512), groups: int = 8
) -> nn.Module:
    """Build the U-Net of pytorch-3dunet.

    Two layers per level, each group normalisation, 3x3x3 convolution without bias and ReLU.

    The first layer of an encoder level has half the level's width, but no less than what comes in.
    Max-pooling down, nearest-neighbour interpolation up, skips concatenated, 1x1x1 head.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        channels: Feature channels per level, finest first. The shipped configurations of pytorch-3dunet
            start at 32.
        groups: Groups of the normalisation; 1 where they do not divide a layer's channels evenly.

    Returns:
        A module from ``(B, in_channels, *S)`` to logits ``(B, out_channels, *S)`` with three spatial axes of
        any size. 16,318,691 parameters with 1 channel in and 1 out, 16,321,419 with 4 and 3; 4,081,267 and
        4,082,635 with ``channels`` (32, 64, 128, 256).

        The released network returns probabilities; here they are logits. Its default dropout does nothing,
        for its layers hold none, and is left out. A side that shrinks to one voxel is not pooled further,
        where the released network stops with an error.

    Raises:
        ValueRangeError: fewer than two levels, or a width or ``groups`` below 1.

    References:
        Çiçek et al. (2016), 3D U-Net: learning dense volumetric segmentation from sparse annotation,
        doi:10.1007/978-3-319-46723-8_49; Wolny et al. (2020), Accurate and versatile 3D segmentation of
        plant tissues at cellular resolution, doi:10.7554/eLife.57613.
    """
    return grouped_unet3d(in_channels, out_channels, channels, groups, _layer)


def _layer(before: int, after: int, groups: int) -> list[nn.Module]:
    return [
        nn.GroupNorm(groups_for(before, groups), before),
        nn.Conv3d(before, after, kernel_size=3, padding=1, bias=False),
        nn.ReLU(inplace=True),
    ]


NETWORK = Network("unet3d", unet3d, axes=(3,), divisor=1)
