import itertools

import pytest
import torch

from sfumato.errors import InputError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.losses import (
    DiceCELoss,
    DiceLoss,
    DiceSemimetricLoss,
    JaccardMetricLoss,
    SoftCrossEntropyLoss,
)

FORMS = {
    "dice sum": lambda **o: DiceLoss(denominator="sum", **o),
    "dice squares": lambda **o: DiceLoss(denominator="squares", **o),
    "semimetric": DiceSemimetricLoss,
    "jaccard l1": lambda **o: JaccardMetricLoss(form="l1", **o),
    "jaccard product": lambda **o: JaccardMetricLoss(form="product", **o),
}
SOFT_SAFE = ["dice squares", "semimetric", "jaccard l1", "jaccard product"]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def slow_loss(name, p, q, eps):
    """The formula of METHODS on two flat lists."""
    shared = sum(a * b for a, b in zip(p, q, strict=True))
    gap = sum(abs(a - b) for a, b in zip(p, q, strict=True))
    size = sum(p) + sum(q)
    above, below = {
        "dice sum": (2 * shared, size),
        "dice squares": (2 * shared, sum(a * a for a in p) + sum(b * b for b in q)),
        "semimetric": (size - gap, size),
        "jaccard l1": (size - gap, size + gap),
        "jaccard product": (shared, shared + gap),
    }[name]
    return 1 - (above + eps) / (below + eps)


def pair(shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=dtype), torch.rand(
        shape, generator=generator, dtype=dtype
    )


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 2, 3, 2, 5)])
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_each_form_is_its_formula_per_item_and_class(name, shape, eps):
    p, q = pair(shape)
    computed = FORMS[name](smooth_nr=eps, smooth_dr=eps, reduction="none")(p, q)
    assert computed.shape == shape[:2]
    for item, channel in itertools.product(range(shape[0]), range(shape[1])):
        expected = slow_loss(
            name, p[item, channel].flatten().tolist(), q[item, channel].flatten().tolist(), eps
        )
        assert computed[item, channel].item() == pytest.approx(expected, rel=1e-12)
    mean = FORMS[name](smooth_nr=eps, smooth_dr=eps)(p, q)
    torch.testing.assert_close(mean, computed.mean())


@pytest.mark.parametrize("name", FORMS)
def test_batch_joins_the_items_as_if_they_were_one_image(name):
    p, q = pair((2, 3, 4, 5))
    joined = [tensor.transpose(0, 1).reshape(1, 3, 8, 5) for tensor in (p, q)]
    torch.testing.assert_close(
        FORMS[name](batch=True, reduction="none")(p, q), FORMS[name](reduction="none")(*joined)[0]
    )


@pytest.mark.parametrize("name", FORMS)
def test_for_hard_masks_all_forms_are_dice_or_jaccard(name):
    p, q = (tensor > 0.5 for tensor in pair((1, 1, 6, 7)))
    shared, size = (p & q).sum().item(), p.sum().item() + q.sum().item()
    dice = 2 * shared / size
    expected = 1 - (dice if "jaccard" not in name else dice / (2 - dice))
    computed = FORMS[name](smooth_nr=0.0, smooth_dr=0.0)(p.double(), q.double())
    assert computed.item() == pytest.approx(expected)


@pytest.mark.parametrize("name", SOFT_SAFE)
def test_soft_safe_forms_have_their_minimum_zero_exactly_at_the_soft_target(name):
    for seed in range(5):
        p, q = pair((1, 1, 3, 4), seed)
        loss = FORMS[name]()
        assert loss(q, q).item() == pytest.approx(0, abs=1e-12)
        assert loss(p, q) > 1e-3
        assert loss((q > 0.5).double(), q) > 1e-3
        for size in (1e-3, 1e-2, 0.1):
            nudge = torch.randn(q.shape, dtype=q.dtype, generator=torch.Generator().manual_seed(seed))
            assert loss((q + size * nudge).clamp(0, 1), q) > 0


