"""SegResNet: a residual encoder-decoder with group normalisation."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sfumato.errors import ValueRangeError
from sfumato.networks.definition import Network, require_dropout, require_levels


def segresnet(
    *,
    in_channels: int,
    out_channels: int,
    axes: int,
    filters: int = 8,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    blocks_up: Sequence[int] = (1, 1, 1),
    dropout: float = 0.1,
) -> nn.Module:
    """Build MONAI's ``SegResNet``, without the variational branch of the paper.

    Group normalisation with 8 groups; upsampling is linear interpolation after a 1x1x1 convolution.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        axes: 2 or 3 spatial axes.
        filters: Feature channels of the finest level, a multiple of 8; each level doubles them.
        blocks_down: Residual blocks per encoder level, finest first.
        blocks_up: Residual blocks per decoder level: one entry less than ``blocks_down``.
        dropout: Dropout probability after the first convolution, in ``[0, 1)``; SiNGR sets 0.1.

    Returns:
        A module from ``(B, in_channels, *S)`` to logits ``(B, out_channels, *S)``; every side of ``S`` is a
        multiple of ``2 ** (len(blocks_down) - 1)``. In 3-D, 1,176,609 parameters with 3 channels in and 1
        out, 1,176,843 with 4 and 3. It is the released network.

    Raises:
        ValueRangeError: a ``filters`` that 8 groups cannot share, numbers of blocks that do not fit
            together, or a dropout outside ``[0, 1)``.

    References:
        Myronenko (2019), 3D MRI brain tumor segmentation using autoencoder regularization,
        doi:10.1007/978-3-030-11726-9_28.
    """
    from monai.networks.nets.segresnet import SegResNet

    require_levels("blocks_down", blocks_down)
    require_levels("blocks_up", blocks_up, least=1)
    require_dropout("dropout", dropout)
    if filters < 8 or filters % 8:
        raise ValueRangeError(f"filters is {filters}: 8 groups share the channels, so give a multiple of 8")
    if len(blocks_up) != len(blocks_down) - 1:
        raise ValueRangeError(
            f"blocks_up has {len(blocks_up)} entries, but {len(blocks_down)} levels down need "
            f"{len(blocks_down) - 1}"
        )
    return SegResNet(
        spatial_dims=axes,
        in_channels=in_channels,
        out_channels=out_channels,
        init_filters=filters,
        blocks_down=tuple(blocks_down),
        blocks_up=tuple(blocks_up),
        dropout_prob=dropout,
    )


NETWORK = Network("segresnet", segresnet, axes=(2, 3), divisor="blocks_down")
