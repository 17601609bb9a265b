"""What may come in and where results may go: number types, memory, batches; errors before any work."""

import math

import numpy as np
import pytest
import torch

from geodesic_cases import check, pruned_distances, serpentine
from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.geodesic import (
    cpu,
    euclidean_distance,
    geodesic_distance,
    signed_geodesic_distance,
)
from sfumato.geodesic.batch import item_spacing
from sfumato.geodesic.engine import solve as engine
from sfumato.geodesic.reference import geodesic_distance_reference

rng = np.random.default_rng(7)
SHAPE, SPACING = (5, 6, 20), (2.0, 0.5, 1.1)
IMAGE = rng.normal(size=SHAPE).astype(np.float32)
SEEDS = rng.random((2, *SHAPE)) < 0.03
RECIPES = [("l1", 0.5), ("l1", 1.0), ("l2", 1.3), ("geodistk", 1.0), ("geodistk", 0.6)]
INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
REALS = [np.float16, np.float32, np.float64, np.bool_]


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@pytest.mark.parametrize("dtype", [*INTEGERS, *REALS])
def test_every_number_type_is_measured_as_it_stands(dtype, cost, weight):
    image = rng.integers(0, 2 if dtype is np.bool_ else 100, (2, *SHAPE)).astype(dtype)
    options = {"spacing": SPACING, "cost": cost, "weight": weight}
    result = geodesic_distance(image, SEEDS[0], **options)
    check(result, image, SEEDS[0], **options)
    if dtype is not np.uint64:  # Torch computes little with it.
        tensor = geodesic_distance(torch.from_numpy(image), torch.from_numpy(SEEDS[0]), **options)
        assert tensor.dtype == torch.float32
        np.testing.assert_array_equal(tensor.numpy(), result)


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("base", ["lowest", "middle", "highest"])
def test_small_steps_between_integers_at_the_ends_of_their_range_count(dtype, base, cost, weight):
    ends = np.iinfo(dtype)
    first = {"lowest": ends.min, "middle": (ends.min + ends.max) // 2, "highest": ends.max - 9}[base]
    steps = [[0, 5, 2, 9]]
    image = np.array([[first + step for step in steps[0]]], dtype)
    seeds = np.array([[True, False, False, False]])
    options = {"spacing": (1.0, 1.0), "cost": cost, "weight": weight}
    check(geodesic_distance(image, seeds, **options), np.array(steps, float), seeds, **options)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_the_whole_range_of_an_integer_type_does_not_overflow(dtype):
    ends = np.iinfo(dtype)
    image = np.array([[ends.min, ends.max, ends.min]], dtype)
    seeds = np.array([[True, False, False]])
    result = geodesic_distance(image, seeds, spacing=(1.0, 1.0), cost="l1", weight=1.0)
    span = float(ends.max) - float(ends.min)
    np.testing.assert_allclose(result, [[0, span, 2 * span]], rtol=1e-6)


def doubles(kind, shape):
    """Images that float32 cannot hold."""
    noise = rng.normal(size=shape)
    if kind in ("cliffs", "beyond float32"):
        return (noise + 1e6 * (rng.random(shape) < 0.5)) * (1e25 if kind == "beyond float32" else 1)
    if kind == "outlier":
        return np.where(rng.random(shape) < 0.01, 2**31 - 1, rng.integers(0, 200, shape)).astype(np.int32)
    if kind == "long integers":
        return rng.integers(0, 10**12, shape)
    return noise


@pytest.mark.parametrize(("cost", "weight"), [*RECIPES, ("l2", 0.01)])
@pytest.mark.parametrize("kind", ["noise", "cliffs", "outlier", "long integers", "beyond float32"])
@pytest.mark.parametrize("shape", [(19, 33), (6, 7, 20)])
def test_float64_and_large_integers_keep_their_digits(kind, shape, cost, weight, monkeypatch):
    image = doubles(kind, shape)
    seeds = np.zeros(shape, bool)
    seeds[(0,) * len(shape)] = True
    options = {"spacing": (1.0, 0.7, 2.0)[: len(shape)], "cost": cost, "weight": weight}
    result = geodesic_distance(image, seeds, **options)
    expected = geodesic_distance_reference(image.astype(np.float64), seeds, **options)
    # Two float32 hold 48 bits of the image's range.
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=2.0**-48 * np.ptp(image.astype(float)))
    np.testing.assert_array_equal(geodesic_distance(image, seeds, threads=2, **options), result)
    monkeypatch.setattr(engine, "BUDGET", 0)
    np.testing.assert_array_equal(geodesic_distance(image, seeds, **options), result)


