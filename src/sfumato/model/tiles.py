"""Whole-volume logits from a network that sees one window at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sfumato.errors import ShapeError
from sfumato.types import Batch


def whole_volume_logits(
    network: nn.Module,
    image: Tensor,
    *,
    window: Sequence[int],
    overlap: float,
    divisor: int | Sequence[int] = 1,
) -> Batch:
    """Run ``network`` over an image of any size and join the windows' logits.

    An image that fits one window (each side at most the window's, after padding to a multiple of
    ``divisor``) goes through in one piece. A larger one is covered by overlapping windows whose logits are
    averaged with a Gaussian weight. The activation comes after the joining, on the whole volume, so that
    NormReLU's maximum is the volume's and not a window's.

    Args:
        network: From ``(1, C, *S)`` to logits ``(1, K, *S)``.
        image: ``(C, *S)`` float32, on the network's device.
        window: Voxels per axis of one window.
        overlap: Fraction of a window shared with its neighbour, in ``[0, 1)``.
        divisor: Every side that the network sees is a multiple of this, or of one number per axis. The
            window itself as divisor shows the network nothing but windows.

    Returns:
        Logits ``(1, K, *S)`` of the image's own size.

    Raises:
        ShapeError: ``window`` does not have one value per spatial axis of ``image``.
    """
    if len(window) != image.ndim - 1:
        raise ShapeError(
            f"the network sees {len(window)}-D windows {tuple(window)}, "
            f"but image has shape {tuple(image.shape)}"
        )
    return _joined(network, image.unsqueeze(0), window, overlap, divisor)


def slice_logits(
    network: nn.Module,
    image: Tensor,
    *,
    axis: int,
    window: Sequence[int],
    overlap: float,
    divisor: int | Sequence[int] = 1,
    batch_size: int = 1,
) -> Batch:
    """Run a 2-D ``network`` over the slices of a volume and stack their logits.

    Each slice, perpendicular to the volume's spatial ``axis``, is treated as :func:`whole_volume_logits`
    treats an image, with the same arguments; ``batch_size`` of them go through the network together.

    Returns:
        Logits ``(1, K, *S)`` of the volume's own size.

    Raises:
        ShapeError: ``image`` is no volume, or ``window`` does not have two values.
    """
    if image.ndim != 4 or len(window) != 2:
        raise ShapeError(
            f"a network of slices sees 2-D windows of volumes (C, *S), but the windows are {tuple(window)} "
            f"and image has shape {tuple(image.shape)}"
        )
    parts = torch.split(image.movedim(axis + 1, 0), batch_size)
    logits = torch.cat([_joined(network, part, window, overlap, divisor) for part in parts])
    return logits.movedim(0, axis + 1).unsqueeze(0)


def _joined(
    network: nn.Module, batch: Tensor, window: Sequence[int], overlap: float, divisor: int | Sequence[int]
) -> Tensor:
    from monai.inferers.utils import sliding_window_inference

    sides = batch.shape[2:]
    steps = [divisor] * len(sides) if isinstance(divisor, int) else divisor
    fitting = tuple(-(-side // step) * step for side, step in zip(sides, steps, strict=True))
    # A volume only a little larger than the window costs less in one piece than in 2 ** axes windows.
    if all(side <= 1.5 * limit for side, limit in zip(fitting, window, strict=True)):
        return _in_one_piece(network, batch, fitting)
    logits = sliding_window_inference(
        batch,
        roi_size=tuple(window),
        sw_batch_size=len(batch),
        predictor=network,
        overlap=overlap,
        mode="gaussian",
        padding_mode="replicate" if min(sides) > 1 else "constant",
    )
    if not isinstance(logits, Tensor):
        raise ShapeError("the network gives several outputs: a network for prediction gives one tensor")
    return logits


def _in_one_piece(network: nn.Module, batch: Tensor, fitting: Sequence[int]) -> Tensor:
    sides = batch.shape[2:]
    padding: list[int] = []
    for side, target in zip(reversed(sides), reversed(list(fitting)), strict=True):
        before = (target - side) // 2
        padding += [before, target - side - before]
    logits: Tensor = network(torch.nn.functional.pad(batch, padding, mode="replicate"))
    inner = tuple(
        slice((target - side) // 2, (target - side) // 2 + side)
        for side, target in zip(sides, fitting, strict=True)
    )
    return logits[(slice(None), slice(None), *inner)]
