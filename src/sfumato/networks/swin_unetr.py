"""Swin UNETR: shifted-window attention as the encoder of a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sfumato.checks import require_choice
from sfumato.errors import ValueRangeError
from sfumato.networks.definition import Network, require_dropout, require_levels

# The eight voxels of a 2x2x2 block in the order in which MONAI 1.0.1 joins them: two come twice, and the
# offsets (1, 1, 0) and (0, 1, 1) never.
PUBLISHED_OFFSETS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1))


class PublishedMerging(nn.Module):
    """Join 2x2x2 blocks of voxels as SiNGR's pinned MONAI did: six of the eight, two of them twice.

    Args:
        dim: Feature channels before.
        norm_layer: Makes the layer norm.
        spatial_dims: 3: in 2-D the published merging takes all four pixels, and nothing needs replacing.
    """

    def __init__(
        self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3
    ) -> None:
        super().__init__()
        if spatial_dims != 3:
            raise ValueRangeError("merging 'published' differs from 'all' only in 3-D: take 'all' in 2-D")
        self.norm = norm_layer(8 * dim)
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Merge ``(B, *S, dim)`` to ``(B, *S/2, 2 dim)``."""
        parts = [features[:, i::2, j::2, k::2] for i, j, k in PUBLISHED_OFFSETS]
        merged: Tensor = self.reduction(self.norm(torch.cat(parts, dim=-1)))
        return merged


def swin_unetr(
    *,
    in_channels: int,
    out_channels: int,
    axes: int,
    filters: int = 24,
    depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    window: int = 7,
    merging: str = "all",
    dropout: float = 0.1,
) -> nn.Module:
    """Build MONAI's ``SwinUNETR``.

    Attention inside windows of 7 voxels a side, every second layer shifted by half.

    Patches of 2 voxels a side, perceptrons of four times the width, instance normalisation without weights.
    Only the channels and ``axes`` have no default.

    Args:
        in_channels: Image channels.
        out_channels: Logits per voxel.
        axes: 2 or 3 spatial axes.
        filters: Feature channels of the finest level, a multiple of 12; each level doubles them.
        depths: Transformer layers of the four levels.
        heads: Attention heads of the four levels.
        window: Side of a window, in patches.
        merging: ``"all"`` joins all voxels of a 2x2x2 block when the grid is halved, as the paper says and
            MONAI does since 1.5. ``"published"`` does as MONAI 1.0.1, which SiNGR pins: it takes two of the
            eight voxels twice and leaves two out. The number of parameters is the same.
        dropout: Dropout probability after projections and perceptrons, in ``[0, 1)``. SiNGR's 0.1 is taken to
            mean this one; attention weights and paths are never dropped.

    Returns:
        A module from ``(B, in_channels, *S)`` to logits ``(B, out_channels, *S)``; every side of ``S`` is a
        multiple of 32, and one at least is 64. In 3-D, 15,704,707 parameters with 3 channels in and 1 out,
        15,705,621 with 4 and 3.

    Raises:
        UnknownNameError: a ``merging`` other than the two.
        ValueRangeError: not four levels, ``filters`` no multiple of 12, ``"published"`` in 2-D, or a dropout
            outside ``[0, 1)``.

    References:
        Hatamizadeh et al. (2022), Swin UNETR: Swin transformers for semantic segmentation of brain tumors
        in MRI images, doi:10.1007/978-3-031-08999-2_22.
    """
    from monai.networks.nets.swin_unetr import SwinUNETR

    require_choice("merging", merging, ("all", "published"))
    require_dropout("dropout", dropout)
    for name, values in (("depths", depths), ("heads", heads)):
        require_levels(name, values, least=4, most=4)
    if filters % 12:
        raise ValueRangeError(f"filters is {filters}: it must be a multiple of 12")
    downsample: Any = "merging" if merging == "all" else PublishedMerging
    network: nn.Module = SwinUNETR(
        in_channels=in_channels,
        out_channels=out_channels,
        feature_size=filters,
        depths=tuple(depths),
        num_heads=tuple(heads),
        window_size=window,
        norm_name="instance",
        drop_rate=dropout,
        spatial_dims=axes,
        downsample=downsample,
    )
    return network


NETWORK = Network("swin-unetr", swin_unetr, axes=(2, 3), divisor=32, norm_at_bottom=True)
