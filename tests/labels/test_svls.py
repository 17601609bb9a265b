import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import ShapeError, ValueRangeError
from sfumato.labels import one_hot, svls
from sfumato.labels.kernels.votes import voted_labels
from sfumato.labels.svls import mixed_labels
from strategies import label_maps


def slow_svls(labels, num_classes, *, sigma=1.0, radii=None, steps=None):
    """The published recipe, word for word: kernel, centre replaced, replicate padding, loops."""
    axes = labels.ndim
    radii, steps = radii or (1,) * axes, steps or (1.0,) * axes
    offsets = list(itertools.product(*(range(-r, r + 1) for r in radii)))
    kernel = {
        o: math.exp(-sum((a * s) ** 2 for a, s in zip(o, steps, strict=True)) / (2 * sigma**2))
        for o in offsets
    }
    centre = (0,) * axes
    kernel[centre] = sum(weight for o, weight in kernel.items() if o != centre)
    kernel = {o: weight / kernel[centre] for o, weight in kernel.items()}
    total = sum(kernel.values())
    out = np.zeros((num_classes, *labels.shape))
    for index in np.ndindex(*labels.shape):
        for o, weight in kernel.items():
            at = tuple(min(max(i + a, 0), n - 1) for i, a, n in zip(index, o, labels.shape, strict=True))
            out[(int(labels[at]), *index)] += weight / total
    return torch.from_numpy(out).float()


@settings(max_examples=25)
@given(label_maps(max_side=5))
def test_it_is_the_published_kernel_applied_to_one_hot_channels(case):
    labels, num_classes, _ = case
    soft = svls(labels, num_classes=num_classes)
    torch.testing.assert_close(soft, slow_svls(labels, num_classes), atol=1e-6, rtol=0)


@settings(max_examples=8)
@given(label_maps(max_side=4), st.sampled_from((0.4, 2.5)))
def test_other_sizes_and_widths_agree_with_the_slow_sum(case, sigma):
    labels, num_classes, _ = case
    soft = svls(labels, num_classes=num_classes, sigma=sigma, size=5)
    expected = slow_svls(labels, num_classes, sigma=sigma, radii=(2,) * labels.ndim)
    torch.testing.assert_close(soft, expected, atol=1e-6, rtol=0)


def test_in_millimetres_the_kernel_follows_the_spacing():
    labels = torch.randint(0, 3, (4, 5, 6), generator=torch.Generator().manual_seed(3))
    spacing = (2.0, 1.0, 0.5)
    soft = svls(labels, num_classes=3, sigma=1.2, size=3.0, spacing=spacing)
    expected = slow_svls(labels, 3, sigma=1.2, radii=(0, 1, 3), steps=spacing)
    torch.testing.assert_close(soft, expected, atol=1e-6, rtol=0)


def test_the_kernel_has_the_published_numbers_in_two_dimensions():
    lone = torch.zeros(5, 5, dtype=torch.int64)
    lone[2, 2] = 1
    weights = svls(lone, num_classes=2)[1].double() * 2
    assert weights[2, 2] == pytest.approx(1.0, abs=1e-6)
    assert weights[2, 1] == pytest.approx(0.155615, abs=1e-6)
    assert weights[1, 1] == pytest.approx(0.094386, abs=1e-6)
    assert weights[0, 2] == 0


@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 5)])
def test_a_lone_voxel_is_half_its_own_class_and_half_the_others(shape):
    labels = torch.zeros(shape, dtype=torch.int64)
    labels[(1,) * len(shape)] = 1
    soft = svls(labels, num_classes=2)
    assert soft[(slice(None), *(1,) * len(shape))].tolist() == [0.5, 0.5]


@given(label_maps())
def test_channels_sum_to_one_and_absent_classes_weigh_nothing(case):
    labels, num_classes, _ = case
    soft = svls(labels, num_classes=num_classes + 1)
    assert (soft.sum(0) - 1).abs().max() <= 1e-6
    assert soft[num_classes].abs().max() == 0


def test_inside_one_class_the_label_is_exactly_one_hot():
    labels = torch.zeros(9, 7, 8, dtype=torch.int64)
    labels[4:] = 2
    soft, hard = svls(labels, num_classes=3, size=3), one_hot(labels, num_classes=3)
    assert torch.equal(soft[:, :3], hard[:, :3])
    assert torch.equal(soft[:, 5:], hard[:, 5:])
    assert not torch.equal(soft[:, 3:5], hard[:, 3:5])


def test_a_very_narrow_gaussian_keeps_the_face_neighbours():
    labels = torch.zeros(3, 3, dtype=torch.int64)
    labels[0, 1] = 1
    soft = svls(labels, num_classes=2, sigma=0.08)
    assert soft[1, 1, 1] == pytest.approx(0.125, abs=1e-6)


def test_swapping_axes_with_the_spacing_swaps_the_label():
    labels = torch.randint(0, 2, (4, 5, 6), generator=torch.Generator().manual_seed(1))
    spacing = (0.5, 1.0, 2.0)
    soft = svls(labels, num_classes=2, size=4.0, spacing=spacing)
    turned = svls(labels.permute(2, 0, 1), num_classes=2, size=4.0, spacing=(2.0, 0.5, 1.0))
    torch.testing.assert_close(turned, soft.permute(0, 3, 1, 2))


@pytest.mark.parametrize("size", [1, 2, 4, 2.5])
def test_a_size_that_is_not_odd_is_refused(size):
    with pytest.raises(ValueRangeError, match="must be an odd number of voxels"):
        svls(torch.zeros(3, 3, dtype=torch.int64), num_classes=2, size=size)


def test_a_box_narrower_than_a_voxel_is_refused():
    with pytest.raises(ValueRangeError, match="no neighbour any weight"):
        svls(torch.zeros(3, 3, dtype=torch.int64), num_classes=2, size=1.0, spacing=(2.0, 2.0))


def test_spacing_of_the_wrong_length_is_named():
    with pytest.raises(ShapeError, match="spacing has 2 values, but labels has 3 axes"):
        svls(torch.zeros(3, 3, 3, dtype=torch.int64), num_classes=2, spacing=(1.0, 1.0))


@pytest.mark.parametrize("classes", [5, 300])
def test_any_number_of_threads_and_classes_gives_the_same_bits(classes):
    labels = torch.randint(0, classes, (9, 4, 5), generator=torch.Generator().manual_seed(4))
    offsets = np.array([o for o in itertools.product(range(-1, 2), repeat=3) if any(o)])
    weights = np.array([math.exp(-(o**2).sum() / 2) for o in offsets])
    one, two = (voted_labels(labels.numpy(), classes, offsets, weights, threads=n) for n in (1, 2))
    assert np.array_equal(one, two)
    torch.testing.assert_close(torch.from_numpy(one), slow_svls(labels, classes), atol=1e-6, rtol=0)


@settings(max_examples=10)
@given(label_maps(max_side=5), st.sampled_from((1, 2)))
def test_the_kernel_computes_the_formula(case, radius):
    labels, num_classes, _ = case
    box = itertools.product(range(-radius, radius + 1), repeat=labels.ndim)
    offsets = [offset for offset in box if any(offset)]
    weights = [math.exp(-sum(step**2 for step in offset) / 2) for offset in offsets]
    expected = mixed_labels(labels, num_classes, offsets, weights)
    soft = svls(labels, num_classes=num_classes, size=2 * radius + 1)
    torch.testing.assert_close(soft, expected, atol=1e-6, rtol=0)
    assert torch.equal(soft == 1, expected == 1)