def test_float64_channels_keep_their_digits_for_masks_and_many_sets():
    image = doubles("cliffs", (2, *SHAPE))
    mask = rng.random(SHAPE) < 0.8
    options = {"spacing": SPACING, "cost": "l1", "weight": 1.0, "mask": mask}
    result = geodesic_distance(image, SEEDS, **options)
    for one, seeds in zip(result, SEEDS, strict=True):
        check(one, image, seeds, **options)
    pruned = pruned_distances(image, SEEDS, margin=1e9, **options)
    np.testing.assert_array_equal(pruned, result)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_are_at_least_one(threads):
    with pytest.raises(ValueRangeError, match="threads is"):
        geodesic_distance(IMAGE, SEEDS, spacing=SPACING, threads=threads)


def test_many_sets_in_a_long_corridor_keep_their_digits():
    mask = serpentine((41, 41))
    image = np.zeros(mask.shape, np.float32)
    sets = np.zeros((2, *mask.shape), bool)
    sets[0, 0, 0], sets[1, 0, 2] = True, True
    options = {"spacing": (0.7, 0.7), "mask": mask}
    pruned = pruned_distances(image, sets, margin=50.0, **options)
    for one, seeds in zip(pruned, sets, strict=True):
        expected = geodesic_distance_reference(image, seeds, **options)
        assert expected[np.isfinite(expected)].max() > 500
        np.testing.assert_allclose(one, expected, rtol=3e-6)


def test_brain_floats_are_measured_as_they_stand():
    image = torch.from_numpy(IMAGE).to(torch.bfloat16)
    result = geodesic_distance(image, SEEDS[0], spacing=SPACING)
    check(result, image.float().numpy(), SEEDS[0], spacing=SPACING)


def test_memory_that_is_foreign_shared_or_read_only_is_taken_as_it_is():
    options = {"spacing": SPACING, "cost": "l1", "weight": 0.7}
    expected = geodesic_distance(IMAGE, SEEDS, **options)
    foreign, locked = IMAGE.astype(IMAGE.dtype.newbyteorder()), IMAGE.copy()
    locked.flags.writeable = False
    for image in (foreign, locked):
        np.testing.assert_array_equal(geodesic_distance(image, SEEDS, **options), expected)
    leaf = torch.from_numpy(IMAGE.copy()).requires_grad_()
    result = geodesic_distance(leaf, SEEDS, **options)
    assert not result.requires_grad
    np.testing.assert_array_equal(result.numpy(), expected)
    one = np.broadcast_to(IMAGE[:1], IMAGE.shape)
    check(geodesic_distance(one, SEEDS[0], **options), one, SEEDS[0], **options)


def test_one_spacing_is_for_all_items_whatever_holds_it():
    for spacing in (SPACING, list(SPACING), np.array(SPACING), torch.tensor(SPACING, dtype=torch.float64)):
        assert item_spacing(spacing, 2) == [SPACING, SPACING]
    assert item_spacing([SPACING, SPACING[::-1]], 2) == [SPACING, SPACING[::-1]]
    with pytest.raises(ShapeError, match="spacing has 2 items, but image has 3"):
        item_spacing([SPACING, SPACING], 3)


