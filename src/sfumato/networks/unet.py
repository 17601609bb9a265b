"""MONAI's residual U-Net of any depth."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sfumato.networks.definition import Network, require_dropout, require_levels


def unet(
    *,
    in_channels: int,
    out_channels: int,
    axes: int,
    channels: Sequence[int] = (16, 32, 64, 128),
    res_units: int = 2,
    norm: str = "instance",
    dropout: float = 0.0,
) -> nn.Module:
    """Build MONAI's U-Net: one level per entry of ``channels``, each level halving the grid.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        axes: 2 or 3 spatial axes.
        channels: Feature channels per level, finest first; at least two levels.
        res_units: Residual units per level; 0 gives plain convolutions.
        norm: ``"instance"`` or ``"batch"``.
        dropout: Dropout probability in ``[0, 1)``.

    Returns:
        A module from ``(B, in_channels, *S)`` to logits ``(B, out_channels, *S)``. Every side of ``S`` must
        be a multiple of ``2 ** (len(channels) - 1)``. 1.2 million parameters in 3-D with the defaults.

    Raises:
        ValueRangeError: fewer than two levels, or a dropout outside ``[0, 1)``.

    References:
        Ronneberger, Fischer, Brox (2015), U-Net, doi:10.1007/978-3-319-24574-4_28; residual form:
        Kerfoot et al. (2019), Left-ventricle quantification using residual U-Net,
        doi:10.1007/978-3-030-12029-0_40.
    """
    from monai.networks.nets.unet import UNet

    require_levels("channels", channels)
    require_dropout("dropout", dropout)
    return UNet(
        spatial_dims=axes,
        in_channels=in_channels,
        out_channels=out_channels,
        channels=tuple(channels),
        strides=(2,) * (len(channels) - 1),
        num_res_units=res_units,
        norm=norm,
        dropout=dropout,
    )


NETWORK = Network("unet", unet, axes=(2, 3), divisor="channels", norm_at_bottom=True)
