import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.morphology import skeletonize

from sfumato.errors import DTypeError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.labels import seed_voxels
from strategies import label_maps


@given(label_maps(), st.sampled_from(("skeleton", "random", "erosion")))
def test_every_present_class_has_seeds_in_its_region_and_absent_ones_none(case, rule):
    labels, num_classes, _ = case
    chosen = seed_voxels(
        labels, num_classes=num_classes, seeds=rule, generator=torch.Generator().manual_seed(0)
    )
    for index in range(num_classes):
        region = labels == index
        assert not (chosen[index] & ~region).any()
        assert bool(chosen[index].any()) == bool(region.any())


@pytest.mark.parametrize("num_seeds", [3, 5, 7])
def test_random_draws_that_many_voxels_and_the_generator_decides_which(num_seeds):
    labels = (torch.arange(60).reshape(5, 12) % 5 == 0).long()
    first, again, other = (
        seed_voxels(
            labels,
            num_classes=2,
            seeds="random",
            num_seeds=num_seeds,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    )
    assert first.flatten(1).sum(1).tolist() == [num_seeds, num_seeds]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_random_takes_the_whole_region_where_it_is_small():
    labels = torch.zeros(4, 5, dtype=torch.int64)
    labels[1, 1:3] = 1
    chosen = seed_voxels(labels, num_classes=2, seeds="random", num_seeds=5)
    assert torch.equal(chosen[1], labels == 1)


def test_a_bar_has_a_skeleton_along_its_middle():
    labels = torch.zeros(7, 15, dtype=torch.int64)
    labels[2:5, 2:13] = 1
    skeleton = seed_voxels(labels, num_classes=2)[1]
    assert skeleton[3].sum() >= 8
    assert skeleton.sum() <= 12
    assert np.array_equal(skeleton.numpy(), skeletonize((labels == 1).numpy()))


def test_a_piece_that_thinning_removes_keeps_all_its_voxels():
    labels = torch.zeros(9, 9, 9, dtype=torch.int64)
    labels[1:3, 1:3, 1:3] = 1
    labels[4:8, 5:8, 5] = 1
    lost = skeletonize((labels == 1).numpy())[1:3, 1:3, 1:3]
    assert not lost.any()  # otherwise this case no longer tests anything
    chosen = seed_voxels(labels, num_classes=2)[1]
    assert chosen[1:3, 1:3, 1:3].all()
    assert 0 < chosen[4:8].sum() < (labels[4:8] == 1).sum()


def test_erosion_takes_a_ball_off_but_not_at_the_image_edge():
    labels = torch.zeros(6, 7, dtype=torch.int64)
    labels[0:4, 2:6] = 1
    chosen = seed_voxels(labels, num_classes=2, seeds="erosion")[1]
    expected = torch.zeros(6, 7, dtype=torch.bool)
    expected[0:3, 3:5] = True
    assert torch.equal(chosen, expected)


def test_a_region_that_erosion_empties_keeps_its_voxels():
    labels = torch.zeros(6, 7, dtype=torch.int64)
    labels[2:4, 2:4] = 1
    assert torch.equal(seed_voxels(labels, num_classes=2, seeds="erosion")[1], labels == 1)


def test_explicit_seeds_are_taken_as_they_are():
    seeds = torch.zeros(2, 3, 4, dtype=torch.bool)
    seeds[1, 2, 3] = True
    assert torch.equal(seed_voxels(torch.zeros(3, 4, dtype=torch.int64), num_classes=2, seeds=seeds), seeds)


def test_unfit_explicit_seeds_are_named():
    labels = torch.zeros(3, 4, dtype=torch.int64)
    with pytest.raises(ShapeError, match="one map per class"):
        seed_voxels(labels, num_classes=2, seeds=torch.ones(3, 4, dtype=torch.bool))
    with pytest.raises(DTypeError, match="give a boolean array"):
        seed_voxels(labels, num_classes=2, seeds=torch.ones(2, 3, 4))
    with pytest.raises(ValueRangeError, match="seeds are all False"):
        seed_voxels(labels, num_classes=2, seeds=torch.zeros(2, 3, 4, dtype=torch.bool))
    with pytest.raises(ValueRangeError, match="num_seeds is 0"):
        seed_voxels(labels, num_classes=2, seeds="random", num_seeds=0)


def test_an_unknown_rule_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'skeleton'"):
        seed_voxels(torch.zeros(3, 4, dtype=torch.int64), num_classes=2, seeds="skelton")
