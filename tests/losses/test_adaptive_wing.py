import math

import pytest
import torch
from scipy import ndimage

from sfumato.errors import ShapeError, ValueRangeError
from sfumato.losses import AdaptiveWingLoss, foreground_weight_map


def slow_wing(p, q, omega=8.0, theta=0.5, epsilon=1.0, alpha=2.1):
    d = abs(q - p)
    if d < theta:
        return omega * math.log(1 + (d / epsilon) ** (alpha - q))
    ratio = theta / epsilon
    slope = omega / (1 + ratio ** (alpha - q)) * (alpha - q) * ratio ** (alpha - q - 1) / epsilon
    offset = theta * slope - omega * math.log(1 + ratio ** (alpha - q))
    return slope * d - offset


def pair(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator, dtype=torch.float64) for _ in range(2))


def test_the_defaults_are_the_published_constants():
    loss = AdaptiveWingLoss()
    assert (loss.epsilon, loss.alpha, loss.theta, loss.omega) == (1, 2.1, 0.5, 8)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 3, 2, 5)])
@pytest.mark.parametrize("constants", [{}, {"omega": 14.0, "theta": 0.3, "epsilon": 0.7, "alpha": 1.8}])
def test_it_is_its_formula(shape, constants):
    p, q = pair(shape)
    expected = torch.tensor(
        [
            slow_wing(a, b, **constants)
            for a, b in zip(p.flatten().tolist(), q.flatten().tolist(), strict=True)
        ],
        dtype=torch.float64,
    ).reshape(shape)
    torch.testing.assert_close(AdaptiveWingLoss(reduction="none", **constants)(p, q), expected)
    torch.testing.assert_close(AdaptiveWingLoss(**constants)(p, q), expected.mean())
    torch.testing.assert_close(AdaptiveWingLoss(reduction="sum", **constants)(p, q), expected.sum())


def test_value_and_slope_are_continuous_at_theta():
    loss = AdaptiveWingLoss(reduction="sum")
    for target in (0.0, 0.1, 0.4, 0.5):
        values, slopes = [], []
        for side in (-1e-7, 1e-7):
            q = torch.full((1, 1, 1), target, dtype=torch.float64)
            p = (q + loss.theta + side).requires_grad_()
            value = loss(p, q)
            values.append(value.item())
            slopes.append(torch.autograd.grad(value, p)[0].item())
        assert values[0] == pytest.approx(values[1], abs=1e-5)
        assert slopes[0] == pytest.approx(slopes[1], rel=1e-5)
        assert slopes[0] > 1


def test_the_minimum_is_zero_at_the_soft_target_for_every_exponent():
    _, q = pair((1, 1, 5, 6))
    for alpha in (1.05, 1.5, 2.1):
        p = q.clone().requires_grad_()
        loss = AdaptiveWingLoss(alpha=alpha)(p, q)
        loss.backward()
        assert loss.item() == 0
        assert torch.isfinite(p.grad).all()
        assert AdaptiveWingLoss(alpha=alpha)((q + 1e-3).clamp_max(1), q) > 0


def test_gradients_are_right():
    p, q = pair((1, 2, 4, 5))
    assert torch.autograd.gradcheck(lambda x: AdaptiveWingLoss()(x, q), p.requires_grad_())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_empty_and_full_targets_have_finite_gradients(value):
    for start in (0.0, 0.5, 1.0):
        p = torch.full((1, 1, 3, 4), start, requires_grad=True)
        AdaptiveWingLoss(alpha=1.5)(p, torch.full_like(p, value)).backward()
        assert torch.isfinite(p.grad).all()


def test_the_weight_map_multiplies_voxel_by_voxel():
    p, q = pair((2, 1, 4, 5))
    weight = torch.arange(40.0).reshape(2, 1, 4, 5)
    loss = AdaptiveWingLoss(reduction="none")
    torch.testing.assert_close(loss(p, q, weight), weight.double() * loss(p, q))
    with pytest.raises(ShapeError, match="weight_map has shape"):
        loss(p, q, weight[:1])


@pytest.mark.parametrize("shape", [(6, 9), (5, 6, 4)])
def test_the_foreground_map_is_one_plus_omega_on_the_dilated_foreground(shape):
    target = (torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(0)) > 0.95).float() * 0.3
    computed = foreground_weight_map(target, omega=8.0)
    for item in range(2):
        near = ndimage.binary_dilation(
            target[item, 0].numpy() > 0, structure=torch.ones((3,) * len(shape)).numpy()
        )
        assert torch.equal(computed[item, 0], 1 + 8 * torch.from_numpy(near).float())
    assert torch.equal(foreground_weight_map(torch.zeros(1, 1, *shape)), torch.ones(1, 1, *shape))


def test_half_precision_is_widened():
    p, q = (tensor.half() for tensor in pair((1, 1, 30, 20)))
    torch.testing.assert_close(AdaptiveWingLoss()(p, q), AdaptiveWingLoss()(p.float(), q.float()))


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="target has shape"):
        AdaptiveWingLoss()(torch.zeros(2, 1, 3, 3), torch.zeros(2, 3, 3))
    with pytest.raises(ValueRangeError, match="alpha is 1"):
        AdaptiveWingLoss(alpha=1.0)
    with pytest.raises(ValueRangeError, match="theta is 0"):
        AdaptiveWingLoss(theta=0.0)
