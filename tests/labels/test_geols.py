from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import ShapeError, UnknownNameError, ValueRangeError
from sfumato.geodesic import geodesic_distance
from sfumato.geodesic.engine.blocks import Blocks
from sfumato.geodesic.reference import geodesic_distance_reference
from sfumato.labels import geols, one_hot, seed_voxels
from sfumato.labels.geols import nearness_weights
from sfumato.labels.kernels.nearness import nearness_labels, weigh
from strategies import label_maps

getcontext().prec = 400


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def slow_distances(image, seeds, spacing, cost="l2", weight=1.0):
    return np.stack(
        [
            geodesic_distance_reference(image, each, spacing=spacing, cost=cost, weight=weight)
            for each in seeds.numpy()
        ]
    )


def printed_map(distance):
    """Equations 5 and 6 as printed, with 400 digits; NaN where they are 0/0 even so."""
    out = np.full(distance.shape, np.nan)
    nearness = np.zeros(distance.shape, dtype=object)
    for index, each in enumerate(distance):
        values = [(-Decimal(float(d))).exp() if np.isfinite(d) else Decimal(0) for d in each.ravel()]
        low, high = min(values), max(values)
        if high > low:
            values = [(value - low) / (high - low) for value in values]
        nearness[index] = np.array(values, dtype=object).reshape(each.shape)
    total = nearness.sum(axis=0)
    for voxel in np.ndindex(*total.shape):
        if total[voxel] > 0:
            for index in range(len(distance)):
                out[(index, *voxel)] = float(nearness[(index, *voxel)] / total[voxel])
    return torch.from_numpy(out).float()


def paper_map(distance):
    """Class weights ``(K, X)`` from distances ``(K, X)``."""
    owners = np.zeros((1, 1, distance.shape[1]), np.int64)
    weights = distance.numpy()[:, None, None].astype(np.float32)
    weigh(weights, owners, Blocks.every(len(weights), owners.shape), 1.0)
    return torch.from_numpy(weights[:, 0, 0])


def zscored(image):
    axes = tuple(range(1, image.ndim))
    values = image.double().numpy()
    return (values - values.mean(axes, keepdims=True)) / values.std(axes, keepdims=True)


def case_of(shape, seed=0, channels=1, classes=3):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(shape, dtype=torch.int64)
    labels[1:4, 2:5] = 1
    if classes > 2:
        labels[0, :] = 2
    return labels, torch.randn(channels, *shape, generator=generator)


@pytest.mark.parametrize(("shape", "spacing"), [((5, 7), (0.5, 1.0)), ((4, 5, 3), (0.7, 0.4, 1.5))])
@pytest.mark.parametrize("channels", [1, 2])
def test_near_the_seeds_it_is_the_printed_formula(shape, spacing, channels):
    labels, image = case_of(shape, channels=channels)
    seeds = seed_voxels(labels, num_classes=4)
    distance = slow_distances(zscored(image), seeds, spacing)
    assert distance[:3].max() < 16
    soft = geols(labels, image, num_classes=4, spacing=spacing, alpha=0.3)
    expected = 0.7 * one_hot(labels, num_classes=4) + 0.3 * printed_map(distance)
    assert torch.isfinite(expected).all()
    torch.testing.assert_close(soft, expected, atol=2e-6, rtol=0)


def test_far_from_the_seeds_it_is_the_limit_of_the_printed_formula():
    labels = torch.zeros(4, 61, dtype=torch.int64)
    labels[:, 55:] = 1
    image = torch.zeros(4, 61)
    seeds = torch.zeros(2, 4, 61, dtype=torch.bool)
    seeds[0, 0, 0] = seeds[1, 3, 60] = True
    spacing = (1.0, 6.0)
    distance = slow_distances(image.numpy(), seeds, spacing)
    assert distance.min(axis=0).max() > 150
    soft = geols(labels, image, num_classes=2, spacing=spacing, alpha=1.0, seeds=seeds)
    # Only at the farthest voxel of a class does the printed formula stay away from its limit.
    middle = slice(1, 60)
    expected = printed_map(distance)[:, :, middle]
    torch.testing.assert_close(soft[:, :, middle], expected, atol=1e-4, rtol=0)
    assert ((expected > 0.2) & (expected < 0.8)).any()


