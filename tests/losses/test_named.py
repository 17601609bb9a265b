import pytest
import torch

from sfumato.activations import ACTIVATIONS
from sfumato.errors import InputError
from sfumato.losses import DiceCEACELoss, DiceLoss, FocalLoss, SoftCrossEntropyLoss
from sfumato.losses.named import LOSSES, build_loss


@pytest.mark.parametrize("name", LOSSES)
def test_every_named_loss_takes_raw_logits(name):
    act = "softmax" if name in ("NACL", "MbLS") else "sigmoid"
    loss = build_loss(name, activation_name=act, activation=ACTIVATIONS[act], options={})
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = loss(logits, torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1)))
    value.backward()
    assert value.ndim == 0
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().max() > 0


def test_the_activation_decides_between_softmax_and_sigmoid():
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    target = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    expected = {
        ("soft cross-entropy", "softmax"): SoftCrossEntropyLoss(),
        ("soft cross-entropy", "sigmoid"): SoftCrossEntropyLoss(sigmoid=True),
        ("focal", "softmax"): FocalLoss(),
        ("focal", "sigmoid"): FocalLoss(use_softmax=False),
        ("Dice", "softmax"): DiceLoss(softmax=True),
        ("Dice", "sigmoid"): DiceLoss(sigmoid=True),
        ("Dice + cross-entropy + ACE", "softmax"): DiceCEACELoss(softmax=True),
        ("Dice + cross-entropy + ACE", "sigmoid"): DiceCEACELoss(sigmoid=True),
    }
    for (name, act), loss in expected.items():
        found = build_loss(name, activation_name=act, activation=ACTIVATIONS[act], options={})
        torch.testing.assert_close(found(logits, target), loss(logits, target))


def test_cross_entropy_of_a_signed_map_is_refused():
    with pytest.raises(InputError, match="needs softmax or sigmoid, not 'tanh'"):
        build_loss("focal", activation_name="tanh", activation=torch.tanh, options={})


@pytest.mark.parametrize("name", ["NACL", "MbLS"])
def test_a_penalty_on_logits_is_for_classes_alone(name):
    with pytest.raises(InputError, match=f"'{name}' needs softmax, not 'sigmoid'"):
        build_loss(name, activation_name="sigmoid", activation=torch.sigmoid, options={})
