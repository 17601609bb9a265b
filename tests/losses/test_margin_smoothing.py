import numpy as np
import pytest
import torch
from torch.nn import functional

from sfumato.errors import ShapeError, ValueRangeError
from sfumato.losses import MarginBasedLabelSmoothingLoss, SoftCrossEntropyLoss


def case_of(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64) * 8
    return logits, torch.softmax(torch.randn(shape, generator=generator, dtype=torch.float64), dim=1)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 4, 3, 2, 5), (1, 2, 1, 1)])
@pytest.mark.parametrize("margin", [0.0, 6.0])
def test_the_penalty_is_what_exceeds_the_margin(shape, margin):
    logits, target = case_of(shape)
    excess = []
    for item in range(shape[0]):
        for voxel in np.ndindex(*shape[2:]):
            values = logits[(item, slice(None), *voxel)].tolist()
            excess += [max(0.0, max(values) - value - margin) for value in values]
    expected = SoftCrossEntropyLoss()(logits, target) + 0.2 * sum(excess) / len(excess)
    computed = MarginBasedLabelSmoothingLoss(weight=0.2, margin=margin)(logits, target)
    torch.testing.assert_close(computed, expected)


def test_within_the_margin_it_is_the_cross_entropy_of_torch():
    logits = torch.tensor([[[[3.0, 0.0]], [[-6.0, 1.0]]]])
    labels = torch.tensor([[[0, 1]]])
    target = functional.one_hot(labels, 2).movedim(-1, 1).float()
    computed = MarginBasedLabelSmoothingLoss(margin=9.0)(logits, target)
    torch.testing.assert_close(computed, functional.cross_entropy(logits, labels))
    # By hand: one of four differences, 9, exceeds the margin, by 2.
    wider = MarginBasedLabelSmoothingLoss(weight=0.5, margin=7.0)(logits, target)
    torch.testing.assert_close(wider - computed, torch.tensor(0.5 * 2 / 4))


def test_gradients_are_right():
    logits, target = case_of((1, 3, 2, 3))
    loss = MarginBasedLabelSmoothingLoss(margin=2.0)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())


def test_half_precision_is_widened():
    logits, target = (tensor.float() for tensor in case_of((1, 3, 40, 30)))
    loss = MarginBasedLabelSmoothingLoss()
    torch.testing.assert_close(loss(logits.half(), target), loss(logits.half().float(), target))


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="target has shape"):
        MarginBasedLabelSmoothingLoss()(torch.zeros(2, 3, 4, 5), torch.zeros(1, 3, 4, 5))
    with pytest.raises(ValueRangeError, match="margin is -1"):
        MarginBasedLabelSmoothingLoss(margin=-1.0)
    with pytest.raises(ValueRangeError, match="weight is -1"):
        MarginBasedLabelSmoothingLoss(weight=-1.0)