@pytest.mark.parametrize("intensity", ["raw", "zscore", "unit"])
def test_three_hundred_millimetres_from_every_seed_it_is_finite_and_sums_to_one(intensity):
    labels = torch.zeros(3, 40, 5, dtype=torch.int64)
    labels[1, 2, 2] = 1
    image = torch.randn(1, 3, 40, 5, generator=torch.Generator().manual_seed(0)) * 100
    seeds = torch.zeros(2, 3, 40, 5, dtype=torch.bool)
    seeds[0, 0, 0, 0] = seeds[1, 1, 2, 2] = True
    soft = geols(
        labels, image, num_classes=2, spacing=(1.0, 10.0, 1.0), seeds=seeds, intensity=intensity, alpha=1.0
    )
    assert torch.isfinite(soft).all()
    torch.testing.assert_close(soft.sum(0), torch.ones(3, 40, 5), atol=1e-6, rtol=0)


@settings(max_examples=30)
@given(
    label_maps(max_side=5),
    st.sampled_from(("skeleton", "random", "erosion")),
    st.sampled_from((0.1, 1.0)),
    st.booleans(),
)
def test_it_is_a_distribution_and_an_absent_class_weighs_nothing(case, seeds, alpha, per_channel):
    labels, num_classes, spacing = case
    image = torch.randn(2, *labels.shape, generator=torch.Generator().manual_seed(1))
    soft = geols(
        labels,
        image,
        num_classes=num_classes + 1,
        spacing=spacing,
        alpha=alpha,
        seeds=seeds,
        generator=torch.Generator().manual_seed(0),
        channels="per-channel" if per_channel else "joint",
    )
    assert torch.isfinite(soft).all()
    assert (soft >= 0).all()
    torch.testing.assert_close(soft.sum(0), torch.ones(labels.shape), atol=1e-6, rtol=0)
    for index in range(num_classes + 1):
        if not (labels == index).any():
            assert soft[index].abs().max() == 0
        if (labels == index).all():
            torch.testing.assert_close(soft[index], torch.ones(labels.shape))


@pytest.mark.parametrize("preset", ["paper", "reference"])
def test_alpha_zero_is_exactly_one_hot(preset):
    labels, image = case_of((5, 6))
    soft = geols(labels, image, num_classes=3, spacing=(1.0, 1.0), alpha=0.0, preset=preset)
    assert torch.equal(soft, one_hot(labels, num_classes=3))
    nearly = geols(labels, image, num_classes=3, spacing=(1.0, 1.0), alpha=1e-7, preset=preset)
    torch.testing.assert_close(nearly, soft, atol=1e-6, rtol=0)


def test_distance_zero_everywhere_counts_as_at_hand():
    distance = torch.stack([torch.zeros(4), torch.tensor([0.0, 1.0, 2.0, 3.0])])
    second = (torch.exp(-distance[1]) - torch.exp(torch.tensor(-3.0))) / (1 - torch.exp(torch.tensor(-3.0)))
    torch.testing.assert_close(paper_map(distance)[1], second / (1 + second))


def test_a_voxel_beyond_what_float32_resolves_has_the_limit_even_if_it_is_the_farthest():
    distance = torch.tensor([[0.0, 30.5], [31.0, 30.0]])
    torch.testing.assert_close(paper_map(distance)[:, 1], torch.softmax(-distance[:, 1], dim=0))
    near = torch.tensor([[0.0, 3.5], [4.0, 3.0]])
    assert paper_map(near)[:, 1].tolist() == [0, 1]


def test_gamma_zero_forgets_the_image():
    labels, image = case_of((5, 6))
    one = geols(labels, image, num_classes=3, spacing=(1.0, 2.0), gamma=0.0)
    two = geols(labels, -7 * image, num_classes=3, spacing=(1.0, 2.0), gamma=0.0)
    torch.testing.assert_close(one, two)


def test_per_channel_is_the_mean_of_the_channels_maps():
    labels, image = case_of((5, 6), channels=2)
    both = geols(labels, image, num_classes=3, spacing=(1.0, 2.0), channels="per-channel")
    each = [geols(labels, image[i], num_classes=3, spacing=(1.0, 2.0)) for i in range(2)]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)
    assert not torch.allclose(both, geols(labels, image, num_classes=3, spacing=(1.0, 2.0)))


