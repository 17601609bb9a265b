"""One fixed point, to the bit: however the work is banded, tiled, shared between threads or finished."""

import numpy as np
import pytest
from hypothesis import given, settings

from geodesic_cases import cases, check, pruned_distances, serpentine
from sfumato.geodesic import geodesic_distance
from sfumato.geodesic.engine import solve as engine

rng = np.random.default_rng(1)
IMAGE = rng.normal(size=(50, 40, 37)).astype(np.float32)
SEEDS = rng.random(IMAGE.shape) < 0.0005
SPACING = (2.0, 0.7, 0.7)
RECIPES = [("l1", 0.4), ("l1", 1.0), ("l2", 1.0), ("geodistk", 1.0), ("geodistk", 0.5)]


def solve(cost, weight, **options):
    return geodesic_distance(IMAGE, SEEDS, spacing=SPACING, cost=cost, weight=weight, **options)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_number_of_threads_does_not_change_a_bit(recipe):
    alone = solve(*recipe, threads=1)
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(solve(*recipe, threads=threads), alone)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(131, 3, 47), (5, 400, 250)])
def test_many_planes_and_large_ones_are_filled_and_sown_to_the_last(shape, threads):
    image = rng.normal(size=shape).astype(np.float32)
    seeds = rng.random(shape) < 0.01
    result = geodesic_distance(image, seeds, spacing=SPACING, cost="l1", weight=0.6, threads=threads)
    # The price of nothing and the turned axes take other ways through the same sums.
    free = np.zeros(shape[::-1])
    turned = geodesic_distance(image.T, seeds.T, spacing=SPACING[::-1], cost="l1", weight=0.6, seed_cost=free)
    assert (result[seeds] == 0).all()
    np.testing.assert_array_equal(result, turned.T)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_a_thread_reaches_the_caller(threads):
    done = []

    def work(index):
        if index == 1:
            raise MemoryError(index)
        done.append(index)

    with pytest.raises(MemoryError):
        engine.run_side_by_side(work, 3, threads)
    assert 0 in done


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("budget", [0, 1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_heap_ends_where_the_sweeps_end(monkeypatch, recipe, budget, threads):
    swept = solve(*recipe)
    monkeypatch.setattr(engine, "BUDGET", budget)
    np.testing.assert_array_equal(solve(*recipe, threads=threads), swept)


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@pytest.mark.parametrize("step", [0.0, 1e-6])
def test_moves_that_cost_least_are_not_ruled_out(monkeypatch, cost, weight, step):
    # One bump on a flat image: nearly every move costs what the quick look expects at least.
    image = np.zeros(IMAGE.shape, np.float32)
    image[20:, 10:, 5:] = step
    image[25, 20, 20] = 1
    seeds = np.zeros(image.shape, bool)
    seeds[[0, 49], [39, 0], [7, 30]] = True
    options = {"spacing": SPACING, "cost": cost, "weight": weight}
    swept = geodesic_distance(image, seeds, **options)
    monkeypatch.setattr(engine, "BUDGET", 0)
    np.testing.assert_array_equal(geodesic_distance(image, seeds, **options), swept)


@pytest.mark.parametrize("rows", [4, 8, 64])
def test_the_size_of_the_tiles_does_not_change_a_bit(monkeypatch, rows):
    before = solve("l1", 1.0)
    monkeypatch.setattr(engine, "TILE_ROWS", rows)
    np.testing.assert_array_equal(solve("l1", 1.0, threads=2), before)


@pytest.mark.parametrize("texture", [0.0, np.inf])
def test_bands_do_not_change_a_bit(monkeypatch, texture):
    whole = solve("l1", 0.7)

    def edges(field):
        return 0.05, texture

    monkeypatch.setattr(engine.PaddedRows, "_edges", edges)
    np.testing.assert_array_equal(solve("l1", 0.7), whole)


@pytest.mark.parametrize("budget", [0, engine.BUDGET])
@pytest.mark.parametrize("first", [0.0, 0.5, 1.0])
def test_a_value_on_the_edge_of_a_band_is_passed_on(monkeypatch, budget, first):
    monkeypatch.setattr(engine, "BUDGET", budget)
    monkeypatch.setattr(engine.PaddedRows, "_edges", lambda field: (0.25, np.inf))  # Bands of 1: twice.
    image, seeds = IMAGE[0], np.zeros(IMAGE[0].shape, bool)
    seeds[[2, 30], [3, 33]] = True
    price = np.where(np.arange(IMAGE.shape[1])[:, None] < 20, first, 0.5) * np.ones(seeds.shape)
    options = {"spacing": (2.0, 0.7), "cost": "l1", "weight": 0.5, "seed_cost": price * seeds}
    check(geodesic_distance(image, seeds, **options), image, seeds, **options)


@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_blocks_that_share_a_bit_end_where_the_heap_ends(monkeypatch, rows, weight):
    # On random walks the cheapest paths turn back along the row.
    walks = np.cumsum(np.random.default_rng(3).normal(size=(6, rows, 2100)), axis=2).astype(np.float32)
    seeds = np.zeros((rows, 2100), bool)
    seeds[0, 1003] = True
    options = {"spacing": (1.0, 1.0), "cost": "l1", "weight": weight}
    swept = [geodesic_distance(walk, seeds, **options) for walk in walks]
    monkeypatch.setattr(engine, "BUDGET", 0)
    np.testing.assert_array_equal(swept, [geodesic_distance(walk, seeds, **options) for walk in walks])


@pytest.mark.parametrize("flips", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("start", [0, 17, 18, 22, 23])  # With 69 planes, tiles begin at 18 and 23.
def test_a_path_may_leave_a_tile_through_its_corner(flips, threads, start):
    steps = np.arange(2 * engine.TILE_ROWS + 5)
    mask = np.zeros((len(steps), len(steps), 47), bool)
    mask[steps, steps, 20] = True
    step = tuple(slice(None, None, flip) for flip in flips)
    mask = mask[step]
    seeds = np.zeros(mask.shape, bool)
    seeds[step][start, start, 20] = True
    blank = np.zeros(mask.shape, np.float32)
    result = geodesic_distance(blank, seeds, spacing=(3.0, 4.0, 1.0), mask=mask, threads=threads)
    np.testing.assert_array_equal(result[step][steps, steps, 20], 5 * abs(steps - start))


@settings(max_examples=25)
@given(case=cases())
def test_the_heap_alone_equals_the_oracle(case):
    image, seeds, spacing, mask, price = case
    options = {"spacing": spacing, "cost": "l1", "weight": 0.6, "mask": mask, "seed_cost": price}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "BUDGET", 0)
        result = geodesic_distance(image, seeds, **options)
    check(result, image, seeds, **options)


def test_a_maze_hands_over_to_the_heap_and_an_open_image_does_not(monkeypatch):
    # Corridors across the rows are the sweeps' worst case.
    mask = serpentine((128, 127)).T.copy()
    calls = []
    finish = engine.queue.finish
    monkeypatch.setattr(engine.queue, "finish", lambda *task: (calls.append(1), finish(*task)))
    monkeypatch.setattr(engine, "BUDGET", 1)
    seeds = np.zeros(mask.shape, bool)
    seeds[0, 0] = True
    blank = np.zeros(mask.shape, np.float32)
    result = geodesic_distance(blank, seeds, spacing=(1.0, 1.0), mask=mask)
    assert calls
    assert result[np.isfinite(result)].max() > 64 * 125
    calls.clear()
    geodesic_distance(blank, seeds, spacing=(1.0, 1.0))
    assert not calls


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("margin", [0.5, 16.0])
def test_pruned_distances_are_the_full_ones_within_the_margin(recipe, margin):
    cost, weight = recipe
    sets = rng.random((4, *IMAGE.shape)) < 0.0002
    sets[2] = False
    full = geodesic_distance(IMAGE, sets, spacing=SPACING, cost=cost, weight=weight)
    near = full.min(axis=0) + np.float32(margin)
    for threads in (1, 2):
        pruned = pruned_distances(
            IMAGE, sets, spacing=SPACING, cost=cost, weight=weight, margin=margin, threads=threads
        )
        np.testing.assert_array_equal(pruned, np.where(full <= near, full, np.inf))


def test_a_set_with_most_seeds_is_solved_first_and_nothing_else_changes():
    sets = rng.random((4, *IMAGE.shape)) < 0.0002
    sets[1, :, 5:] = True
    sets[1, 20:30, 10:25, 8:30] = False
    full = geodesic_distance(IMAGE, sets, spacing=SPACING)
    expected = np.where(full <= full.min(axis=0) + np.float32(3), full, np.inf)
    for threads in (1, 2):
        pruned = pruned_distances(IMAGE, sets, spacing=SPACING, margin=3.0, threads=threads)
        np.testing.assert_array_equal(pruned, expected)


@pytest.mark.parametrize("width", [47, 48, 49])
@pytest.mark.parametrize("gap", [(0, 16), (15, 33), (16, 32), (20, 23), (32, 49)])
@pytest.mark.parametrize(("planes", "rows"), [((0, 5), (0, 6)), ((1, 4), (1, 4)), ((0, 5), (3, 6))])
def test_a_gap_in_solid_seeds_is_filled_from_every_side(width, gap, planes, rows):
    image = rng.normal(size=(5, 6, width)).astype(np.float32)
    seeds = np.ones(image.shape, bool)
    seeds[slice(*planes), slice(*rows), slice(*gap)] = False
    expected = geodesic_distance(image.T, seeds.T, spacing=SPACING[::-1], seed_cost=np.zeros(image.T.shape)).T
    np.testing.assert_array_equal(geodesic_distance(image, seeds, spacing=SPACING), expected)


@settings(max_examples=25)
@given(case=cases())
def test_pruned_distances_keep_every_small_case(case):
    image, seeds, spacing, mask, _ = case
    sets = np.stack([seeds, np.roll(seeds, 1, axis=0), np.zeros_like(seeds)])
    full = geodesic_distance(image, sets, spacing=spacing, mask=mask)
    pruned = pruned_distances(image, sets, spacing=spacing, mask=mask, margin=2.0)
    kept = full <= full.min(axis=0) + np.float32(2)
    np.testing.assert_array_equal(pruned, np.where(kept, full, np.inf))


def test_a_distance_at_the_margin_itself_is_kept():
    sets = np.zeros((2, 1, 7), bool)
    sets[0, 0, 0] = sets[1, 0, 6] = True
    pruned = pruned_distances(np.zeros((1, 7), np.float32), sets, spacing=(1.0, 1.0), margin=2.0)
    np.testing.assert_array_equal(pruned[0, 0], [0, 1, 2, 3, 4, np.inf, np.inf])
    np.testing.assert_array_equal(pruned[1, 0], [np.inf, np.inf, 4, 3, 2, 1, 0])
