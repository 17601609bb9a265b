"""One-hot labels: all the weight on the annotated class."""

from __future__ import annotations

import torch
from torch import Tensor

from sfumato.checks import as_tensor, require_labels
from sfumato.labels.definition import Label, OnDevice, Options, TargetCase
from sfumato.structures import CLASSES
from sfumato.types import ArrayLike, Soft


def one_hot(labels: ArrayLike, *, num_classes: int) -> Soft:
    """Put all the weight of every voxel on its own class.

    Args:
        labels: Class indices, ``(*S)``, integers in ``0 .. num_classes - 1``.
        num_classes: Number of classes ``K``, background included.

    Returns:
        Class weights, ``(K, *S)``, float32, on the device of ``labels``. A class that is absent
        weighs 0 everywhere, one that fills the image weighs 1.

    Raises:
        DTypeError: ``labels`` holds fractions.
        ValueRangeError: ``labels`` holds a value outside ``0 .. num_classes - 1``.

    Example:
        >>> one_hot(torch.tensor([0, 1, 1]), num_classes=2)
        tensor([[1., 0., 0.],
                [0., 1., 1.]])
    """
    labels = as_tensor(labels)
    require_labels(labels, num_classes)
    soft = torch.zeros((num_classes, *labels.shape), dtype=torch.float32, device=labels.device)
    return soft.scatter_(0, labels[None].to(torch.int64), 1.0)


def _make(case: TargetCase, _: Options) -> Tensor:
    if case.soft is not None:
        return case.soft.to(torch.float32)
    return one_hot(case.labels, num_classes=case.num_classes)


LABEL = Label("one-hot", "one-hot", CLASSES, _make, takes_weights=True, when="after", on_device=OnDevice())
