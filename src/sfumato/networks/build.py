"""Build networks by name, and check what every one of them shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from sfumato.errors import InputError, ShapeError, UnknownNameError, ValueRangeError, optional_libraries
from sfumato.networks.definition import InputCheck, Network
from sfumato.networks.table import NETWORKS


def build(
    name: str,
    *,
    in_channels: int,
    out_channels: int,
    axes: int | None = None,
    image_size: Sequence[int] | None = None,
    **options: object,
) -> nn.Module:
    """Build a network by name.

    Args:
        name: A key of :data:`NETWORKS`.
        in_channels: Image channels, at least 1.
        out_channels: Logits per voxel, at least 1.
        axes: Spatial axes; where ``image_size`` is given, its length decides. None: 3, or what the network
            has.
        image_size: Voxels per axis that the network will see. Needed by networks whose layers depend on it
            (:func:`needs_image_size`); where given, it is checked.
        **options: The network's own options.

    Returns:
        A module from ``(B, in_channels, *S)`` to raw logits ``(B, out_channels, *S)``; activations are
        never part of the network. It refuses input of another number of channels or axes, or of a size that
        does not suit it, with a ShapeError.

    Raises:
        UnknownNameError: no such network or option; the known ones are listed.
        ShapeError: ``image_size`` does not suit the network, or is missing where it is needed; or the network
            does not exist for this number of axes.
        ValueRangeError: a channel count below 1, or ``axes`` other than 2 or 3.
        MissingExtraError: MONAI, or what it needs for the network, is not installed.
    """
    network = _row(name)
    require_options(name, options)
    if image_size is not None:
        axes = len(image_size)
    axes = network.axes[-1] if axes is None else axes
    if axes not in (2, 3):
        raise ValueRangeError(f"axes is {axes}: networks have 2 or 3 spatial axes")
    _require_axes(name, axes)
    if image_size is not None:
        require_image_size(name, options, image_size)
    elif network.fixed_size:
        raise ShapeError(f"the layers of network {name!r} depend on the image size: give image_size")
    if in_channels < 1 or out_channels < 1:
        raise ValueRangeError(f"a network needs channels: got {in_channels} in, {out_channels} out")
    given: dict[str, object] = {"in_channels": in_channels, "out_channels": out_channels}
    if len(network.axes) > 1:
        given["axes"] = axes
    if network.fixed_size and image_size is not None:
        given["image_size"] = tuple(image_size)
    try:
        with optional_libraries():
            module = network.builder(**given, **options)
    except InputError:
        raise
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"network {name!r} refuses its options {dict(options)}: {error}") from error
    check = InputCheck(
        name,
        in_channels,
        axes,
        network.divisor_with(options),
        tuple(image_size) if network.fixed_size and image_size is not None else None,
        network.norm_at_bottom,
    )
    if image_size is not None:
        check.require_bottom(module, tuple(image_size))
    module.register_forward_pre_hook(check)
    return module


def size_divisor(name: str, options: Mapping[str, object]) -> int:
    """Return what every side of the input of a network with these options must be a multiple of; 1: any size.

    Raises:
        UnknownNameError: no such network.
    """
    return _row(name).divisor_with(options)


def needs_image_size(name: str) -> bool:
    """Return whether the network takes only the image size that it was built for.

    Raises:
        UnknownNameError: no such network.
    """
    return _row(name).fixed_size


def require_options(name: str, options: Mapping[str, object]) -> None:
    """Raise unless the network exists and has every one of ``options``.

    Raises:
        UnknownNameError: no such network or option; the known ones are listed.
    """
    known = _row(name).options
    for key in options:
        if key not in known:
            raise UnknownNameError(f"option of network {name!r}", key, known)


def require_image_size(
    name: str, options: Mapping[str, object], size: Sequence[int], *, what: str = "image_size"
) -> None:
    """Raise unless the network, with these options, exists for images of this many axes and voxels.

    ``what`` is what messages call the size.

    Raises:
        UnknownNameError: no such network.
        ShapeError: the number of axes or a side does not suit it.
    """
    _require_axes(name, len(size))
    divisor = size_divisor(name, options)
    if any(side < 1 or side % divisor for side in size):
        raise ShapeError(
            f"{what} is {tuple(size)}, but network {name!r} with these options needs sides that are "
            f"multiples of {divisor}"
        )


def _row(name: str) -> Network:
    if name not in NETWORKS:
        raise UnknownNameError("network", name, NETWORKS)
    return NETWORKS[name]


def _require_axes(name: str, axes: int) -> None:
    known = _row(name).axes
    if axes in known:
        return
    other = [key for key, row in NETWORKS.items() if axes in row.axes]
    hint = f"; with {axes} there are {', '.join(other)}" if other else ""
    raise ShapeError(f"network {name!r} has {' or '.join(map(str, known))} spatial axes, not {axes}{hint}")
