"""Uniform label smoothing: the same small weight for every class, wherever the voxel lies."""

from __future__ import annotations

from sfumato.checks import require_between, require_choice
from sfumato.errors import ValueRangeError
from sfumato.labels.definition import OnDevice, label_of, per_region
from sfumato.labels.one_hot import one_hot
from sfumato.structures import CLASSES
from sfumato.types import ArrayLike, Soft


def uniform(labels: ArrayLike, *, num_classes: int, alpha: float = 0.1, scheme: str = "all") -> Soft:
    """Move the share ``alpha`` of every voxel's weight to the classes, evenly.

    ``scheme="all"``: ``q = (1 - alpha) onehot + alpha / K``, over all ``K`` classes, the annotated one
    included. ``scheme="others"``: the annotated class keeps ``1 - alpha`` and the other ``K - 1`` classes
    get ``alpha / (K - 1)`` each.

    Args:
        labels: Class indices, ``(*S)``, integers in ``0 .. num_classes - 1``.
        num_classes: Number of classes ``K``, background included.
        alpha: Weight that is moved, in ``[0, 1]``; 0 gives one-hot labels.
        scheme: Which of the two definitions in circulation to use.

    Returns:
        Class weights, ``(K, *S)``, float32, summing to 1. By definition a class that is absent weighs
        ``alpha / K`` everywhere, and one that fills the image ``1 - alpha + alpha / K``.

    Raises:
        DTypeError: ``labels`` holds fractions.
        UnknownNameError: ``scheme`` is neither ``"all"`` nor ``"others"``.
        ValueRangeError: ``alpha`` is outside ``[0, 1]``, a label is outside ``0 .. num_classes - 1``,
            or ``scheme="others"`` with a single class.

    Example:
        >>> import torch
        >>> uniform(torch.tensor([0, 1]), num_classes=2, alpha=0.2)
        tensor([[0.9000, 0.1000],
                [0.1000, 0.9000]])

    References:
        Szegedy et al. (2016), Rethinking the Inception architecture for computer vision,
        doi:10.1109/CVPR.2016.308.
    """
    require_between("alpha", alpha, 0.0, 1.0)
    require_choice("scheme", scheme, ("all", "others"))
    soft = one_hot(labels, num_classes=num_classes)
    if scheme == "all":
        return (1.0 - alpha) * soft + alpha / num_classes
    if num_classes < 2:
        raise ValueRangeError(
            f'num_classes is {num_classes}: scheme="others" needs at least 2 classes to share alpha among'
        )
    return (1.0 - alpha) * soft + alpha / (num_classes - 1) * (1.0 - soft)


LABEL = label_of(uniform, "uniform", "uniform", CLASSES, when="after", on_device=OnDevice())
PER_REGION = per_region(LABEL)
