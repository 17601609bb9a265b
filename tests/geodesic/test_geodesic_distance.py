"""The public distances against the slow oracle, hand values and SciPy."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geodesic_cases import cases, check, serpentine
from sfumato.errors import DTypeError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.geodesic import (
    euclidean_distance,
    geodesic_distance,
    inner_boundary,
    signed_geodesic_distance,
)
from sfumato.geodesic.reference import geodesic_distance_reference

WEIGHTS = {"l1": (0.0, 0.3, 0.5, 1.0), "l2": (0.0, 0.7, 1.0, 40.0), "geodistk": (0.0, 0.6, 1.0)}
RECIPES = [(cost, weight) for cost, weights in WEIGHTS.items() for weight in weights]
rng = np.random.default_rng(0)
PLAIN = rng.normal(size=(4, 9, 20)).astype(np.float32)
DOTS = rng.random((4, 9, 20)) < 0.02
SPACING = (3.0, 0.7, 1.1)


@pytest.mark.parametrize(("cost", "weight"), RECIPES)
@settings(max_examples=25)
@given(case=cases())
def test_distance_equals_the_float64_oracle(cost, weight, case):
    image, seeds, spacing, mask, price = case
    options = {"spacing": spacing, "cost": cost, "weight": weight, "mask": mask, "seed_cost": price}
    check(geodesic_distance(image, seeds, **options), image, seeds, **options)


@settings(max_examples=30)
@given(case=cases(), share=st.sampled_from((0.0, 0.2, 0.6, 1.0)))
def test_cutoff_keeps_what_is_below_it_and_nothing_else(case, share):
    image, seeds, spacing, mask, _ = case
    whole = geodesic_distance(image, seeds, spacing=spacing, cost="l1", weight=0.5, mask=mask)
    finite = whole[np.isfinite(whole)]
    cutoff = float(finite.max()) * share if finite.size else 1.0
    cut = geodesic_distance(image, seeds, spacing=spacing, cost="l1", weight=0.5, mask=mask, cutoff=cutoff)
    np.testing.assert_array_equal(cut, np.where(whole <= cutoff, whole, np.inf))


@pytest.mark.parametrize("shape", [(31, 40), (9, 8, 21)])
@pytest.mark.parametrize(("cost", "weight"), [("l1", 0.5), ("l2", 1.0)])
def test_a_winding_corridor_is_followed_to_its_end(shape, cost, weight):
    image = rng.normal(size=shape).astype(np.float32)
    mask = serpentine(shape)
    seeds = np.zeros(shape, bool)
    seeds[(0,) * len(shape)] = True
    options = {"spacing": (1.0,) * len(shape), "cost": cost, "weight": weight, "mask": mask}
    result = geodesic_distance(image, seeds, **options)
    check(result, image, seeds, **options)
    assert result[np.isfinite(result)].max() > 2 * max(shape)


@pytest.mark.parametrize("rows", [1, 3])
def test_rows_longer_than_a_word_of_bits_are_exact(rows):
    image = rng.normal(size=(rows, 2100)).astype(np.float32)
    seeds = np.zeros(image.shape, bool)
    seeds[rows // 2, [5, 1700]] = True
    for weight in (0.3, 1.0):
        options = {"spacing": (1.0, 1.0), "cost": "l1", "weight": weight}
        check(geodesic_distance(image, seeds, **options), image, seeds, **options)


def test_one_step_of_each_cost_is_worked_out_by_hand():
    image = np.array([[[0.0, 3.0]], [[0.0, 4.0]]], np.float32)
    seeds = np.array([[True, False]])
    options = {"spacing": (1.0, 2.0)}
    l1 = geodesic_distance(image, seeds, cost="l1", weight=0.25, **options)
    assert l1[0, 1] == pytest.approx(0.75 * 2 + 0.25 * 7)
    l2 = geodesic_distance(image, seeds, cost="l2", weight=2.0, **options)
    assert l2[0, 1] == pytest.approx(math.sqrt(4 + 100))
    product = geodesic_distance(image, seeds, cost="geodistk", weight=1.0, **options)
    assert product[0, 1] == pytest.approx(2 * 5.00001)
    ratio = geodesic_distance(image, seeds, cost="geodistk", weight=0.5, **options)
    assert ratio[0, 1] == pytest.approx(2 / (0.5 + 0.5 / 5.00001))


def test_seed_sets_are_solved_one_by_one_for_torch_and_numpy():
    sets = rng.random((3, *DOTS.shape)) < 0.02
    sets[1] = False
    together = geodesic_distance(PLAIN, sets, spacing=SPACING)
    assert together.shape == sets.shape
    assert np.isinf(together[1]).all()
    for one, alone in zip(together, sets, strict=True):
        np.testing.assert_array_equal(one, geodesic_distance(PLAIN, alone, spacing=SPACING))
    tensors = geodesic_distance(torch.from_numpy(PLAIN), torch.from_numpy(sets), spacing=SPACING)
    assert isinstance(tensors, torch.Tensor)
    assert tensors.dtype == torch.float32
    np.testing.assert_array_equal(tensors.numpy(), together)


def test_the_result_goes_into_out_whatever_its_kind():
    expected = geodesic_distance(PLAIN, DOTS, spacing=SPACING)
    for out in (np.empty(DOTS.shape, np.float32), np.empty(DOTS.shape[::-1], np.float32).T):
        assert geodesic_distance(PLAIN, DOTS, spacing=SPACING, out=out) is out
        np.testing.assert_array_equal(out, expected)
    tensor = torch.empty(DOTS.shape)
    pixels = torch.from_numpy(PLAIN)
    assert geodesic_distance(pixels, DOTS, spacing=SPACING, out=tensor) is tensor
    np.testing.assert_array_equal(tensor.numpy(), expected)


def test_soft_seeds_without_a_set_start_wherever_their_cost_is_finite():
    price = np.where(DOTS, rng.random(DOTS.shape) * 2, np.inf)
    result = geodesic_distance(PLAIN, None, spacing=SPACING, seed_cost=price, cost="l1", weight=0.4)
    check(result, PLAIN, DOTS, spacing=SPACING, cost="l1", weight=0.4, seed_cost=np.where(DOTS, price, 0))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float64, np.float16])
def test_every_number_type_gives_the_same_distance(dtype):
    image = rng.integers(0, 200, (5, 6, 7))
    seeds = np.zeros(image.shape, bool)
    seeds[2, 3, 4] = True
    expected = geodesic_distance(image.astype(np.float32), seeds, spacing=SPACING)
    result = geodesic_distance(image.astype(dtype), seeds, spacing=SPACING)
    np.testing.assert_array_equal(result, expected)


def test_differences_do_not_overflow_their_integer_type():
    image = np.array([[0, 255, 0, 250]], np.uint8)
    seeds = np.array([[True, False, False, False]])
    result = geodesic_distance(image, seeds, spacing=(1.0, 1.0), cost="l1", weight=1.0)
    np.testing.assert_array_equal(result, [[0, 255, 510, 760]])
    wide = np.array([[np.iinfo(np.int64).min, np.iinfo(np.int64).max]])
    result = geodesic_distance(wide, seeds[:, :2], spacing=(1.0, 1.0), cost="l1", weight=1.0)
    assert result[0, 1] == pytest.approx(2.0**64)


def test_a_large_offset_does_not_cost_digits():
    image = rng.normal(size=(4, 5, 6))
    seeds = np.zeros(image.shape, bool)
    seeds[0, 0, 0] = True
    plain = geodesic_distance(image, seeds, spacing=SPACING, cost="l1", weight=1.0)
    moved = geodesic_distance(image + 1e7, seeds, spacing=SPACING, cost="l1", weight=1.0)
    np.testing.assert_allclose(moved, plain, rtol=1e-4)


@pytest.mark.parametrize(
    ("cost", "weight"), [("l1", 0.5), ("l1", 1e-30), ("l2", 1.0), ("l2", 1e-25), ("geodistk", 1.0)]
)
@pytest.mark.parametrize(
    ("size", "spacing"), [(1e30, (1.0, 1.0)), (1e-30, (1.0, 2.0)), (1.0, (1e-20, 3e-20))]
)
def test_the_ends_of_float32_are_exact(cost, weight, size, spacing):
    image = (rng.normal(size=(4, 6)) * size).astype(np.float32)
    seeds = np.zeros(image.shape, bool)
    seeds[1, 2] = True
    options = {"spacing": spacing, "cost": cost, "weight": weight}
    check(geodesic_distance(image, seeds, **options), image, seeds, **options)


def test_no_seed_or_no_open_seed_is_infinite_everywhere():
    assert np.isinf(geodesic_distance(PLAIN, np.zeros_like(DOTS), spacing=SPACING)).all()
    assert np.isinf(geodesic_distance(PLAIN, DOTS, spacing=SPACING, mask=~DOTS)).all()


def test_an_empty_image_gives_an_empty_distance():
    result = geodesic_distance(np.zeros((0, 4), np.float32), np.zeros((0, 4), bool), spacing=(1.0, 1.0))
    assert result.shape == (0, 4)


class TestLaws:
    """What any distance obeys, on one case per cost."""

    @pytest.fixture(params=[("l1", 0.5), ("l1", 1.0), ("l2", 1.0), ("geodistk", 0.7)])
    def distance(self, request):
        cost, weight = request.param

        def compute(image, seeds, spacing=SPACING, **options):
            return geodesic_distance(image, seeds, spacing=spacing, cost=cost, weight=weight, **options)

        return compute

    @staticmethod
    def at(*index):
        seeds = np.zeros(PLAIN.shape, bool)
        seeds[index] = True
        return seeds

    def test_there_and_back_is_equally_far(self, distance):
        a, b = (0, 1, 2), (3, 8, 17)
        assert distance(PLAIN, self.at(*a))[b] == pytest.approx(distance(PLAIN, self.at(*b))[a], rel=1e-6)

    def test_a_detour_is_never_shorter(self, distance):
        from_a, from_b = distance(PLAIN, self.at(0, 0, 0)), distance(PLAIN, self.at(3, 4, 11))
        assert (from_a <= from_a[3, 4, 11] + from_b + 1e-5).all()

    def test_more_seeds_are_never_farther(self, distance):
        few = distance(PLAIN, DOTS)
        more = distance(PLAIN, DOTS | self.at(1, 1, 1))
        assert (more <= few).all()
        assert (more[DOTS] == 0).all()

    def test_the_order_of_the_axes_does_not_matter_to_the_bit(self, distance):
        plain = distance(PLAIN, DOTS)
        for order in ((2, 0, 1), (1, 2, 0), (0, 2, 1)):
            turned = distance(
                PLAIN.transpose(order), DOTS.transpose(order), spacing=[SPACING[axis] for axis in order]
            )
            np.testing.assert_array_equal(turned, plain.transpose(order))

    def test_the_union_is_the_nearest_of_its_parts(self, distance):
        other = np.roll(DOTS, 3, axis=2)
        both = distance(PLAIN, DOTS | other)
        np.testing.assert_array_equal(both, np.minimum(distance(PLAIN, DOTS), distance(PLAIN, other)))


def test_lengths_in_another_unit_scale_the_distance():
    flat = np.zeros_like(PLAIN)
    millimetres = geodesic_distance(flat, DOTS, spacing=SPACING)
    metres = geodesic_distance(flat, DOTS, spacing=[step / 1000 for step in SPACING])
    np.testing.assert_allclose(metres * 1000, millimetres, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"spacing": (1.0, 0.0, 1.0)}, ValueRangeError, "above 0 mm"),
        ({"spacing": (1.0, -1.0, 1.0)}, ValueRangeError, "above 0 mm"),
        ({"spacing": (1.0,)}, ShapeError, "spacing has 1 values"),
        ({"cost": "l3"}, UnknownNameError, "unknown cost 'l3'"),
        ({"cost": "l1", "weight": 1.5}, ValueRangeError, r"1.5: it must lie in \[0.0, 1.0\]"),
        ({"cost": "geodistk", "weight": -0.1}, ValueRangeError, "must lie in"),
        ({"cost": "l1", "weight": math.nan}, ValueRangeError, "must lie in"),
        ({"weight": -1.0}, ValueRangeError, "at least 0"),
        ({"cutoff": math.nan}, ValueRangeError, "cutoff"),
        ({"seeds": np.zeros((4, 9, 21), bool)}, ShapeError, "seeds has shape"),
        ({"seeds": np.zeros((4, 9, 20))}, DTypeError, "seeds has dtype"),
        ({"seeds": None}, ValueRangeError, "seeds is None"),
        ({"mask": np.ones((4, 9), bool)}, ShapeError, "mask has shape"),
        ({"mask": np.ones((4, 9, 20), np.uint8)}, DTypeError, "mask has dtype"),
        ({"seed_cost": np.full((4, 9, 20), -1.0)}, ValueRangeError, "seed_cost holds"),
        (
            {"seed_cost": np.zeros((2, 4, 9, 20)), "seeds": np.zeros((3, 4, 9, 20), bool)},
            ShapeError,
            "seed_cost",
        ),
        ({"image": np.full((4, 9, 20), np.nan)}, ValueRangeError, "image holds 720 NaN or infinite"),
        ({"image": np.where(DOTS, np.inf, 0)}, ValueRangeError, "image holds"),
        ({"image": np.zeros((4, 9, 20), complex)}, DTypeError, "must be real"),
        (
            {"image": np.array([[[-3e38, 3e38]]]), "seeds": np.ones((1, 1, 2), bool)},
            ValueRangeError,
            "scale it",
        ),
        ({"out": np.zeros((4, 9, 21), np.float32)}, ShapeError, "out has shape"),
        ({"out": np.zeros((4, 9, 20))}, DTypeError, "out has dtype"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    options = {"image": PLAIN, "seeds": DOTS, "spacing": SPACING, **change}
    with pytest.raises(error, match=message):
        geodesic_distance(options.pop("image"), options.pop("seeds"), **options)


def test_signed_distance_is_positive_inside_and_zero_on_the_boundary():
    inside = np.zeros(PLAIN.shape, bool)
    inside[:, 2:7, 4:15] = True
    signed = signed_geodesic_distance(PLAIN, inside, spacing=SPACING)
    edge = inner_boundary(torch.from_numpy(inside), 3).numpy()
    plain = geodesic_distance_reference(PLAIN, edge, spacing=SPACING, cost="l1", weight=0.5)
    np.testing.assert_allclose(signed, np.where(inside, plain, -plain), rtol=1e-5)
    tensor = signed_geodesic_distance(torch.from_numpy(PLAIN), torch.from_numpy(inside), spacing=SPACING)
    np.testing.assert_array_equal(tensor.numpy(), signed)
    outside = signed_geodesic_distance(PLAIN, np.zeros_like(inside), spacing=SPACING)
    assert (outside == -np.inf).all()


def test_inner_boundary_counts_the_border_of_the_image_as_outside():
    inside = torch.ones(2, 4, 5, dtype=torch.bool)
    inside[1] = False
    edge = inner_boundary(inside, 2)
    assert not edge[1].any()
    assert edge[0].sum() == 14
    assert not edge[0, 1:3, 1:4].any()


def test_euclidean_distance_is_scipys_for_every_set():
    sets = rng.random((2, 5, 6)) < 0.2
    sets[1] = False
    result = euclidean_distance(sets, spacing=(0.5, 2.0))
    expected = scipy.ndimage.distance_transform_edt(~sets[0], sampling=(0.5, 2.0))
    np.testing.assert_allclose(result[0], expected, rtol=1e-6)
    assert np.isinf(result[1]).all()
    tensor = euclidean_distance(torch.from_numpy(sets[0]), spacing=(0.5, 2.0))
    np.testing.assert_array_equal(tensor.numpy(), result[0])
    with pytest.raises(ShapeError, match="spacing has 3 values"):
        euclidean_distance(sets[0], spacing=(1.0, 1.0, 1.0))
    with pytest.raises(DTypeError, match="must be boolean"):
        euclidean_distance(sets[0].astype(np.uint8), spacing=(1.0, 1.0))
