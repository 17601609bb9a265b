import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sfumato.data import Augmentation, Movement
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.structures import REGIONS, SIGNED
from strategies import label_maps, seeds

SPACING3, SPACING2 = (0.5, 2.0, 3.0), (0.5, 2.0)
WILD = Augmentation(
    flip_axes=(0, 1),
    rotation_deg=40.0,
    scale=0.3,
    translation_fraction=0.2,
    intensity_scale=0.3,
    intensity_shift=0.3,
)


def _sample(shape, seed=0, classes=3):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, *shape, generator=generator)
    labels = torch.randint(0, classes, shape, generator=generator)
    soft = torch.rand(classes, *shape, generator=generator)
    return image, labels, soft / soft.sum(0)


def _by_scipy(array, movement, spacing, order, outside):
    """Slowly: pull every voxel from its place in mm, with SciPy."""
    shape = array.shape
    turn = np.eye(len(shape))
    planes = [(0, 1)] if len(shape) == 2 else [(1, 2), (2, 0), (0, 1)]
    for (a, b), angle in zip(planes, np.deg2rad(movement.rotation_deg), strict=False):
        one = np.eye(len(shape))
        one[a, a] = one[b, b] = np.cos(angle)
        one[b, a], one[a, b] = np.sin(angle), -np.sin(angle)
        turn = one @ turn
    mm = np.diag(spacing)
    back = np.linalg.inv(mm) @ np.linalg.inv(turn * movement.scale) @ mm
    centre = (np.array(shape) - 1) / 2
    shift = np.array(movement.translation or np.zeros(len(shape))) * shape
    return ndimage.affine_transform(
        array, back, offset=centre - back @ (centre + shift), order=order, cval=outside, mode="grid-constant"
    )


MOVEMENTS = [
    Movement(rotation_deg=(25.0,)),
    Movement(scale=1.27),
    Movement(translation=(0.2, -0.15)),
    Movement(rotation_deg=(-70.0,), scale=0.8, translation=(0.1, 0.05)),
]


@pytest.mark.parametrize("movement", MOVEMENTS)
def test_2d_movements_agree_with_scipy_in_millimetres(movement):
    image, labels, soft = _sample((14, 9))
    moved = movement.image(image, spacing=SPACING2)
    for ours, channel in zip(moved.numpy(), image.double().numpy(), strict=True):
        expected = _by_scipy(channel, movement, SPACING2, 1, channel.min())
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    expected = _by_scipy(soft[0].double().numpy(), movement, SPACING2, 1, 1.0)
    np.testing.assert_allclose(movement.target(soft, spacing=SPACING2)[0].numpy(), expected, atol=1e-5)
    expected = _by_scipy(labels.numpy(), movement, SPACING2, 0, 0)
    assert (movement.labels(labels, spacing=SPACING2).numpy() != expected).mean() < 0.02


def test_3d_rotation_scale_and_translation_agree_with_scipy_in_millimetres():
    movement = Movement(rotation_deg=(20.0, -35.0, 50.0), scale=1.2, translation=(0.1, -0.2, 0.05))
    image, labels, soft = _sample((12, 9, 7))
    expected = _by_scipy(image[0].double().numpy(), movement, SPACING3, 1, float(image[0].min()))
    np.testing.assert_allclose(movement.image(image, spacing=SPACING3)[0].numpy(), expected, atol=1e-5)
    expected = _by_scipy(soft[2].double().numpy(), movement, SPACING3, 1, 0.0)
    np.testing.assert_allclose(movement.target(soft, spacing=SPACING3)[2].numpy(), expected, atol=1e-5)
    expected = _by_scipy(labels.numpy(), movement, SPACING3, 0, 0)
    assert (movement.labels(labels, spacing=SPACING3).numpy() != expected).mean() < 0.02


@pytest.mark.parametrize(
    ("angles", "plane"), [((90, 0, 0), (1, 2)), ((0, 90, 0), (2, 0)), ((0, 0, 90), (0, 1))]
)
def test_a_quarter_turn_is_exact(angles, plane):
    image, labels, soft = _sample((7, 7, 7))
    movement = Movement(rotation_deg=angles)
    spacing = (1.0, 1.0, 1.0)
    torch.testing.assert_close(
        movement.image(image, spacing=spacing),
        image.rot90(1, [1 + axis for axis in plane]),
        atol=1e-5,
        rtol=0,
    )
    assert torch.equal(movement.labels(labels, spacing=spacing), labels.rot90(1, plane))
    torch.testing.assert_close(
        movement.target(soft, spacing=spacing),
        soft.rot90(1, [1 + axis for axis in plane]),
        atol=1e-5,
        rtol=0,
    )


