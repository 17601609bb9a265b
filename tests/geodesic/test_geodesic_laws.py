"""What every distance obeys, on drawn images, masks and spacings; and signed distances on the same."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geodesic_cases import cases, check, serpentine
from sfumato.geodesic import euclidean_distance, geodesic_distance, signed_geodesic_distance
from sfumato.geodesic.engine import solve as engine
from sfumato.geodesic.reference import geodesic_distance_reference

RECIPES = [("l1", 0.5), ("l1", 1.0), ("l2", 1.3), ("geodistk", 1.0), ("geodistk", 0.6)]
rng = np.random.default_rng(5)


def dot(shape, place):
    seeds = np.zeros(shape, bool)
    seeds[place] = True
    return seeds


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@settings(max_examples=20)
@given(case=cases(), draw=st.randoms(use_true_random=False))
def test_the_distance_between_two_voxels_is_a_metric(cost, weight, case, draw):
    image, seeds, spacing, mask, _ = case
    shape = seeds.shape
    a, b = (tuple(draw.randrange(side) for side in shape) for _ in range(2))
    options = {"spacing": spacing, "cost": cost, "weight": weight, "mask": mask}
    from_a, from_b = (geodesic_distance(image, dot(shape, place), **options) for place in (a, b))
    assert from_a[a] == (0 if mask is None or mask[a] else np.inf)
    np.testing.assert_allclose(from_a[b], from_b[a], rtol=1e-5)
    assert (from_a <= (from_a[b] + from_b) * (1 + 1e-5)).all()


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@settings(max_examples=20)
@given(case=cases())
def test_more_seeds_are_nowhere_farther_and_the_union_is_the_nearest(cost, weight, case):
    image, seeds, spacing, mask, _ = case
    sets = np.stack([seeds, np.roll(seeds, 1, axis=-1), seeds | np.roll(seeds, 1, axis=-1)])
    distance = geodesic_distance(image, sets, spacing=spacing, cost=cost, weight=weight, mask=mask)
    np.testing.assert_array_equal(distance[2], np.minimum(distance[0], distance[1]))
    open_ = np.ones_like(seeds) if mask is None else mask
    assert (distance[sets & open_] == 0).all()
    assert np.isinf(distance[:, ~open_]).all()


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@settings(max_examples=20)
@given(case=cases(), order=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3))
def test_turning_and_mirroring_the_image_turns_the_distance(cost, weight, case, order, flips):
    image, seeds, spacing, mask, _ = case
    axes = tuple(axis for axis in order if axis < seeds.ndim)
    step = tuple(slice(None, None, -1 if flip else 1) for flip in flips[: seeds.ndim])

    def turned(array):
        return None if array is None else array.transpose(axes)[step]

    options = {"cost": cost, "weight": weight}
    plain = geodesic_distance(image, seeds, spacing=spacing, mask=mask, **options)
    pixels = np.stack([turned(channel) for channel in image])
    result = geodesic_distance(
        pixels, turned(seeds), spacing=[spacing[axis] for axis in axes], mask=turned(mask), **options
    )
    np.testing.assert_allclose(result, turned(plain), rtol=1e-6)


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@settings(max_examples=15)
@given(case=cases(), unit=st.sampled_from((1 / 1024, 0.125, 4.0, 1024.0)))
def test_another_unit_of_length_only_scales_the_distance(cost, weight, case, unit):
    image, seeds, spacing, mask, _ = case
    # The product and the ratio are proportional to the length; sum and norm if the image scales along.
    pixels = image if cost == "geodistk" else image * np.float32(unit)
    options = {"cost": cost, "weight": weight, "mask": mask}
    plain = geodesic_distance(image, seeds, spacing=spacing, **options)
    result = geodesic_distance(pixels, seeds, spacing=[step * unit for step in spacing], **options)
    np.testing.assert_allclose(result, plain * unit, rtol=1e-5)


@pytest.mark.parametrize(("cost", "weight"), [*RECIPES, ("l2", 1e-25)])
@settings(max_examples=15)
@given(case=cases(), share=st.sampled_from((0.0, 0.3, 0.8, 1.0)))
def test_every_cost_is_cut_off_where_it_says(cost, weight, case, share):
    image, seeds, spacing, mask, price = case
    sets = np.stack([seeds, np.roll(seeds, 1, axis=0)])
    options = {"spacing": spacing, "cost": cost, "weight": weight, "mask": mask, "seed_cost": price}
    whole = geodesic_distance(image, sets, **options)
    finite = np.sort(whole[np.isfinite(whole)])
    cutoff = float(finite[int(share * (finite.size - 1))]) if finite.size else 1.0
    cut = geodesic_distance(image, sets, **options, cutoff=cutoff)
    np.testing.assert_array_equal(cut, np.where(whole <= cutoff, whole, np.inf))


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@pytest.mark.parametrize("shape", [(23, 24), (7, 6, 9)])
@pytest.mark.parametrize("budget", [0, engine.BUDGET])
def test_a_maze_is_exact_for_every_cost_swept_or_by_the_heap(monkeypatch, cost, weight, shape, budget):
    monkeypatch.setattr(engine, "BUDGET", budget)
    image = rng.normal(size=(2, *shape)).astype(np.float32)
    image[1] += (rng.random(shape) < 0.3) * np.float32(1e6)
    for turn in (lambda array: array, lambda array: array.T):
        mask = turn(serpentine(shape))
        pixels = np.stack([turn(channel) for channel in image])
        seeds = dot(mask.shape, (0,) * mask.ndim)
        spacing = (0.07, 7.0, 0.9)[: mask.ndim]
        options = {"spacing": spacing, "cost": cost, "weight": weight, "mask": mask}
        check(geodesic_distance(pixels, seeds, **options), pixels, seeds, **options)


@pytest.mark.parametrize(("cost", "weight"), [recipe for recipe in RECIPES if recipe != ("l1", 1.0)])
@pytest.mark.parametrize("shape", [(63, 64), (9, 15, 40)])
def test_a_long_corridor_of_equal_moves_keeps_its_digits(cost, weight, shape):
    mask = serpentine(shape)
    image, seeds = np.full(shape, 2.5, np.float32), dot(shape, (0,) * len(shape))
    spacing = (3.1, 1.1, 0.78)[-len(shape) :]
    options = {"spacing": spacing, "cost": cost, "weight": weight, "mask": mask}
    whole = geodesic_distance(image, seeds, **options)
    check(whole, image, seeds, **options)
    cutoff = float(whole[np.isfinite(whole)].max()) * 0.8
    cut = geodesic_distance(image, np.stack([seeds, ~seeds]), **options, cutoff=cutoff)
    check(cut[0], image, seeds, **options, cutoff=cutoff)
    check(cut[1], image, ~seeds, **options, cutoff=cutoff)


@settings(max_examples=30)
@given(case=cases(), share=st.sampled_from((0.2, 1.0)))
def test_a_signed_distance_is_the_distance_from_the_boundary_that_is_given(case, share):
    image, inside, spacing, _, _ = case
    edges = np.stack([np.roll(inside, 1, axis=0), np.zeros_like(inside)])
    regions = np.stack([inside, ~inside])
    expected = geodesic_distance_reference(image, edges[0], spacing=spacing, cost="l2", weight=2.0)
    finite = expected[np.isfinite(expected)]
    cutoff = float(finite.max()) * share + 1e-6 if finite.size else 1.0
    signed = signed_geodesic_distance(
        image, regions, spacing=spacing, boundary=edges, cost="l2", weight=2.0, cutoff=cutoff
    )
    near = np.abs(expected - cutoff) < 1e-5 * cutoff  # Rounding may decide there.
    expected = np.where(expected > cutoff, np.inf, expected)
    np.testing.assert_allclose(np.abs(signed[0])[~near], expected[~near], rtol=1e-5)
    assert (np.signbit(signed[0]) == ~inside).all()
    np.testing.assert_array_equal(signed[1], np.where(regions[1], np.inf, -np.inf))


@settings(max_examples=40)
@given(case=cases())
def test_the_straight_distance_is_scipys_whatever_the_grid(case):
    _, marked, spacing, _, _ = case
    assume(marked.any())
    expected = scipy.ndimage.distance_transform_edt(~marked, sampling=spacing)
    np.testing.assert_allclose(euclidean_distance(marked, spacing=spacing), expected, rtol=1e-6)
