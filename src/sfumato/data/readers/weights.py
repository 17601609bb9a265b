"""Class weights as files hold them: partial volumes, probabilities, averaged raters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sfumato.errors import ShapeError, ValueRangeError

_ROUNDING = 0.02  # How far a voxel's weights may be from 1: stored in 255 steps, ten classes lose as much.


def as_weights(
    arrays: Sequence[np.ndarray], *, shape: Sequence[int], num_classes: int, source: str
) -> np.ndarray:
    """Turn what the files of one case hold into class weights.

    Args:
        arrays: One array of all classes, ``(*S, K)``; with two classes, one of the second's weight ``(*S)``;
            or one ``(*S)`` for each foreground class.
        shape: Voxels per spatial axis of the image.
        num_classes: Number of classes ``K``, background included.
        source: What to call the files in messages.

    Returns:
        ``(K, *S)``, float32, as stored: weights that rounding keeps from summing to 1 are not mended.

    Raises:
        ShapeError: the arrays hold another number of classes, or lie on another grid.
        ValueRangeError: values outside 0 .. 1, or NaN; or the weights of some voxel do not sum to 1.
    """
    shape = tuple(shape)
    for array in arrays:
        if not np.all((array >= 0) & (array <= 1)):
            raise ValueRangeError(
                f"{source} holds values {array.min():g} .. {array.max():g}: expected class weights in 0 .. 1"
            )
    first = arrays[0].astype(np.float32, copy=False)
    if len(arrays) == num_classes - 1 and all(array.size == np.prod(shape) for array in arrays):
        foreground = np.stack([array.astype(np.float32, copy=False).reshape(shape) for array in arrays])
        background = 1 - foreground.sum(axis=0)
        lowest = float(background.min(initial=0))
        if lowest < -_ROUNDING:
            raise ValueRangeError(f"{source} holds weights that sum to {1 - lowest:g} in a voxel: at most 1")
        return np.concatenate([background.clip(0)[None], foreground])
    if len(arrays) > 1 or first.size != np.prod(shape) * num_classes:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ShapeError(
            f"{source} has shape {shapes}, expected {(*shape, num_classes)}, class last, "
            f"or one file {shape} for each of {num_classes - 1} foreground classes"
        )
    weights = np.ascontiguousarray(np.moveaxis(first.reshape(*shape, num_classes), -1, 0))
    totals = weights.sum(axis=0)
    if totals.size and not np.allclose(totals, 1, rtol=0, atol=_ROUNDING):
        raise ValueRangeError(
            f"{source} holds weights that sum to {totals.min():g} .. {totals.max():g} per voxel: expected 1, "
            "background included"
        )
    return weights
