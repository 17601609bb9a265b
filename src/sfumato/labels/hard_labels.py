"""Hard labels of class weights: the way back, for what can only work on one class per voxel."""

from __future__ import annotations

from sfumato.checks import as_tensor
from sfumato.errors import DTypeError, ShapeError
from sfumato.types import ArrayLike, Labels


def hard_labels(soft: ArrayLike) -> Labels:
    """Find the class with the largest weight at every voxel.

    Of averaged raters this is their majority vote, ties included.

    Args:
        soft: Class weights, ``(K, *S)``, floating.

    Returns:
        Class indices, ``(*S)``, int64. A tie goes to the lowest index: with two classes the foreground is
        what weighs more than 0.5.

    Raises:
        DTypeError: the values are integers, which are more likely class indices than weights.
        ShapeError: there are no class and spatial axes, or there is no class.
    """
    soft = as_tensor(soft)
    if soft.ndim < 2 or len(soft) == 0:
        raise ShapeError(f"soft has shape {tuple(soft.shape)}: give (K, *S) with K >= 1")
    if not soft.is_floating_point():
        raise DTypeError(f"soft has dtype {soft.dtype}: give class weights, not class indices")
    return soft.argmax(dim=0)
