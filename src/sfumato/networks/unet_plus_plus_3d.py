"""UNet++ in 3-D: a U-Net whose skips are themselves small decoders."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sfumato.networks.basic_unet import WIDTHS, require_six_widths
from sfumato.networks.definition import Network, require_dropout


class LastOutput(nn.Module):
    """The last tensor of the list that ``network`` returns."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits ``(B, K, *S)`` of images ``(B, C, *S)``."""
        logits: Tensor = self.network(image)[-1]
        return logits


def unet_plus_plus_3d(
    *, in_channels: int, out_channels: int, channels: Sequence[int] = WIDTHS, dropout: float = 0.1
) -> nn.Module:
    """Build MONAI's ``BasicUNetPlusPlus`` without deep supervision, the "UnetPP3D" of SiNGR's code.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        channels: Feature channels of the five levels, finest first, and of the last block.
        dropout: Dropout probability after every convolution, in ``[0, 1)``; SiNGR sets 0.1.

    Returns:
        A module from ``(B, in_channels, *S)`` to logits ``(B, out_channels, *S)`` with three spatial axes;
        every side is a multiple of 16, and one at least is 32. 6,981,473 parameters with 3 channels in and
        1 out, 6,982,403 with 4 and 3.

        The released code returns a list of one tensor; here it is the tensor. Its three heads for deep
        supervision (99 and 297 weights there) are never trained and not built here.

    Raises:
        ValueRangeError: not six widths, or a dropout outside ``[0, 1)``.

    References:
        Zhou et al. (2018), UNet++: a nested U-Net architecture for medical image segmentation,
        doi:10.1007/978-3-030-00889-5_1.
    """
    from monai.networks.nets.basic_unetplusplus import BasicUNetPlusPlus

    require_six_widths(channels)
    require_dropout("dropout", dropout)
    network = BasicUNetPlusPlus(
        spatial_dims=3,
        in_channels=in_channels,
        out_channels=out_channels,
        features=tuple(channels),
        dropout=dropout,
    )
    for head in ("final_conv_0_1", "final_conv_0_2", "final_conv_0_3"):
        setattr(network, head, nn.Identity())
    return LastOutput(network)


NETWORK = Network("unet++3d", unet_plus_plus_3d, axes=(3,), divisor=16, norm_at_bottom=True)
