"""UNETR: a vision transformer as the encoder of a U-Net."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from sfumato.networks.definition import Network, require_dropout, require_heads


def unetr(
    *,
    in_channels: int,
    out_channels: int,
    axes: int,
    image_size: Sequence[int],
    filters: int = 16,
    width: int = 768,
    mlp_width: int = 3072,
    heads: int = 12,
    dropout: float = 0.1,
) -> nn.Module:
    """Build MONAI's ``UNETR``: 12 transformer layers on patches of 16 voxels, tapped after 3, 6 and 9.

    Instance normalisation without weights; queries, keys and values without bias. Only the channels, ``axes``
    and ``image_size`` have no default.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        axes: 2 or 3 spatial axes.
        image_size: Voxels per axis, multiples of 16. The network takes this size only: every patch has a
            learned position.
        filters: Feature channels of the finest decoder level.
        width: Width of the transformer, a multiple of ``heads``.
        mlp_width: Hidden width of its two-layer perceptrons.
        heads: Attention heads.
        dropout: Dropout probability inside the transformer, in ``[0, 1)``; SiNGR sets 0.1.

    Returns:
        A module from ``(B, in_channels, *image_size)`` to logits ``(B, out_channels, *image_size)``. In 3-D,
        99,008,593 parameters for 3 channels in, 1 out and 128x128x32; 102,253,107 for 4, 3 and 128x128x64;
        102,449,715 for 128x128x128.

        That is the count with MONAI 1.0.1, which SiNGR pins. Later releases also build layer norms (1.6) and
        cross-attention (1.5) that never run; they are taken out here, so the count does not depend on MONAI.

    Raises:
        ValueRangeError: a ``width`` that the heads cannot share, or a dropout outside ``[0, 1)``.

    References:
        Hatamizadeh et al. (2022), UNETR: transformers for 3D medical image segmentation,
        doi:10.1109/WACV51458.2022.00181.
    """
    from monai.networks.nets.unetr import UNETR

    require_heads("width", width, heads)
    require_dropout("dropout", dropout)
    network = UNETR(
        in_channels=in_channels,
        out_channels=out_channels,
        img_size=tuple(image_size),
        feature_size=filters,
        hidden_size=width,
        mlp_dim=mlp_width,
        num_heads=heads,
        norm_name="instance",
        dropout_rate=dropout,
        spatial_dims=axes,
    )
    for block in network.vit.blocks:
        for unused in ("norm_cross_attn", "cross_attn"):
            if hasattr(block, unused):
                setattr(block, unused, nn.Identity())
    return network


NETWORK = Network("unetr", unetr, axes=(2, 3), divisor=16, fixed_size=True)
