import pytest
import torch

from sfumato.activations import ACTIVATIONS
from sfumato.errors import InputError
from sfumato.losses import DiceCEACELoss, DiceLoss, FocalLoss, SoftCrossEntropyLoss
from sfumato.losses.definition import Loss
from sfumato.losses.table import LOSSES
from sfumato.structures import CLASSES, REGIONS, SIGNED


@pytest.mark.parametrize("name", LOSSES)
def test_every_named_loss_takes_raw_logits(name):
    act = "softmax" if name in ("nacl", "mbls") else "sigmoid"
    loss = LOSSES[name].build(ACTIVATIONS[act], {})
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
        ("soft-cross-entropy", "softmax"): SoftCrossEntropyLoss(),
        ("soft-cross-entropy", "sigmoid"): SoftCrossEntropyLoss(sigmoid=True),
        ("focal", "softmax"): FocalLoss(),
        ("focal", "sigmoid"): FocalLoss(use_softmax=False),
        ("dice", "softmax"): DiceLoss(softmax=True),
        ("dice", "sigmoid"): DiceLoss(sigmoid=True),
        ("dice-ce-ace", "softmax"): DiceCEACELoss(softmax=True),
        ("dice-ce-ace", "sigmoid"): DiceCEACELoss(sigmoid=True),
    }
    for (name, act), loss in expected.items():
        computed = LOSSES[name].build(ACTIVATIONS[act], {})
        torch.testing.assert_close(computed(logits, target), loss(logits, target))


def test_cross_entropy_of_a_signed_map_is_refused():
    with pytest.raises(InputError, match="needs softmax or sigmoid, not 'tanh'"):
        LOSSES["focal"].build(ACTIVATIONS["tanh"], {})


@pytest.mark.parametrize(("slug", "name"), [("nacl", "NACL"), ("mbls", "MbLS")])
def test_a_penalty_on_logits_is_for_classes_alone(slug, name):
    with pytest.raises(InputError, match=f"'{name}' needs softmax, not 'sigmoid'"):
        LOSSES[slug].build(ACTIVATIONS["sigmoid"], {})
    assert LOSSES[slug].kinds == (CLASSES,)


def test_the_table_has_every_loss_with_the_options_of_its_signature():
    assert set(LOSSES) == {
        *("soft-cross-entropy", "focal", "nacl", "mbls", "dice", "dice-ce", "dice-ce-ace", "dice-semimetric"),
        *("jaccard-metric", "focal-l1", "l1", "l2", "product", "adaptive-wing"),
    }
    wanted = {"denominator": "sum", "smooth_nr": 1e-5, "smooth_dr": 1e-5, "batch": False}
    # Channel 0 of regions is a region: there is no background to leave out.
    assert LOSSES["dice"].options(REGIONS) == wanted
    assert LOSSES["dice"].options(CLASSES) == {"include_background": True, **wanted}
    assert LOSSES["focal"].options(CLASSES) == {"gamma": 2.0}
    assert LOSSES["l1"].options(SIGNED) == {}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_its_options_and_an_activation_of_its_kinds(name):
    row = LOSSES[name]
    for kind in row.kinds:
        for act in (act for act in ACTIVATIONS.values() if kind in act.kinds and act.name != "norm-relu"):
            loss = row.build(act, row.options(kind))
            target = torch.full((1, 2, 3, 4), kind.high)
            assert torch.isfinite(loss(torch.ones(1, 2, 3, 4), target))


def test_a_loss_that_takes_predictions_gets_activated_ones():
    loss = Loss("own", "own", torch.nn.MSELoss).build(ACTIVATIONS["sigmoid"], {})
    logits = torch.randn(1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    target = torch.zeros(1, 2, 3, 4)
    torch.testing.assert_close(loss(logits, target), (logits.sigmoid() ** 2).mean())
