"""The 2-D U-Net of ivadomed, with which SoftSeg was published."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from sfumato.checks import require_between
from sfumato.networks.concatenating import ConcatenatingUNet
from sfumato.networks.definition import Network, require_count, require_dropout


def ivadomed_unet2d(
    *,
    in_channels: int,
    out_channels: int,
    depth: int = 3,
    filters: int = 64,
    dropout: float = 0.3,
    norm_momentum: float = 0.1,
) -> nn.Module:
    """Build ivadomed's U-Net.

    Two layers per level: 3x3 convolution, ReLU, batch normalisation, dropout of channels, in this order.

    The width doubles per level; the bottom has the width of the level above it. Max-pooling down, bilinear
    interpolation with aligned corners up, skips concatenated, 3x3 head.

    Args:
        in_channels: Image channels.
        out_channels: Logits per pixel.
        depth: Number of poolings: 3 in SoftSeg's grey-matter experiments, 4 in the others.
        filters: Feature channels of the finest level.
        dropout: Probability with which a whole feature channel is dropped after every layer, in ``[0, 1)``.
            SoftSeg prints 0.3, which its configurations set; the toolbox of that time read the rate under
            another name and trained with its default, 0.4.
        norm_momentum: Weight of the newest batch in the running mean and variance, in ``[0, 1]``. SoftSeg's
            configurations set 0.9, which the toolbox hands to PyTorch's layer, whose momentum is this one
            (Keras gives the name to 1 minus it). So evaluation all but takes the statistics of the last
            training batch, and validation varies much from epoch to epoch.

    Returns:
        A module from ``(B, in_channels, *S)`` to logits ``(B, out_channels, *S)`` with two spatial axes of
        any size. With one output: 4,837,249 parameters for depth 3 and 1 channel; 19,592,257 for depth 4 and
        4 channels; 19,592,833 for 5 channels.

        The released network applies its sigmoid or normalised ReLU inside and drops the background of
        several outputs; here every output is kept, as logits.

    Raises:
        ValueRangeError: a ``depth`` or ``filters`` below 1, a dropout outside ``[0, 1)``, or a momentum
            outside ``[0, 1]``.

    References:
        Gros, Lemay, Cohen-Adad (2021), SoftSeg: advantages of soft versus binary training for image
        segmentation, doi:10.1016/j.media.2021.102038; Gros et al. (2021), ivadomed: a medical imaging deep
        learning toolbox, doi:10.21105/joss.02868.
    """
    require_count("depth", depth)
    require_count("filters", filters)
    require_dropout("dropout", dropout)
    require_between("norm_momentum", norm_momentum, 0, 1)
    widths = [filters * 2**level for level in range(depth)]
    widths.append(widths[-1])

    def layer(before: int, after: int) -> list[nn.Module]:
        return [
            nn.Conv2d(before, after, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(after, momentum=norm_momentum),
            nn.Dropout2d(dropout),
        ]

    def block(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(*layer(before, after), *layer(after, after))

    encoder = [block(before, after) for before, after in pairwise((in_channels, *widths))]
    decoder = [block(above + below, above) for above, below in reversed(list(pairwise(widths)))]
    head = nn.Conv2d(filters, out_channels, kernel_size=3, padding=1)
    return ConcatenatingUNet(encoder, decoder, head, mode="bilinear")


NETWORK = Network("ivadomed-unet2d", ivadomed_unet2d, axes=(2,), divisor=1)