@pytest.mark.parametrize(("shape", "spacing"), [((5, 7), (0.5, 1.0)), ((4, 5, 3), (0.7, 0.4, 1.5))])
@pytest.mark.parametrize("unit", [50.0, 1e-5])
def test_the_reference_preset_is_the_released_arithmetic(shape, spacing, unit):
    # Without the 1e-5 of its cost the preset would not depend on the unit of the intensities.
    labels, image = case_of(shape, channels=2)
    image = image * unit + 4 * unit
    seeds = seed_voxels(labels, num_classes=4)
    maps = []
    for channel in image.double().numpy():
        distance = slow_distances(channel[None], seeds, spacing, cost="geodistk", weight=1.0)
        nearness = [np.exp(-each / each.mean()) for each in distance[1:3]]
        foreground = [(each - each.min()) / (each.max() - each.min()) for each in nearness]
        maps.append(np.stack([1 - np.mean(foreground, axis=0), *foreground, np.zeros(shape)]))
    expected = 0.9 * one_hot(labels, num_classes=4) + 0.1 * torch.from_numpy(np.mean(maps, axis=0)).float()
    soft = geols(labels, image, num_classes=4, spacing=spacing, preset="reference")
    torch.testing.assert_close(soft, expected, atol=1e-5, rtol=0)
    assert (soft.sum(0) - 1).abs().max() > 0.01
    tidy = geols(labels, image, num_classes=4, spacing=spacing, preset="reference", normalise=True)
    torch.testing.assert_close(tidy, expected / expected.sum(0), atol=1e-5, rtol=0)


def test_the_reference_preset_without_foreground_is_background_alone():
    soft = geols(
        torch.zeros(3, 4, dtype=torch.int64),
        torch.randn(3, 4),
        num_classes=3,
        spacing=(1.0, 1.0),
        preset="reference",
    )
    assert torch.equal(soft, one_hot(torch.zeros(3, 4, dtype=torch.int64), num_classes=3))


def test_swapping_axes_with_the_spacing_swaps_the_label():
    labels, image = case_of((5, 6, 4), channels=2)
    soft = geols(labels, image, num_classes=3, spacing=(0.5, 1.0, 2.0), seeds="erosion")
    turned = geols(
        labels.permute(2, 0, 1),
        image.permute(0, 3, 1, 2),
        num_classes=3,
        spacing=(2.0, 0.5, 1.0),
        seeds="erosion",
    )
    torch.testing.assert_close(turned, soft.permute(0, 3, 1, 2), atol=1e-6, rtol=0)


def test_memory_order_changes_nothing():
    labels, image = case_of((5, 6, 4))
    soft = geols(labels, image, num_classes=3, spacing=(0.5, 1.0, 2.0))
    other = geols(
        labels.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        image.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1),
        num_classes=3,
        spacing=(0.5, 1.0, 2.0),
    )
    assert torch.equal(soft, other)


def test_what_does_not_fit_is_named():
    labels, image = case_of((5, 6))
    with pytest.raises(ShapeError, match="image has shape"):
        geols(labels, image[..., :5], num_classes=3, spacing=(1.0, 1.0))
    with pytest.raises(ValueRangeError, match="alpha is 2"):
        geols(labels, image, num_classes=3, spacing=(1.0, 1.0), alpha=2.0)
    with pytest.raises(UnknownNameError, match="Did you mean 'reference'"):
        geols(labels, image, num_classes=3, spacing=(1.0, 1.0), preset="referense")
    with pytest.raises(UnknownNameError, match="Did you mean 'zscore'"):
        geols(labels, image, num_classes=3, spacing=(1.0, 1.0), intensity="z-score")
    with pytest.raises(ValueRangeError, match="NaN or infinite"):
        geols(labels, image / 0, num_classes=3, spacing=(1.0, 1.0))


