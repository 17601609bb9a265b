"""Networks by name: MONAI's where it has them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from sfumato.errors import InputError, ShapeError, UnknownNameError, ValueRangeError


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
    """MONAI's U-Net: one level per entry of ``channels``, each level halving the grid.

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
        be a multiple of ``2 ** (len(channels) - 1)``; :func:`size_divisor` gives it.

    Raises:
        ValueRangeError: fewer than two levels, or a dropout outside ``[0, 1)``.

    References:
        Ronneberger, Fischer, Brox (2015), U-Net, doi:10.1007/978-3-319-24574-4_28; residual form:
        Kerfoot et al. (2019), Left-ventricle quantification using residual U-Net.
    """
    from monai.networks.nets.unet import UNet

    if len(channels) < 2:
        raise ValueRangeError(f"channels is {tuple(channels)}: a U-Net needs at least two levels")
    if not 0 <= dropout < 1:
        raise ValueRangeError(f"dropout is {dropout}: it must lie in [0, 1)")
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


# The one visible table of networks: name -> builder.
NETWORKS: Mapping[str, Callable[..., nn.Module]] = {"unet": unet}


def build(
    name: str,
    *,
    in_channels: int,
    out_channels: int,
    axes: int = 3,
    image_size: Sequence[int] | None = None,
    **options: object,
) -> nn.Module:
    """Build a network by name.

    Args:
        name: A key of :data:`NETWORKS`.
        in_channels: Image channels, at least 1.
        out_channels: Logits per voxel, at least 1.
        axes: 2 or 3 spatial axes; where ``image_size`` is given, its length decides.
        image_size: Voxels per axis that the network will see; needed only by networks whose layers depend
            on it. Where given, it is checked against :func:`size_divisor`.
        **options: The builder's own options.

    Returns:
        A module from ``(B, in_channels, *S)`` to raw logits ``(B, out_channels, *S)``; activations are
        never part of the network.

    Raises:
        UnknownNameError: no such network or option; the known ones are listed.
        ShapeError: ``image_size`` does not suit the network.
        ValueRangeError: a channel count below 1, or ``axes`` other than 2 or 3.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    if image_size is not None:
        axes = len(image_size)
    if axes not in (2, 3):
        raise ValueRangeError(f"axes is {axes}: networks have 2 or 3 spatial axes")
    if in_channels < 1 or out_channels < 1:
        raise ValueRangeError(f"a network needs channels: got {in_channels} in, {out_channels} out")
    builder = NETWORKS[name]
    known = tuple(inspect.signature(builder).parameters)[3:]
    for key in options:
        if key not in known:
            raise UnknownNameError(f"option of network {name!r}", key, known)
    if image_size is not None:
        divisor = size_divisor(name, options)
        if any(side % divisor for side in image_size):
            raise ShapeError(
                f"image_size is {tuple(image_size)}, but {name!r} with these options needs every side to be "
                f"a multiple of {divisor}"
            )
    try:
        return builder(in_channels=in_channels, out_channels=out_channels, axes=axes, **options)
    except InputError:
        raise
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"network {name!r} refuses its options {dict(options)}: {error}") from error


def size_divisor(name: str, options: Mapping[str, object]) -> int:
    """Give the number that every side of the network's input must be a multiple of.

    Args:
        name: A key of :data:`NETWORKS`.
        options: The options the network is built with.

    Raises:
        UnknownNameError: no such network.
    """
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    levels = options.get("channels", inspect.signature(NETWORKS[name]).parameters["channels"].default)
    if not isinstance(levels, Sequence):
        raise InputError(f"channels is {levels!r}: give one number per level")
    return int(2 ** (len(levels) - 1))