def test_a_quarter_turn_in_2d_is_exact_and_respects_the_spacing():
    image, labels, _ = _sample((6, 6))
    movement = Movement(rotation_deg=(90.0,))
    assert torch.equal(movement.labels(labels, spacing=(2.0, 2.0)), labels.rot90(1, (0, 1)))
    torch.testing.assert_close(
        movement.image(image, spacing=(2.0, 2.0)), image.rot90(1, (1, 2)), atol=1e-5, rtol=0
    )
    # 8 mm along the first axis, 4 voxels of 2 mm; a quarter turn makes it 8 mm along the second, 8 of 1 mm.
    bar = torch.zeros(9, 17, dtype=torch.int64)
    bar[2:7, 8] = 1
    turned = movement.labels(bar, spacing=(2.0, 1.0))
    assert turned[4].sum() >= 9
    assert turned.sum(1).count_nonzero() == 1


def test_flips_are_exact():
    image, labels, soft = _sample((5, 4, 3))
    movement = Movement(flips=(0, 2))
    assert torch.equal(movement.image(image, spacing=SPACING3), image.flip(1, 3))
    assert torch.equal(movement.labels(labels, spacing=SPACING3), labels.flip(0, 2))
    assert torch.equal(movement.target(soft, spacing=SPACING3), soft.flip(1, 3))


@given(label_maps(), seeds)
def test_without_ranges_the_input_comes_back_bit_for_bit(case, seed):
    labels, num_classes, spacing = case
    soft = torch.rand(num_classes, *labels.shape, generator=torch.Generator().manual_seed(seed))
    image = soft[:1] - 0.3
    moved = Augmentation().apply(image, labels, soft, spacing=spacing)
    for before, after in zip((image, labels, soft), moved, strict=True):
        assert torch.equal(before, after)


@given(label_maps(max_side=9), seeds)
def test_a_soft_target_stays_a_distribution(case, seed):
    labels, num_classes, spacing = case
    generator = torch.Generator().manual_seed(seed)
    soft = torch.rand(num_classes, *labels.shape, generator=generator)
    soft = soft / soft.sum(0)
    image = torch.randn(1, *labels.shape, generator=generator)
    moved_image, moved_labels, moved = WILD.apply(image, labels, soft, spacing=spacing, generator=generator)
    assert moved.shape == soft.shape
    assert moved.dtype == torch.float32
    torch.testing.assert_close(moved.sum(0), torch.ones(labels.shape), atol=1e-6, rtol=0)
    assert moved.min() >= 0
    assert set(moved_labels.unique().tolist()) <= {0, *labels.unique().tolist()}
    assert moved_labels.dtype == labels.dtype
    assert torch.isfinite(moved_image).all()


def test_rounding_leaves_no_weight_below_0_or_above_1():
    target = torch.zeros(3, 12, 11, 10)
    target[1] = 1
    movement = Movement(rotation_deg=(0.3, 5.0, 7.0), scale=1.9)
    moved = movement.target(target, spacing=SPACING3)
    assert moved.min() >= 0
    assert moved.max() <= 1


def test_a_target_with_other_sums_keeps_them():
    soft = torch.full((3, 9, 8), 0.25)
    moved = Movement(rotation_deg=(5.0,)).target(soft, spacing=(1.0, 1.0))
    torch.testing.assert_close(moved[:, 3:6, 3:5], soft[:, 3:6, 3:5])


@pytest.mark.parametrize(("kind", "outside"), [(REGIONS, 0.0), (SIGNED, -1.0)])
def test_regions_and_signed_maps_stay_in_their_range_with_their_own_outside(kind, outside):
    target = torch.rand(2, 8, 9) * (1 if kind is REGIONS else 2) + outside
    movement = Movement(translation=(0.5, 0.0))
    moved = movement.target(target, spacing=SPACING2, kind=kind)
    assert (moved[:, :4] == outside).all()
    torch.testing.assert_close(moved[:, 4:], target[:, :4], atol=1e-6, rtol=0)
    turned = Movement(rotation_deg=(33.0,)).target(target, spacing=SPACING2, kind=kind)
    assert turned.min() >= outside
    assert turned.max() <= 1


def test_outside_a_distribution_is_class_0():
    _, _, soft = _sample((8, 9))
    movement = Movement(translation=(0.5, 0.0))
    moved = movement.target(soft, spacing=SPACING2)
    assert (moved[0, :4] == 1).all()
    assert (moved[1:, :4] == 0).all()


def test_outside_an_image_is_its_smallest_value():
    image = torch.rand(2, 8, 9) + torch.tensor([1.0, -5.0]).view(2, 1, 1)
    moved = Movement(translation=(0.5, 0.0)).image(image, spacing=SPACING2)
    torch.testing.assert_close(moved[:, 0, 0], image.flatten(1).amin(1))


