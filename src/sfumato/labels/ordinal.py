"""Ordinal smoothing: weight goes to the classes whose index is near, for classes that have an order."""

from __future__ import annotations

import torch

from sfumato.checks import as_tensor, require_between, require_labels, require_positive
from sfumato.labels.definition import OnDevice, label_of
from sfumato.labels.one_hot import one_hot
from sfumato.structures import CLASSES
from sfumato.types import ArrayLike, Soft


def ordinal(labels: ArrayLike, *, num_classes: int, alpha: float = 0.1, sigma: float = 1.0) -> Soft:
    """Move the share ``alpha`` of every voxel's weight to a Gaussian over the class index.

    ``q_k = (1 - alpha) onehot_k + alpha g_k / sum_j g_j`` with ``g_k = exp(-(k - y)^2 / (2 sigma^2))``.

    Args:
        labels: Class indices, ``(*S)``, integers in ``0 .. num_classes - 1``, in their natural order.
        num_classes: Number of classes ``K``, background included.
        alpha: Weight that is moved, in ``[0, 1]``; 0 gives one-hot labels.
        sigma: Standard deviation, in steps of the index.

    Returns:
        Class weights, ``(K, *S)``, float32, summing to 1. By definition a class that is absent weighs
        something wherever its index is near, and one that fills the image a little less than 1.

    Raises:
        DTypeError: ``labels`` holds fractions.
        ValueRangeError: ``alpha`` is outside ``[0, 1]``, ``sigma`` is not above 0, or a label is outside
            ``0 .. num_classes - 1``.

    References:
        Galdran et al. (2020), Non-uniform label smoothing for diabetic retinopathy grading from retinal
        fundus images with deep neural networks, doi:10.1167/tvst.9.2.34.
    """
    require_between("alpha", alpha, 0.0, 1.0)
    require_positive("sigma", sigma)
    labels = as_tensor(labels)
    require_labels(labels, num_classes)
    index = torch.arange(num_classes, dtype=torch.float64, device=labels.device)
    table = torch.softmax(-((index[:, None] - index) ** 2) / (2.0 * sigma**2), dim=0).to(torch.float32)
    near = table[:, labels.to(torch.int64)]
    return (1.0 - alpha) * one_hot(labels, num_classes=num_classes) + alpha * near


LABEL = label_of(ordinal, "ordinal", "ordinal", CLASSES, when="after", on_device=OnDevice())
