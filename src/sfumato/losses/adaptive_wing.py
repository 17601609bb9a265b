"""Adaptive Wing loss: a regression loss that is steep near 0 error where the target is foreground."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfumato.activations import ActivationFunction
from sfumato.checks import require_positive, require_same_shape
from sfumato.errors import ValueRangeError
from sfumato.losses.base import PredictionLoss, reduced
from sfumato.losses.definition import Loss
from sfumato.structures import CLASSES, REGIONS


@dataclass(kw_only=True, eq=False, repr=False)
class AdaptiveWingLoss(PredictionLoss):
    """Adaptive Wing loss, the defaults as SoftSeg uses them.

    With ``d = |q - p|``: ``omega ln(1 + (d / epsilon)^(alpha - q))`` below ``theta``, ``A d - C`` from
    there on, ``A`` and ``C`` per voxel such that value and slope are continuous at ``theta``.

    Args:
        omega: Height of the curved part, above 0.
        theta: Error at which the loss becomes straight, above 0.
        epsilon: Width of the curved part, above 0.
        alpha: Exponent for a background target (``q = 0``); above 1, so that it stays above 0 for ``q = 1``.
        other_act: Activation applied to the input first.
        reduction: ``"mean"`` or ``"sum"`` over everything, or ``"none"`` for ``(B, C, *S)``.

    Shape:
        input: Activated predictions, or logits with ``other_act``, ``(B, C, *S)``.
        target: Values in ``[0, 1]``, ``(B, C, *S)``.
        weight_map: Optional factor per voxel, ``(B, C, *S)``; see :func:`foreground_weight_map`.
        output: A scalar; with ``"none"`` ``(B, C, *S)``.

    Raises:
        ValueRangeError: a constant is out of its range.

    References:
        Wang, Bo and Fuxin (2019), Adaptive Wing loss for robust face alignment via heatmap regression,
        doi:10.1109/ICCV.2019.00707. Gros, Lemay and Cohen-Adad (2021), SoftSeg,
        doi:10.1016/j.media.2021.102038: omega 8 instead of 14. The released toolbox sums over the voxels
        and weights the foreground; here the mean is the default and ``weight_map`` an argument.
    """

    omega: float = 8.0
    theta: float = 0.5
    epsilon: float = 1.0
    alpha: float = 2.1

    def __post_init__(self, other_act: ActivationFunction | None) -> None:
        super().__post_init__(other_act)
        for name in ("omega", "theta", "epsilon"):
            require_positive(name, getattr(self, name))
        if not self.alpha > 1.0:
            raise ValueRangeError(f"alpha is {self.alpha}: it must be above 1, the largest target value")

    def forward(self, input: Tensor, target: Tensor, weight_map: Tensor | None = None) -> Tensor:
        """Compute the loss of a prediction against a fractional target of the same shape."""
        loss = self._values(*self._pair(input, target))
        if weight_map is not None:
            require_same_shape("weight_map", weight_map.shape, "target", target.shape)
            loss = loss * weight_map
        return reduced(loss, self.reduction)

    def _values(self, input: Tensor, target: Tensor) -> Tensor:
        gap = (target - input).abs()
        power = self.alpha - target
        ratio = self.theta / self.epsilon
        at_theta = ratio**power
        slope = self.omega / (1.0 + at_theta) * power * ratio ** (power - 1.0) / self.epsilon
        offset = self.theta * slope - self.omega * torch.log1p(at_theta)
        # d^power has the slope power d^(power - 1), infinite at 0 where a soft target makes power < 1;
        # both branches are evaluated, so the curved one sees an error cut off at theta and above 0.
        bent = gap.clamp(torch.finfo(gap.dtype).tiny, self.theta)
        curved = self.omega * torch.log1p((bent / self.epsilon) ** power)
        return torch.where(gap < self.theta, torch.where(gap > 0, curved, 0.0), slope * gap - offset)


def foreground_weight_map(target: Tensor, *, omega: float = 10.0, threshold: float = 0.0) -> Tensor:
    """Weigh the foreground and the voxels touching it ``1 + omega``, the rest 1.

    Args:
        target: ``(B, C, *S)``, two or three spatial axes.
        omega: Extra weight of the dilated foreground.
        threshold: Target value above which a voxel is foreground.

    Returns:
        ``(B, C, *S)``, of the dtype of ``target``. An empty target weighs 1 everywhere.

    References:
        Wang, Bo and Fuxin (2019), Adaptive Wing loss for robust face alignment via heatmap regression,
        doi:10.1109/ICCV.2019.00707 (weight 10, box of three).
    """
    pool = nn.functional.max_pool2d if target.ndim == 4 else nn.functional.max_pool3d
    near = pool((target > threshold).to(target.dtype), kernel_size=3, stride=1, padding=1)
    return 1.0 + omega * near


LOSS = Loss("adaptive-wing", "Adaptive Wing", AdaptiveWingLoss, (CLASSES, REGIONS))
