import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import ShapeError, ValueRangeError
from sfumato.losses import FocalL1Loss, L1Loss, L2Loss, ProductLoss
from sfumato.losses.regression import PRODUCT
from sfumato.structures import REGIONS, SIGNED

SHAPES = [(2, 3, 4, 5), (1, 2, 3, 2, 5)]


def pair(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    prediction, target = (torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1 for _ in range(2))
    return prediction, target


def slow_focal_l1(z, s, *, gamma=1.0, eps=0.0, denominator=True):
    gap = abs(s - z)
    if gap == 0:
        return 0.0
    if not denominator:
        return gap * gap**gamma
    return gap * gap ** (gamma if s * z >= 0 else 0) / (max(abs(s), abs(z)) + eps)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"gamma": 2.0, "eps": 0.1}, {"denominator": False}, {"gamma": 0.0}])
def test_focal_l1_is_equation_6_voxel_by_voxel(shape, options):
    z, s = pair(shape)
    computed = FocalL1Loss(reduction="none", **options)(z, s)
    expected = [
        slow_focal_l1(a, b, **options)
        for a, b in zip(z.flatten().tolist(), s.flatten().tolist(), strict=True)
    ]
    torch.testing.assert_close(computed.flatten(), torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(FocalL1Loss(**options)(z, s), computed.mean())
    torch.testing.assert_close(FocalL1Loss(scale=2.0, **options)(z, s), 2 * computed.mean())


@pytest.mark.parametrize("denominator", [True, False])
def test_the_weight_of_focal_l1_carries_no_gradient(denominator):
    z, s = pair((2, 3, 4, 5))
    z.requires_grad_()
    loss = FocalL1Loss(denominator=denominator)
    (computed,) = torch.autograd.grad(loss(z, s), z)
    weight = loss.weight(z, s)
    assert not weight.requires_grad
    (expected,) = torch.autograd.grad(((s - z).abs() * weight.detach()).mean(), z)
    torch.testing.assert_close(computed, expected)
    torch.testing.assert_close(computed, (z - s).sign().detach() * weight / z.numel())


@given(st.sampled_from((0.0, 1.0, 2.0)), st.sampled_from((0.0, 1e-6)))
def test_focal_l1_is_finite_wherever_prediction_and_target_are_zero(gamma, eps):
    z = torch.tensor([[[0.0, 0.0, -0.0, 1e-38, 1.0, -1.0]]], requires_grad=True)
    s = torch.tensor([[[0.0, -1.0, 0.5, 0.0, 1.0, -1.0]]])
    loss = FocalL1Loss(gamma=gamma, eps=eps, reduction="none")(z, s)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(z.grad).all()
    assert loss[0, 0, 0] == 0
    assert loss[0, 0, 4:].abs().max() == 0


def test_a_tiny_value_on_the_wrong_side_is_on_the_wrong_side():
    z, s = torch.tensor([[[-1e-30]]]), torch.tensor([[[1e-30]]])
    assert FocalL1Loss()(z, s).item() == pytest.approx(2.0)


@pytest.mark.parametrize("shape", SHAPES)
def test_l1_and_l2_are_those_of_torch(shape):
    z, s = pair(shape)
    torch.testing.assert_close(L1Loss()(z, s), torch.nn.functional.l1_loss(z, s))
    torch.testing.assert_close(L2Loss()(z, s), torch.nn.functional.mse_loss(z, s))
    torch.testing.assert_close(L1Loss(other_act=torch.tanh)(z, s), torch.nn.functional.l1_loss(z.tanh(), s))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_product_loss_is_its_formula(shape):
    z, s = pair(shape)
    axes = tuple(range(2, len(shape)))
    shared, squares = (s * z).sum(axes), (s**2).sum(axes) + (z**2).sum(axes)
    expected = (-shared / (shared + squares)).mean() + (s - z).abs().mean()
    torch.testing.assert_close(ProductLoss()(z, s), expected)
    without = (-shared / (shared + squares)).mean()
    torch.testing.assert_close(ProductLoss(weight_l1=0.0)(z, s), without)


@pytest.mark.parametrize("kind", [SIGNED, REGIONS], ids=lambda kind: kind.name)
def test_the_minimum_of_the_product_loss_is_at_the_target(kind):
    def maps(seed):
        return (value.clamp_min(kind.low) for value in pair((1, 2, 3, 4), seed))

    assert kind in PRODUCT.kinds
    _, s = maps(0)
    assert ProductLoss()(s, s).item() == pytest.approx(-1 / 3)
    for seed in range(5):
        z, _ = maps(seed + 1)
        for share in (0.01, 0.1, 1.0):
            assert ProductLoss(weight_l1=0.0)((1 - share) * s + share * z, s) > -1 / 3


def test_the_product_loss_of_nothing_with_nothing_is_zero():
    z = torch.zeros(1, 2, 3, 4, requires_grad=True)
    loss = ProductLoss()(z, torch.zeros(1, 2, 3, 4))
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("loss", [L1Loss(), L2Loss(), ProductLoss()])
def test_gradients_are_right(loss):
    z, s = pair((1, 2, 2, 3))
    assert torch.autograd.gradcheck(lambda x: loss(x, s), z.requires_grad_())


@pytest.mark.parametrize("loss", [L1Loss(), L2Loss(), ProductLoss(), FocalL1Loss()])
def test_empty_and_full_targets_have_finite_gradients(loss):
    for value in (-1.0, 0.0, 1.0):
        z = torch.zeros(1, 1, 3, 4, 2, requires_grad=True)
        loss(z, torch.full_like(z, value)).backward()
        assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("loss", [L1Loss(), L2Loss(), ProductLoss(), FocalL1Loss()])
def test_half_precision_is_widened(loss):
    z, s = pair((1, 1, 280, 250), dtype=torch.float32)
    s = z.half().float().sign()
    torch.testing.assert_close(loss(z.half(), s), loss(z.half().float(), s))


@pytest.mark.parametrize("loss", [L1Loss(), L2Loss(), ProductLoss(), FocalL1Loss()])
def test_a_target_that_would_broadcast_is_refused(loss):
    with pytest.raises(ShapeError, match="target has shape"):
        loss(torch.zeros(2, 3, 4, 5), torch.zeros(1, 3, 4, 5))


def test_impossible_options_are_named():
    with pytest.raises(ValueRangeError, match="gamma is -1"):
        FocalL1Loss(gamma=-1.0)
    with pytest.raises(ValueRangeError, match="eps is -1"):
        FocalL1Loss(eps=-1.0)
    with pytest.raises(ValueRangeError, match="weight_l1 is -1"):
        ProductLoss(weight_l1=-1.0)