def test_image_labels_and_target_move_together():
    labels = torch.zeros(16, 12, 10, dtype=torch.int64)
    labels[4:11, 3:9, 2:8] = 1
    target = torch.nn.functional.one_hot(labels, 2).movedim(-1, 0).float()
    augmentation = Augmentation(flip_axes=(0, 1, 2), rotation_deg=30, scale=0.2, translation_fraction=0.1)
    for seed in range(5):
        moved_image, moved_labels, moved = augmentation.apply(
            labels[None].float(),
            labels,
            target,
            spacing=SPACING3,
            generator=torch.Generator().manual_seed(seed),
        )
        torch.testing.assert_close(moved_image[0], moved[1], atol=1e-5, rtol=0)
        assert 0 < moved_labels.sum() < labels.numel()
        # Nearest and linear choose the same class except at ties of the two.
        clear = (moved[1] - 0.5).abs() > 0.3
        assert (moved_labels[clear] == moved.argmax(0)[clear]).float().mean() > 0.97


def test_several_raters_move_as_one_would():
    _, labels, _ = _sample((9, 8))
    movement = Movement(rotation_deg=(20.0,), flips=(1,))
    moved = movement.labels(torch.stack([labels, 2 - labels]), spacing=SPACING2)
    assert torch.equal(moved[0], movement.labels(labels, spacing=SPACING2))
    assert torch.equal(moved[1], movement.labels(2 - labels, spacing=SPACING2))


def test_scaling_in_steps_of_pixels_by_hand():
    line = torch.tensor([[0.0, 0.0, 4.0, 0.0, 0.0]])[None]
    moved = Movement(translation=(0.0, 0.2)).image(line, spacing=(1.0, 1.0))
    torch.testing.assert_close(moved, torch.tensor([[0.0, 0.0, 0.0, 4.0, 0.0]])[None], atol=1e-5, rtol=0)
    moved = Movement(scale=2.0).image(line, spacing=(1.0, 1.0))
    # In the one row both neighbours beyond the edge are 0, the smallest value.
    torch.testing.assert_close(moved[0, 0], torch.tensor([0.0, 2.0, 4.0, 2.0, 0.0]), atol=1e-5, rtol=0)


def test_gain_and_shift_by_hand():
    image = torch.tensor([[[1.0, 3.0]], [[10.0, 30.0]]])
    moved = Movement(gain=1.5, shift=0.5).image(image, spacing=(1.0, 1.0))
    torch.testing.assert_close(moved, torch.tensor([[[1.0, 4.0]], [[10.0, 40.0]]]))


def test_a_generator_decides_everything_and_numbers_stay_within_their_ranges():
    image, labels, soft = _sample((7, 6, 5))
    first, second = (
        WILD.apply(image, labels, soft, spacing=SPACING3, generator=torch.Generator().manual_seed(4))
        for _ in range(2)
    )
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)
    generator = torch.Generator().manual_seed(0)
    drawn = [WILD.draw(3, generator=generator) for _ in range(300)]
    angles = torch.tensor([movement.rotation_deg for movement in drawn])
    assert 35 < angles.max() <= 40
    assert -40 <= angles.min() < -35
    scales = torch.tensor([movement.scale for movement in drawn])
    assert 0.7 <= scales.min() < 0.75
    assert 1.25 < scales.max() <= 1.3
    shifts = torch.tensor([movement.translation for movement in drawn])
    assert 0.18 < shifts.abs().max() <= 0.2
    flips = torch.tensor([[axis in movement.flips for axis in range(3)] for movement in drawn])
    assert flips[:, 2].sum() == 0
    assert 100 < flips[:, 0].sum() < 200


def test_an_angle_per_axis_turns_about_that_axis_only_and_leaves_all_other_numbers_as_they_are():
    drawn = {}
    for largest in (10.0, (0.0, 0.0, 10.0), (5.0, 20.0, 0.0)):
        generator = torch.Generator().manual_seed(3)
        augmentation = dataclasses.replace(WILD, rotation_deg=largest)
        drawn[largest] = [augmentation.draw(3, generator=generator) for _ in range(20)]
    for alike, within, uneven in zip(*drawn.values(), strict=True):
        first, second, third = alike.rotation_deg
        assert within == dataclasses.replace(alike, rotation_deg=(0.0, 0.0, third))
        assert uneven.rotation_deg == (first / 2, 2 * second, 0.0)