@pytest.mark.parametrize("size", [1.0, 1e25])  # Engine in float32, and in float64.
def test_out_may_be_the_memory_of_an_argument(size):
    image = IMAGE * np.float32(size)
    price = np.abs(IMAGE)
    expected = geodesic_distance(image, SEEDS, spacing=SPACING, seed_cost=price)
    shared = np.stack([image, image])
    geodesic_distance(shared[0], SEEDS, spacing=SPACING, seed_cost=price, out=shared)
    np.testing.assert_array_equal(shared, expected)
    shared = np.stack([price, price])
    geodesic_distance(image, SEEDS, spacing=SPACING, seed_cost=shared[0], out=shared)
    np.testing.assert_array_equal(shared, expected)
    tensor = torch.from_numpy(image.copy())
    result = geodesic_distance(tensor, SEEDS[0], spacing=SPACING, seed_cost=price, out=tensor)
    assert result is tensor
    np.testing.assert_array_equal(tensor.numpy(), expected[0])


def test_out_of_a_batch_is_checked_and_filled():
    images, seeds = np.stack([IMAGE, IMAGE[::-1]])[:, None], np.stack([SEEDS, SEEDS])
    expected = geodesic_distance(images, seeds, spacing=SPACING)
    out = np.empty((*expected.shape, 2), np.float32)[..., 0]
    assert geodesic_distance(images, seeds, spacing=SPACING, out=out) is out
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ShapeError, match="out has shape"):
        geodesic_distance(images, seeds, spacing=SPACING, out=out[:1])


def test_every_item_of_a_batch_has_its_own_seeds_mask_price_and_spacing():
    images = rng.normal(size=(3, 2, *SHAPE)).astype(np.float32)
    given = {
        "seeds": rng.random((3, 2, *SHAPE)) < 0.05,
        "mask": rng.random((3, *SHAPE)) < 0.8,
        "seed_cost": rng.random((3, 2, *SHAPE)).astype(np.float32),
        "spacing": [(1.0, 2.0, 3.0), (3.0, 1.0, 2.0), (0.5, 0.5, 4.0)],
    }
    together = geodesic_distance(images, **given, cost="l1", weight=0.4)
    for index, image in enumerate(images):
        own = {name: values[index] for name, values in given.items()}
        np.testing.assert_array_equal(together[index], geodesic_distance(image, **own, cost="l1", weight=0.4))


@pytest.mark.parametrize("size", [1.0, 1e25])
def test_each_set_pays_its_own_price_and_passes_its_own_mask(size):
    image = IMAGE * np.float32(size)
    price = rng.random((2, *SHAPE)) * 3 * size
    price[1, :, 2] = np.inf
    mask = rng.random(SHAPE) < 0.7
    reach = float(np.median(geodesic_distance(image, SEEDS, spacing=SPACING, seed_cost=price)))
    options = {"spacing": SPACING, "mask": mask, "cutoff": reach}
    result = geodesic_distance(image, SEEDS, seed_cost=price, **options)
    for one, seeds, own in zip(result, SEEDS, price, strict=True):
        seeds = seeds & np.isfinite(own)
        check(one, image, seeds, seed_cost=own, **options)
    assert np.isfinite(result).any(axis=(1, 2, 3)).all()
    assert np.isinf(result[:, mask]).any()


