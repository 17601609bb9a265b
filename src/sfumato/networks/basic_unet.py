"""MONAI's plain U-Net, the "UNet3D" of SiNGR's tables."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sfumato.networks.definition import Network, require_dropout, require_levels

# Five levels of the encoder, and the block after the last upsampling.
WIDTHS = (32, 32, 64, 128, 256, 32)


def require_six_widths(channels: Sequence[int]) -> None:
    """Raise unless ``channels`` holds the five levels' widths and the last block's."""
    require_levels("channels", channels, least=6, most=6, what="for five levels and the last block")


def basic_unet(
    *, in_channels: int, out_channels: int, axes: int, channels: Sequence[int] = WIDTHS, dropout: float = 0.1
) -> nn.Module:
    """Build MONAI's ``BasicUNet``: two convolutions per level, max-pooling, transposed convolutions up.

    Affine instance normalisation, LeakyReLU of slope 0.1, convolutions of 3 voxels a side with bias.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        axes: 2 or 3 spatial axes.
        channels: Feature channels of the five levels, finest first, and of the last block.
        dropout: Dropout probability after every convolution, in ``[0, 1)``; SiNGR sets 0.1.

    Returns:
        A module from ``(B, in_channels, *S)`` to logits ``(B, out_channels, *S)``; every side of ``S`` is a
        multiple of 16, and one side at least is 32. In 3-D, 5,751,105 parameters with 3 channels in and 1
        out, 5,752,035 with 4 and 3. It is the released network.

    Raises:
        ValueRangeError: not six widths, or a dropout outside ``[0, 1)``.

    References:
        Falk et al. (2019), U-Net: deep learning for cell counting, detection, and morphometry,
        doi:10.1038/s41592-018-0261-2.
    """
    from monai.networks.nets.basic_unet import BasicUNet

    require_six_widths(channels)
    require_dropout("dropout", dropout)
    return BasicUNet(
        spatial_dims=axes,
        in_channels=in_channels,
        out_channels=out_channels,
        features=tuple(channels),
        dropout=dropout,
    )


NETWORK = Network("basic-unet", basic_unet, axes=(2, 3), divisor=16, norm_at_bottom=True)
