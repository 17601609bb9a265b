import pytest
import torch
from torch.nn import functional

from sfumato.errors import ShapeError, UnknownNameError, ValueRangeError
from sfumato.losses import FocalLoss, SoftCrossEntropyLoss

SHAPES = [(2, 3, 4, 5), (1, 4, 3, 2, 5)]


def pair(shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=dtype) * 3
    return logits, torch.softmax(torch.randn(shape, generator=generator, dtype=dtype), dim=1)


@pytest.mark.parametrize("shape", SHAPES)
def test_soft_cross_entropy_is_that_of_torch(shape):
    logits, target = pair(shape)
    torch.testing.assert_close(
        SoftCrossEntropyLoss()(logits, target), functional.cross_entropy(logits, target)
    )
    expected = functional.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(SoftCrossEntropyLoss(reduction="none")(logits, target), expected)
    torch.testing.assert_close(SoftCrossEntropyLoss(reduction="sum")(logits, target), expected.sum())


def test_with_a_sigmoid_every_channel_is_its_own_question():
    logits, _ = pair((2, 3, 4, 5))
    target = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    p = torch.sigmoid(logits)
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    torch.testing.assert_close(SoftCrossEntropyLoss(sigmoid=True)(logits, target), expected)


def test_the_minimum_of_cross_entropy_lies_at_the_soft_target():
    _, target = pair((1, 3, 2, 2))
    logits = target.log().requires_grad_()
    loss = SoftCrossEntropyLoss()(logits, target)
    loss.backward()
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-7, rtol=0)
    torch.testing.assert_close(loss, -(target * target.log()).sum(1).mean())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_focal_loss_is_its_formula(gamma, shape):
    logits, target = pair(shape)
    p = torch.softmax(logits.double(), dim=1)
    expected = -(target * (1 - p) ** gamma * p.log()).sum(1).mean().float()
    torch.testing.assert_close(FocalLoss(gamma=gamma)(logits, target), expected)
    p = torch.sigmoid(logits.double())
    binary = -(target * (1 - p) ** gamma * p.log() + (1 - target) * p**gamma * (1 - p).log()).mean().float()
    torch.testing.assert_close(FocalLoss(gamma=gamma, use_softmax=False)(logits, target), binary)


def test_the_minimum_of_the_focal_loss_is_flatter_than_a_soft_target_of_two_classes():
    p = torch.linspace(0.01, 0.99, 981, dtype=torch.float64)
    logits = torch.stack([p, 1 - p])[None].log().expand(1, 2, 981).reshape(1, 2, 981)
    target = torch.tensor([0.8, 0.2], dtype=torch.float64)[None, :, None].expand(1, 2, 981)
    best = p[FocalLoss(gamma=2.0, reduction="none")(logits, target)[0].argmin()]
    assert 0.5 < best < 0.75
    best = p[FocalLoss(gamma=0.0, reduction="none")(logits, target)[0].argmin()]
    assert best == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("loss", [SoftCrossEntropyLoss(), FocalLoss(), FocalLoss(use_softmax=False)])
def test_gradients_are_right(loss):
    logits, target = pair((1, 3, 2, 3), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("use_softmax", [True, False])
def test_sure_predictions_have_finite_gradients(gamma, use_softmax):
    logits = torch.tensor([[[300.0, -300.0, 0.0], [-300.0, 300.0, 0.0]]], requires_grad=True)
    target = torch.tensor([[[1.0, 1.0, 0.5], [0.0, 0.0, 0.5]]])
    loss = FocalLoss(gamma=gamma, use_softmax=use_softmax)(logits, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", [SoftCrossEntropyLoss(), FocalLoss()])
def test_a_target_that_would_broadcast_is_refused(loss):
    with pytest.raises(ShapeError, match=r"input has shape .*, but target has shape"):
        loss(torch.zeros(2, 3, 4, 5), torch.zeros(2, 1, 4, 5))
    with pytest.raises(ShapeError, match=r"give \(B, C, \*S\)"):
        loss(torch.zeros(2, 3), torch.zeros(2, 3))


def test_impossible_options_are_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'mean'"):
        SoftCrossEntropyLoss(reduction="means")
    with pytest.raises(ValueRangeError, match="gamma is -1"):
        FocalLoss(gamma=-1.0)