def test_three_channels_are_one_step():
    image = rng.normal(size=(3, 7, 18)).astype(np.float32)
    seeds = rng.random((7, 18)) < 0.04
    options = {"spacing": (1.0, 0.3), "cost": "l2", "weight": 1.3}
    check(geodesic_distance(image, seeds, **options), image, seeds, **options)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"image": np.full(SHAPE, -np.inf)}, ValueRangeError, "image holds 600 NaN or infinite"),
        (
            {"image": np.where(np.arange(600).reshape(SHAPE) == 7, -np.inf, IMAGE)},
            ValueRangeError,
            "image holds 1 NaN",
        ),
        ({"image": np.full(SHAPE, np.nan, np.float16)}, ValueRangeError, "image holds 600"),
        ({"image": torch.full((2, *SHAPE), math.inf)}, ValueRangeError, "image holds 1200"),
        ({"image": np.array([0.0, 4e38] * 300).reshape(SHAPE)}, ValueRangeError, "scale it"),
        ({"image": np.zeros((0, *SHAPE), np.float32)}, ShapeError, "at least one channel"),
        ({"image": np.zeros(20, np.float32), "spacing": (1.0,)}, ShapeError, "2 or 3 spatial axes"),
        ({"image": np.zeros((1, 2, *SHAPE, 1), np.float32)}, ShapeError, "spacing has 3 values"),
        ({"spacing": ()}, ShapeError, "spacing has 0 values"),
        ({"spacing": (1.0, math.nan, 1.0)}, ValueRangeError, "above 0 mm"),
        ({"spacing": (1.0, math.inf, 1.0)}, ValueRangeError, "above 0 mm"),
        ({"weight": math.inf}, ValueRangeError, "finite"),
        ({"cost": "l1", "weight": 1.0001}, ValueRangeError, "lie in"),
        ({"cost": "geodistk", "weight": 2.0}, ValueRangeError, "lie in"),
        ({"cutoff": -1.0}, ValueRangeError, "cutoff is -1"),
        ({"mask": np.ones((1, 6, 20), bool)}, ShapeError, "mask has shape"),
        ({"mask": np.ones((2, *SHAPE), bool)}, ShapeError, "mask has shape"),
        ({"seeds": np.ones((1, 2, *SHAPE), bool)}, ShapeError, "seeds has shape"),
        ({"seed_cost": np.zeros((6, 20))}, ShapeError, "seed_cost has shape"),
        ({"seed_cost": np.full(SHAPE, np.nan)}, ValueRangeError, "seed_cost holds"),
        ({"seed_cost": np.zeros((3, *SHAPE))}, ShapeError, "give one cost per set"),
        ({"out": np.empty(SHAPE, np.float32)}, ShapeError, "out has shape"),
        ({"out": torch.empty((2, *SHAPE), dtype=torch.float64)}, DTypeError, "out has dtype"),
        ({"out": np.broadcast_to(np.float32(0), (2, *SHAPE))}, ValueRangeError, "out is read-only"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(monkeypatch, change, error, message):
    def work(*task):
        pytest.fail("the engine ran")

    monkeypatch.setattr(cpu, "solve_sets", work)
    options = {"image": IMAGE, "seeds": SEEDS, "spacing": SPACING, **change}
    with pytest.raises(error, match=message):
        geodesic_distance(options.pop("image"), options.pop("seeds"), **options)


def test_signed_distances_name_what_does_not_fit():
    for change, error in (
        ({"inside": SEEDS[0].astype(np.uint8)}, DTypeError),
        ({"inside": SEEDS[0, :, :3]}, ShapeError),
        ({"boundary": SEEDS[0, :, :3]}, ShapeError),
        ({"boundary": np.ones(SHAPE)}, DTypeError),
        ({"weight": 1.5}, ValueRangeError),
    ):
        options = {"inside": SEEDS[0], "spacing": SPACING, **change}
        with pytest.raises(error):
            signed_geodesic_distance(IMAGE, **options)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 3, 4), (2, 0, 4)])
def test_nothing_in_gives_nothing_out(shape):
    empty = np.zeros(shape, bool)
    pixels = np.zeros(shape[-2:], np.float32)
    spacing = (1.0, 2.0)
    assert geodesic_distance(pixels, empty, spacing=spacing).shape == shape
    assert signed_geodesic_distance(pixels, empty, spacing=spacing).shape == shape
    assert euclidean_distance(empty, spacing=spacing).shape == shape


def test_a_single_voxel_is_reached_from_itself_alone():
    for shape in ((1, 1), (1, 1, 1)):
        for seeded in (True, False):
            seeds = np.full(shape, seeded)
            found = geodesic_distance(np.zeros(shape), seeds, spacing=(1.0,) * len(shape))
            expected = geodesic_distance_reference(np.zeros(shape), seeds, spacing=(1.0,) * len(shape))
            np.testing.assert_array_equal(found, expected)
