import numpy as np
import pytest
import torch

from sfumato.errors import InputError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.losses import AverageCalibrationErrorLoss, DiceCEACELoss, DiceCELoss

SHAPES = [(2, 3, 7, 5), (1, 2, 3, 4, 5), (1, 2, 1, 1)]


def pair(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    probs = torch.rand(shape, generator=generator, dtype=torch.float64)
    return probs, torch.rand(shape, generator=generator, dtype=torch.float64)


def slow_error(probs, target, num_bins, binning):
    """The definition, voxel by voxel and bin by bin, for one item and class."""
    held, gap = np.zeros(num_bins), np.zeros(num_bins)
    for p, q in zip(probs, target, strict=True):
        for index in range(num_bins):
            if binning == "hard":
                weight = float(
                    index / num_bins <= p < (index + 1) / num_bins or (p == 1 and index == num_bins - 1)
                )
            else:
                centre, outer = (index + 0.5) / num_bins, 0.5 / num_bins
                inner = min(max(p, outer), 1 - outer)
                weight = max(0.0, 1 - abs(inner - centre) * num_bins)
            held[index] += weight
            gap[index] += weight * (p - q)
    filled = held >= 0.01
    return float(np.mean(np.abs(gap[filled]) / held[filled]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("binning", ["hard", "soft"])
@pytest.mark.parametrize("num_bins", [1, 2, 8])
def test_the_error_is_its_definition(shape, binning, num_bins):
    probs, target = pair(shape)
    loss = AverageCalibrationErrorLoss(num_bins=num_bins, binning=binning, reduction="none")
    computed = loss(probs, target)
    for item in range(shape[0]):
        for channel in range(shape[1]):
            one, two = (tensor[item, channel].flatten().tolist() for tensor in (probs, target))
            assert float(computed[item, channel]) == pytest.approx(slow_error(one, two, num_bins, binning))
    mean = AverageCalibrationErrorLoss(num_bins=num_bins, binning=binning)(probs, target)
    torch.testing.assert_close(mean, computed.mean())


def test_by_hand_two_bins_count_alike_however_many_voxels_they_hold():
    probs = torch.tensor([[[[0.1, 0.2, 0.3, 0.9]]]])
    target = torch.tensor([[[[0.0, 0.0, 0.0, 0.0]]]])
    # Means of p: 0.2 below a half and 0.9 above.
    computed = AverageCalibrationErrorLoss(num_bins=2)(probs, target)
    torch.testing.assert_close(computed, torch.tensor((0.2 + 0.9) / 2))


@pytest.mark.parametrize("binning", ["hard", "soft"])
def test_calibrated_predictions_have_no_error(binning):
    probs = torch.full((1, 1, 4, 5), 0.25)
    target = torch.zeros(1, 1, 4, 5)
    target[..., 0] = 1.0  # A fifth of the voxels; one more makes a quarter.
    target[0, 0, 0, 1] = 1.0
    assert AverageCalibrationErrorLoss(binning=binning)(probs, target) == pytest.approx(0.0, abs=1e-7)
    soft = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert AverageCalibrationErrorLoss(binning=binning)(soft, soft) == 0


@pytest.mark.parametrize("binning", ["hard", "soft"])
@pytest.mark.parametrize(("p", "q"), [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_sure_predictions_of_empty_and_full_classes(binning, p, q):
    logits = torch.full((1, 1, 3, 4, 2), 1e4 if p else -1e4, requires_grad=True)
    loss = AverageCalibrationErrorLoss(binning=binning, sigmoid=True)(
        logits, torch.full_like(logits, q).detach()
    )
    loss.backward()
    assert loss.item() == abs(p - q)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("binning", ["hard", "soft"])
def test_gradients_are_right(binning):
    probs, target = pair((1, 2, 3, 4))
    loss = AverageCalibrationErrorLoss(num_bins=4, binning=binning)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), probs.requires_grad_())


def test_a_soft_bin_that_holds_next_to_nothing_counts_as_empty():
    # Two bins with centres 0.25 and 0.75: the upper one holds 0.004 voxels.
    probs = torch.tensor([[[[0.252]]]])
    loss = AverageCalibrationErrorLoss(num_bins=2, binning="soft")
    torch.testing.assert_close(loss(probs, torch.zeros(1, 1, 1, 1)), torch.tensor(0.252))
    half = AverageCalibrationErrorLoss(num_bins=2, binning="soft", empty_below=0.999)
    assert half(probs, torch.zeros(1, 1, 1, 1)) == 0


def test_the_activation_is_applied_and_the_background_left_out():
    logits, _ = pair((2, 3, 4, 5))
    target = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plain = AverageCalibrationErrorLoss(reduction="none")
    for options, act in (
        ({"softmax": True}, lambda x: x.softmax(1)),
        ({"other_act": torch.sigmoid}, torch.sigmoid),
    ):
        computed = AverageCalibrationErrorLoss(reduction="none", **options)(logits, target)
        torch.testing.assert_close(computed, plain(act(logits), target))
    inner = AverageCalibrationErrorLoss(include_background=False, reduction="none")
    torch.testing.assert_close(inner(logits, target), plain(logits, target)[:, 1:])


def test_more_voxels_than_float32_can_count_are_averaged():
    # A count in float32 stops at 2^24, and half of the voxels would then seem more than half.
    probs = torch.ones(1, 1, 2**12 + 8, 2**12)
    target = torch.zeros_like(probs)
    target[..., : 2**11] = 1.0
    assert AverageCalibrationErrorLoss()(probs, target).item() == 0.5


def test_the_sum_of_three_losses_is_weighted():
    logits, target = pair((2, 3, 4, 5))
    base = DiceCELoss(softmax=True, lambda_dice=0.5, lambda_ce=2.0)(logits, target)
    error = AverageCalibrationErrorLoss(softmax=True, binning="soft", num_bins=5)(logits, target)
    options = {"softmax": True, "lambda_dice": 0.5, "lambda_ce": 2.0, "binning": "soft", "num_bins": 5}
    computed = DiceCEACELoss(lambda_ace=3.0, **options)(logits, target)
    torch.testing.assert_close(computed, base + 3.0 * error)
    torch.testing.assert_close(DiceCEACELoss(lambda_ace=0.0, **options)(logits, target), base)


def test_half_precision_is_widened():
    logits, target = (tensor.float() for tensor in pair((1, 3, 40, 30)))
    loss = DiceCEACELoss(softmax=True)
    torch.testing.assert_close(loss(logits.half(), target), loss(logits.half().float(), target))


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="target has shape"):
        AverageCalibrationErrorLoss()(torch.zeros(2, 3, 4, 5), torch.zeros(1, 3, 4, 5))
    with pytest.raises(ShapeError, match="no channel besides channel 0"):
        AverageCalibrationErrorLoss(include_background=False)(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4))
    with pytest.raises(UnknownNameError, match="Known: hard, soft"):
        AverageCalibrationErrorLoss(binning="firm")
    with pytest.raises(ValueRangeError, match="num_bins is 0"):
        AverageCalibrationErrorLoss(num_bins=0)
    with pytest.raises(ValueRangeError, match="empty_below is 0"):
        AverageCalibrationErrorLoss(empty_below=0.0)
    with pytest.raises(InputError, match="exclude each other"):
        AverageCalibrationErrorLoss(sigmoid=True, softmax=True)
    with pytest.raises(InputError, match="exactly one of sigmoid=True and softmax=True"):
        DiceCEACELoss()
    with pytest.raises(ValueRangeError, match="lambda_ace is -1"):
        DiceCEACELoss(softmax=True, lambda_ace=-1.0)
