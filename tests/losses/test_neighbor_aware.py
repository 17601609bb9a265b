import itertools
import math

import pytest
import torch
from monai.losses import NACLLoss
from torch.nn import functional

from sfumato.errors import ShapeError, UnknownNameError, ValueRangeError
from sfumato.losses import NeighborAwareCalibrationLoss

SHAPES = [(2, 3, 5, 4), (1, 4, 3, 6, 5), (1, 2, 1, 3), (2, 2, 1, 1, 1)]


def case_of(shape, seed=0):
    """Logits, class indices and the one-hot target."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(shape, generator=generator) * 3
    labels = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits, labels, functional.one_hot(labels, shape[1]).movedim(-1, 1).float()


def slow_shares(target, size, weight_of):
    """The weighted mean over the neighbours that exist, voxel by voxel."""
    half, spatial = size // 2, target.shape[2:]
    out = torch.zeros_like(target)
    for voxel in itertools.product(*(range(side) for side in spatial)):
        total, mass = 0.0, 0.0
        for offset in itertools.product(range(-half, half + 1), repeat=len(spatial)):
            there = tuple(a + b for a, b in zip(voxel, offset, strict=True))
            if all(0 <= place < side for place, side in zip(there, spatial, strict=True)):
                total = total + weight_of(offset) * target[(slice(None), slice(None), *there)]
                mass += weight_of(offset)
        out[(slice(None), slice(None), *voxel)] = total / mass
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("kernel", "size", "sigma"), [("mean", 3, 1.0), ("mean", 5, 1.0), ("gaussian", 3, 0.7)]
)
def test_shares_are_the_weighted_mean_of_the_neighbours_in_the_image(shape, kernel, size, sigma):
    _, _, target = case_of(shape)

    def weight_of(offset):
        return math.exp(-sum(step**2 for step in offset) / (2 * sigma**2)) if kernel == "gaussian" else 1.0

    loss = NeighborAwareCalibrationLoss(kernel=kernel, size=size, sigma=sigma)
    before = target.clone()
    computed = loss.shares(target)
    torch.testing.assert_close(computed, slow_shares(target, size, weight_of))
    torch.testing.assert_close(computed.sum(1), torch.ones(shape[0], *shape[2:]))
    assert torch.equal(target, before)


@pytest.mark.parametrize("shape", [(2, 3, 7, 6), (1, 4, 5, 6, 7)])
def test_away_from_the_border_the_shares_are_those_of_monai(shape):
    _, labels, target = case_of(shape)
    theirs = NACLLoss(classes=shape[1], dim=len(shape) - 2).get_constr_target(labels)
    inner = (..., *(slice(1, -1),) * (len(shape) - 2))
    computed = NeighborAwareCalibrationLoss().shares(target)
    torch.testing.assert_close(computed[inner], theirs[inner])
    assert not torch.allclose(computed, theirs)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_is_cross_entropy_plus_the_mean_distance_to_the_shares(shape):
    logits, labels, target = case_of(shape)
    shares = slow_shares(target, 3, lambda _: 1.0)
    entropy = functional.cross_entropy(logits, labels)
    for norm, penalty in (("l1", (shares - logits).abs()), ("l2", (shares - logits) ** 2)):
        computed = NeighborAwareCalibrationLoss(weight=0.3, norm=norm)(logits, target)
        torch.testing.assert_close(computed, entropy + 0.3 * penalty.mean())
    torch.testing.assert_close(NeighborAwareCalibrationLoss(weight=0.0)(logits, target), entropy)


def test_a_border_of_one_class_draws_the_logits_to_the_two_shares():
    # By hand: 1-D in disguise; the voxel beside the border has two neighbours of its own class of three.
    target = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 1.0, 1.0]]]])
    shares = NeighborAwareCalibrationLoss().shares(target)
    torch.testing.assert_close(shares[0, 0, 0], torch.tensor([1.0, 2 / 3, 1 / 3, 0.0]))


def test_gradients_are_right():
    logits, _, target = case_of((1, 3, 3, 2))
    loss = NeighborAwareCalibrationLoss()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.double().requires_grad_())


def test_half_precision_is_widened():
    logits, _, target = case_of((1, 3, 40, 30))
    loss = NeighborAwareCalibrationLoss()
    torch.testing.assert_close(loss(logits.half(), target), loss(logits.half().float(), target))


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match="target has shape"):
        NeighborAwareCalibrationLoss()(torch.zeros(2, 3, 4, 5), torch.zeros(1, 3, 4, 5))
    with pytest.raises(ValueRangeError, match="size is 4: it must be odd"):
        NeighborAwareCalibrationLoss(size=4)
    with pytest.raises(ValueRangeError, match="weight is -1"):
        NeighborAwareCalibrationLoss(weight=-1.0)
    with pytest.raises(ValueRangeError, match="sigma is 0"):
        NeighborAwareCalibrationLoss(sigma=0.0)
    with pytest.raises(UnknownNameError, match="Known: mean, gaussian"):
        NeighborAwareCalibrationLoss(kernel="box")
    with pytest.raises(UnknownNameError, match="Known: l1, l2"):
        NeighborAwareCalibrationLoss(norm="l3")