def test_turning_within_the_slices_keeps_every_slice_in_its_place():
    image = torch.arange(5.0).expand(1, 9, 8, 5).contiguous()
    within = Augmentation(rotation_deg=(0.0, 0.0, 30.0))
    moved, _, _ = within.apply(image + 1, spacing=(0.5, 0.5, 3.0), generator=torch.Generator().manual_seed(0))
    # The middle stays inside whatever the angle: there each slice shows its own value.
    torch.testing.assert_close(moved[0, 3:6, 3:5], (image + 1)[0, 3:6, 3:5])
    alike, _, _ = Augmentation(rotation_deg=30.0).apply(
        image + 1, spacing=(0.5, 0.5, 3.0), generator=torch.Generator().manual_seed(0)
    )
    assert (alike[0, 3:6, 3:5] - moved[0, 3:6, 3:5]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("changes", "affine"),
    [
        ({}, False),
        ({"flip_axes": (0,), "intensity_scale": 0.1, "intensity_shift": 0.1}, False),
        ({"rotation_deg": (0.0, 0.0, 0.0)}, False),
        ({"rotation_deg": (0.0, 1.0, 0.0)}, True),
        ({"rotation_deg": 1.0}, True),
        ({"scale": 0.1}, True),
        ({"translation_fraction": 0.1}, True),
    ],
)
def test_only_rotation_scale_and_shift_reach_beyond_the_patch(changes, affine):
    assert Augmentation(**changes).is_affine == affine


def test_the_probability_is_of_each_part():
    generator = torch.Generator().manual_seed(1)
    augmentation = Augmentation(probability=0.25, rotation_deg=10, intensity_shift=0.1)
    drawn = [augmentation.draw(2, generator=generator) for _ in range(800)]
    turned = sum(bool(movement.rotation_deg) for movement in drawn)
    toned = sum(movement.shift != 0 for movement in drawn)
    both = sum(bool(movement.rotation_deg) and movement.shift != 0 for movement in drawn)
    assert 150 < turned < 250
    assert 150 < toned < 250
    assert 25 < both < 80


def test_memory_order_does_not_matter():
    image, _, _ = _sample((7, 6, 5))
    movement = Movement(rotation_deg=(10.0, 20.0, 30.0), scale=0.9)
    strided = image.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0)
    assert torch.equal(movement.image(image, spacing=SPACING3), movement.image(strided, spacing=SPACING3))


def test_nothing_is_changed_in_place():
    image, labels, soft = _sample((7, 6))
    copies = [tensor.clone() for tensor in (image, labels, soft)]
    WILD.apply(image, labels, soft, spacing=SPACING2)
    for tensor, copy in zip((image, labels, soft), copies, strict=True):
        assert torch.equal(tensor, copy)


def test_masks_and_target_may_be_absent():
    image, _, _ = _sample((7, 6))
    _, labels, target = WILD.apply(image, spacing=SPACING2)
    assert labels is None
    assert target is None


@given(st.sampled_from([(1, 1), (1, 5), (4, 3, 1), (1, 1, 1)]), seeds)
def test_one_voxel_and_one_slice_are_moved(shape, seed):
    image, labels, soft = _sample(shape)
    moved = WILD.apply(
        image,
        labels,
        soft,
        spacing=(2.0,) * len(shape),
        generator=torch.Generator().manual_seed(seed),
    )
    assert [tensor.shape for tensor in moved] == [image.shape, labels.shape, soft.shape]


def test_wrong_settings_are_named():
    image, labels, soft = _sample((7, 6))
    with pytest.raises(ValueRangeError, match=r"probability is 1\.5"):
        Augmentation(probability=1.5)
    with pytest.raises(ValueRangeError, match="both must lie"):
        Augmentation(scale=1.0)
    with pytest.raises(ValueRangeError, match="rotation_deg is -3"):
        Augmentation(rotation_deg=-3)
    with pytest.raises(ValueRangeError, match="rotation_deg is -3"):
        Augmentation(rotation_deg=(0.0, 0.0, -3))
    with pytest.raises(ShapeError, match=r"\(1.0, 2.0\) for 3 axes: give one angle, or in 3-D one per axis"):
        Augmentation(rotation_deg=(1.0, 2.0))
    with pytest.raises(ShapeError, match=r"\(0, 0, 9\) for 2 axes: give one angle"):
        Augmentation(rotation_deg=(0, 0, 9)).apply(image, spacing=SPACING2)
    with pytest.raises(ShapeError, match=r"flip_axes \(2,\) must lie in 0 \.\. 1"):
        Augmentation(flip_axes=(2,)).apply(image, spacing=SPACING2)
    with pytest.raises(ShapeError, match="spacing has 3 values"):
        WILD.apply(image, spacing=SPACING3)
    with pytest.raises(ShapeError, match="the grid of labels"):
        WILD.apply(image, labels[:3], spacing=SPACING2)
    with pytest.raises(ShapeError, match="the grid of target"):
        WILD.apply(image, labels, soft[:, :1], spacing=SPACING2)
    with pytest.raises(ShapeError, match="rotation_deg has 3 values: give 1"):
        Movement(rotation_deg=(1.0, 2.0, 3.0)).image(image, spacing=SPACING2)