def test_the_plain_dice_has_its_minimum_at_a_hard_mask_cut_at_half_the_dice():
    for seed in range(5):
        _, q = pair((1, 1, 2, 5), seed)
        loss = DiceLoss(smooth_nr=0.0, smooth_dr=0.0)
        masks = [
            torch.tensor(bits, dtype=q.dtype).reshape(q.shape)
            for bits in itertools.product((0, 1), repeat=10)
        ]
        values = torch.stack([loss(mask, q) for mask in masks[1:]])
        best = masks[1:][int(values.argmin())]
        dice = 1 - values.min()
        assert torch.equal(best, (q > dice / 2).double())
        assert values.min() > 0.01
        assert values.min() < loss(q, q)
        # No soft prediction does better than the best hard one.
        generator = torch.Generator().manual_seed(seed)
        tries = torch.rand(2000, 1, 2, 5, dtype=q.dtype, generator=generator)
        mixed = 0.9 * best + 0.1 * tries
        for soft in (tries, mixed):
            tensor = DiceLoss(smooth_nr=0.0, smooth_dr=0.0, reduction="none")(soft, q.expand_as(soft))
            assert tensor.min() >= values.min() - 1e-12


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("fill", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.3, 0.0)])
@pytest.mark.parametrize("eps", [0.0, 1e-5])
def test_empty_and_full_cases_have_finite_losses_and_gradients(name, fill, eps):
    p = torch.full((2, 2, 3, 4), fill[0], requires_grad=True)
    q = torch.full((2, 2, 3, 4), fill[1])
    loss = FORMS[name](smooth_nr=eps, smooth_dr=eps)(p, q)
    loss.backward()
    assert torch.isfinite(p.grad).all()
    if fill[0] == fill[1]:
        assert loss.item() == pytest.approx(0, abs=1e-6)
    else:
        assert loss.item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", FORMS)
def test_gradients_are_right(name):
    p, q = pair((2, 2, 2, 3))
    assert torch.autograd.gradcheck(lambda x: FORMS[name]()(x, q), p.requires_grad_())


@pytest.mark.parametrize("name", FORMS)
def test_half_precision_counts_large_images_as_float32_does(name):
    # 70,000 voxels: a sum in float16 ends at 65,504.
    q = (torch.rand(1, 1, 280, 250, generator=torch.Generator().manual_seed(0)) > 0.2).float()
    logits = 4 * q - 2
    loss = FORMS[name](sigmoid=True)
    expected = loss(logits, q)
    for dtype in (torch.float16, torch.bfloat16):
        torch.testing.assert_close(loss(logits.to(dtype), q), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(logits, q), expected)


def test_activations_are_applied_once_and_exclude_each_other():
    logits, q = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0)), torch.rand(1, 3, 4, 5)
    plain = DiceLoss()
    torch.testing.assert_close(DiceLoss(softmax=True)(logits, q), plain(logits.softmax(1), q))
    torch.testing.assert_close(DiceLoss(sigmoid=True)(logits, q), plain(logits.sigmoid(), q))
    torch.testing.assert_close(DiceLoss(other_act=torch.relu)(logits, q), plain(logits.relu(), q))
    with pytest.raises(InputError, match="exclude each other"):
        DiceLoss(softmax=True, sigmoid=True)


def test_leaving_the_background_out_leaves_channel_zero_out():
    p, q = pair((2, 3, 4, 5))
    torch.testing.assert_close(DiceLoss(include_background=False)(p, q), DiceLoss()(p[:, 1:], q[:, 1:]))
    with pytest.raises(ShapeError, match="no channel besides channel 0"):
        DiceLoss(include_background=False)(p[:, :1], q[:, :1])


def test_dice_ce_is_the_weighted_sum_of_its_parts():
    logits, q = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)), torch.rand(2, 3, 4, 5)
    dice, entropy = DiceLoss(softmax=True)(logits, q), SoftCrossEntropyLoss()(logits, q)
    torch.testing.assert_close(DiceCELoss(softmax=True)(logits, q), dice + entropy)
    weighted = DiceCELoss(softmax=True, lambda_dice=0.5, lambda_ce=2.0)(logits, q)
    torch.testing.assert_close(weighted, 0.5 * dice + 2 * entropy)
    binary = DiceLoss(sigmoid=True)(logits, q) + SoftCrossEntropyLoss(sigmoid=True)(logits, q)
    torch.testing.assert_close(DiceCELoss(sigmoid=True)(logits, q), binary)
    with pytest.raises(InputError, match="choose exactly one"):
        DiceCELoss()


@pytest.mark.parametrize("name", FORMS)
def test_a_target_that_would_broadcast_is_refused(name):
    with pytest.raises(ShapeError, match="target has shape"):
        FORMS[name]()(torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 1))


def test_impossible_options_are_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'squares'"):
        DiceLoss(denominator="square")
    with pytest.raises(UnknownNameError, match="Known: l1, product"):
        JaccardMetricLoss(form="l2")
    with pytest.raises(ValueRangeError, match="smooth_dr is -1"):
        DiceLoss(smooth_dr=-1.0)