def test_many_classes_get_the_weights_of_their_full_distances_for_any_number_of_threads():
    generator = torch.Generator().manual_seed(2)
    shape, spacing = (9, 30, 40), (4.0, 2.5, 2.0)
    labels = torch.randint(0, 12, (3, 5, 8), generator=generator)
    labels = labels.repeat_interleave(3, 0).repeat_interleave(6, 1).repeat_interleave(5, 2)
    image = torch.randn(shape, generator=generator)
    seeds = torch.rand(12, *shape, generator=generator) < 0.002
    seeds &= labels == torch.arange(12).view(-1, 1, 1, 1)
    seeds[5] = False
    distance = geodesic_distance(image, seeds, spacing=spacing)
    expected = 0.3 * torch.softmax(-distance, dim=0)
    expected += 0.7 * one_hot(labels, num_classes=12)
    one, two = (nearness_labels(image, seeds, labels, spacing=spacing, alpha=0.3, threads=n) for n in (1, 2))
    torch.testing.assert_close(one, expected, atol=1e-6, rtol=0)
    assert torch.equal(one, two)
    turned = nearness_labels(
        image.permute(1, 2, 0), seeds.permute(0, 2, 3, 1), labels.permute(1, 2, 0), spacing=(2.5, 2.0, 4.0),
        alpha=0.3,
    )  # fmt: skip
    torch.testing.assert_close(turned, one.permute(0, 2, 3, 1), atol=1e-6, rtol=0)


def test_an_image_beyond_float32_leaves_the_nearest_class():
    labels, image = case_of((4, 5, 7))
    image = image * 1e20  # Its squares are infinite in float32.
    seeds = seed_voxels(labels, num_classes=3, seeds="random", num_seeds=2)
    soft = nearness_labels(image, seeds, labels, spacing=(1.0, 2.0, 0.5), alpha=0.25)
    distance = torch.from_numpy(slow_distances(image.double().numpy(), seeds, (1.0, 2.0, 0.5)))
    nearest = torch.nn.functional.one_hot(distance.argmin(dim=0), 3).movedim(-1, 0)
    assert (distance.sort(dim=0).values.diff(dim=0)[0] > 1e15).all()
    torch.testing.assert_close(soft, 0.75 * one_hot(labels, num_classes=3) + 0.25 * nearest)


@pytest.mark.parametrize("width", [1007, 1008, 1023, 1024, 1041])
def test_rows_of_up_to_and_beyond_64_blocks_are_weighed_whole(width):
    labels = torch.zeros((3, width), dtype=torch.int64)
    labels[:, width // 3 :], labels[1, -40:] = 1, 2
    image = torch.randn(labels.shape) + 3.0 * labels
    seeds = torch.stack([labels == index for index in range(3)]) & (torch.rand(labels.shape) < 0.02)
    seeds[2, 1, -1] = True
    options = {"spacing": (1.0, 0.5)}
    soft = nearness_labels(image, seeds, labels, alpha=0.1, **options)
    whole = geodesic_distance(image, seeds, **options)[:, None].numpy()
    weigh(whole, labels[None].numpy(), Blocks.every(3, (1, *labels.shape)), 0.1)
    torch.testing.assert_close(soft, torch.from_numpy(whole[:, 0]), rtol=0, atol=2e-8)
    torch.testing.assert_close(soft.sum(dim=0), torch.ones(labels.shape))


def test_rows_far_apart_leave_each_other_alone():
    labels = torch.arange(4)[:, None].expand(4, 30).contiguous()
    seeds = torch.stack([labels == index for index in range(4)])
    seeds[:, :, :20] = False
    soft = nearness_labels(torch.zeros(4, 30), seeds, labels, spacing=(100.0, 0.5), alpha=0.1)
    torch.testing.assert_close(soft, one_hot(labels, num_classes=4))


@pytest.mark.parametrize("reach", [0.0, 2.0, 12.0, 30.0])
def test_the_kernel_weighs_as_the_formula(reach):
    # Short reaches bend the exponential to 0 at the end; longer ones prune classes.
    generator = torch.Generator().manual_seed(int(reach))
    distance = torch.rand(4, 3, 5, 40, generator=generator) * reach
    distance[1] *= 0.5
    distance[2, :, :, 7] = 0
    distance[3] = torch.inf
    owners = torch.randint(0, 4, (3, 5, 40), generator=generator)
    weights = distance.numpy().copy()
    weigh(weights, owners.numpy(), Blocks.every(4, owners.shape), 0.4)
    expected = nearness_weights(distance[None], owners[None], 0.4)[0]
    torch.testing.assert_close(torch.from_numpy(weights), expected, atol=1e-6, rtol=0)
