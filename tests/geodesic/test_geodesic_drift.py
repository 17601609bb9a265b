"""Paths of so many moves that float32 would add up their roundings, and the many that are not so long."""

import numpy as np
import pytest

from geodesic_cases import check, pruned_distances
from sfumato.geodesic import geodesic_distance
from sfumato.geodesic.task import Task

RECIPES = [("l1", 0.5), ("l1", 1.0), ("l2", 0.0), ("l2", 1.3), ("geodistk", 1.0), ("geodistk", 0.6)]
rng = np.random.default_rng(3)


def slope(shape, rise):
    """An image that rises along its last axis."""
    return np.broadcast_to(np.arange(shape[-1]) * np.float32(rise), shape).astype(np.float32)


def ends(shape):
    """One seed at the beginning of the last axis."""
    seeds = np.zeros(shape, bool)
    seeds[(0,) * len(shape)] = True
    return seeds


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@pytest.mark.parametrize("shape", [(3, 3001), (2, 2, 1500), (1, 6000)])
def test_long_rows_of_equal_moves_keep_their_digits(cost, weight, shape):
    image, seeds = slope(shape, 0.3), ends(shape)
    options = {"spacing": (3.0, 1.3, 0.7)[-len(shape) :], "cost": cost, "weight": weight}
    result = geodesic_distance(image, seeds, **options)
    check(result, image, seeds, **options)
    np.testing.assert_array_equal(geodesic_distance(image, seeds, threads=2, **options), result)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_moves_too_small_for_float32_after_a_cliff_are_not_lost(weight):
    # 5e5 and 3000 moves of 0.01: the last bit of float32 is 0.03 there. Most of the image is much rougher.
    image = np.zeros((4, 3000))
    image[0] = np.arange(3000) * 0.02
    image[:, 5:] += 1e6
    image[1:, 8::2] -= 1e6
    options = {"spacing": (1.0, 1e-4), "cost": "l1", "weight": weight}
    check(geodesic_distance(image, ends(image.shape), **options), image, ends(image.shape), **options)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_long_way_is_found_behind_a_flat_area(turn):
    # At weight 1 all of the flat end is as far as its rim, so no move there leads back.
    image = np.zeros((4, 6000), np.float32)
    image[:, 1:1300:2] = 0.7
    image, seeds = image[:, ::turn], ends(image.shape)[:, ::turn]
    options = {"spacing": (1.0, 1.0), "cost": "l1", "weight": 1.0}
    check(geodesic_distance(image, seeds, **options), image, seeds, **options)


@pytest.mark.parametrize("more", ["nothing", "a cutoff", "a mask"])
def test_long_rows_keep_their_digits_with_prices_and(more):
    shape = (3, 6000)
    image = np.zeros(shape, np.float32)
    price = np.full(shape, np.inf)
    price[0, 0], price[2, 5800] = 3.3, 2000.7
    mask = np.ones(shape, bool)
    mask[:, 2800] = False
    chosen = {"nothing": {}, "a cutoff": {"cutoff": 1300.0}, "a mask": {"mask": mask}}[more]
    options = {"spacing": (1.0, 0.7), "cost": "l2", "weight": 1.0, "seed_cost": price, **chosen}
    check(geodesic_distance(image, None, **options), image, np.isfinite(price), **options)


def test_many_sets_keep_their_digits_on_long_rows():
    image = np.zeros((3, 4000), np.float32)
    sets = np.zeros((3, *image.shape), bool)
    sets[0, 0, 0], sets[1, 2, 40] = True, True
    options = {"spacing": (1.3, 0.7)}
    pruned = pruned_distances(image, sets, margin=60.0, **options)
    assert np.isinf(pruned[2]).all()
    for one, seeds in zip(pruned[:2], sets, strict=False):
        check(one, image, seeds, **options)


def test_only_the_set_that_is_far_is_solved_in_float64(monkeypatch):
    image, sets = np.zeros((3, 2000), np.float32), np.zeros((2, 3, 2000), bool)
    sets[0, :, ::50], sets[1, 0, 0] = True, True
    options = {"spacing": (1.0, 0.7), "cost": "l2", "weight": 0.0}
    expected = geodesic_distance(image, sets, **options)
    made = []
    wide = Task.wide_rows
    monkeypatch.setattr(Task, "wide_rows", lambda task: made.append(task) or wide(task))
    geodesic_distance(image, sets[0], **options)
    assert not made
    np.testing.assert_array_equal(geodesic_distance(image, sets, **options), expected)
    assert len(made) == 1


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
def test_ordinary_volumes_stay_in_float32(cost, weight, monkeypatch):
    monkeypatch.delattr(Task, "wide_rows")
    noise = rng.normal(size=(30, 40, 90)).astype(np.float32)
    right = np.arange(90) >= 30
    images = {
        "noise": noise,
        "steep": noise * 1e6,
        "mostly flat": np.where(np.abs(noise) < 2, 0, noise),
        "a flat side": np.where(right, 0, noise),
        "flat": np.zeros_like(noise),
    }
    for image in images.values():
        for turn in (1, -1):
            geodesic_distance(
                image[:, :, ::turn], ends(image.shape)[::turn, ::turn, ::turn],
                spacing=(3.0, 0.8, 0.8), cost=cost, weight=weight,
            )  # fmt: skip


@pytest.mark.parametrize("turn", [1, -1])
def test_a_few_lost_moves_make_no_long_path(turn, monkeypatch):
    monkeypatch.delattr(Task, "wide_rows")
    image = np.where(np.arange(60) >= 20, np.float32(1e9), np.float32(0))[None, ::turn]
    seeds = ends(image.shape)[:, ::turn]
    options = {"spacing": (1.0, 0.8), "cost": "l1", "weight": 0.5}
    check(geodesic_distance(image, seeds, **options), image, seeds, **options)
