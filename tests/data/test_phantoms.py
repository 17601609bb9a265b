import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats

from sfumato.data.phantoms import (
    Appearance,
    Box,
    Ellipsoid,
    HalfSpace,
    RaterModel,
    Scene,
    SmoothField,
    ball_scene,
    centre_labels,
    class_fractions,
    intensity_image,
    phantom,
    rater_labels,
    rater_shares,
    tumour_scene,
)
from sfumato.data.phantoms.scene import depths_mm
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.labels import interpolated, one_hot

PLAIN = Appearance(means=((0.0, 1.0),))


def one_solid(solid, shape, spacing, displacement=None):
    return Scene((solid,), (1,), 2, shape, spacing, displacement)


def cut_share(normal, offset, low, spacing):
    """Exact share of a voxel below a plane: signed powers over its corners (inclusion and exclusion)."""
    slopes = [n * step for n, step in zip(normal, spacing, strict=True)]
    depth = offset - sum(n * place for n, place in zip(normal, low, strict=True))
    axes = len(slopes)
    total = sum(
        (-1) ** sum(corner)
        * max(0.0, depth - sum(s for s, far in zip(slopes, corner, strict=True) if far)) ** axes
        for corner in itertools.product((0, 1), repeat=axes)
    )
    return total / (math.factorial(axes) * math.prod(slopes))


@pytest.mark.parametrize("factor", [1, 2, 5, 8])
@pytest.mark.parametrize(
    ("normal", "point", "shape", "spacing"),
    [
        ((1.0, 0.7), (3.1, 2.2), (7, 4), (1.0, 1.3)),
        ((0.9, 0.2, 0.4), (2.3, 2.9, 4.0), (5, 6, 3), (1.0, 0.8, 2.5)),
        ((0.01, 1.0, 0.02), (2.0, 1.9, 2.0), (3, 5, 2), (1.0, 1.0, 3.0)),
    ],
)
def test_the_share_of_a_cut_voxel_is_exact_up_to_the_stated_bound(normal, point, shape, spacing, factor):
    soft = class_fractions(one_solid(HalfSpace(normal, point), shape, spacing), factor=factor)
    offset = sum(n * p for n, p in zip(normal, point, strict=True))
    exact = np.array(
        [
            cut_share(normal, offset, [i * s for i, s in zip(voxel, spacing, strict=True)], spacing)
            for voxel in np.ndindex(shape)
        ]
    ).reshape(shape)
    assert 0.1 < exact.mean() < 0.9
    error = np.abs(soft[1].numpy() - exact)
    assert error.max() <= len(shape) / (2 * factor)
    # What supersampling is for: far better than the voxel's centre alone.
    assert factor < 5 or error.mean() < 0.5 * np.abs((exact > 0.5) - exact).mean()


def test_a_box_along_the_grid_has_the_product_of_its_overlaps():
    low, high, shape, spacing, factor = (1.13, 0.4, 2.9), (4.61, 2.75, 8.2), (6, 7, 4), (1.0, 0.5, 2.4), 10
    soft = class_fractions(one_solid(Box(low, high), shape, spacing), factor=factor)
    exact = np.ones(shape)
    for axis in range(3):
        edges = np.arange(shape[axis] + 1) * spacing[axis]
        overlap = np.clip(np.minimum(edges[1:], high[axis]) - np.maximum(edges[:-1], low[axis]), 0, None)
        exact *= (overlap / spacing[axis]).reshape([-1 if other == axis else 1 for other in range(3)])
    # One face along each axis at most crosses any of these voxels.
    assert np.abs(soft[1].numpy() - exact).max() <= 3 / (2 * factor)
    assert float(soft[1].sum()) == pytest.approx(exact.sum(), rel=0.02)


def test_a_disc_has_the_area_that_integration_gives_every_pixel():
    centre, radius, shape, spacing = (3.3, 4.1), 2.37, (7, 6), (1.0, 1.4)
    soft = class_fractions(one_solid(Ellipsoid(centre, (radius,) * 2), shape, spacing), factor=16)

    def height(x, low, high):
        half = math.sqrt(max(0.0, radius**2 - (x - centre[0]) ** 2))
        return max(0.0, min(high, centre[1] + half) - max(low, centre[1] - half))

    for row, column in np.ndindex(shape):
        low = column * spacing[1]
        area = integrate.quad(height, row, row + 1, args=(low, low + spacing[1]), limit=200)[0]
        assert float(soft[1, row, column]) == pytest.approx(area / spacing[1], abs=0.02)


@pytest.mark.parametrize(
    ("radii", "shape", "spacing"),
    [
        ((4.2, 2.9), (11, 9), (1.0, 0.8)),
        ((4.0, 4.0, 4.0), (10, 11, 12), (1.0, 1.0, 1.0)),
        ((5.0, 2.2, 7.1), (12, 14, 6), (1.0, 0.5, 3.0)),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 0.23, 0.5])
def test_an_ellipsoid_has_its_analytic_volume_wherever_it_lies(radii, shape, spacing, offset):
    extent = [side * step for side, step in zip(shape, spacing, strict=True)]
    centre = tuple(0.5 * side + offset * step for side, step in zip(extent, spacing, strict=True))
    solid = Ellipsoid(centre, radii)
    soft = class_fractions(one_solid(solid, shape, spacing))
    factor = {2: math.pi, 3: 4 / 3 * math.pi}[len(radii)]
    assert solid.volume == pytest.approx(factor * math.prod(radii))
    assert float(soft[1].sum()) * math.prod(spacing) == pytest.approx(solid.volume, rel=4e-3)
    assert ((soft >= 0) & (soft <= 1)).all()
    torch.testing.assert_close(soft.sum(dim=0), torch.ones(shape))


@pytest.mark.parametrize(
    "radii", [(3.0, 1.0), (2.0, 2.0), (5.0, 3.0, 0.4), (1.0, 4.0, 4.0), (300.0, 2.0, 1.0)]
)
def test_the_depth_in_an_ellipsoid_is_the_distance_to_its_nearest_surface_point(radii):
    solid = Ellipsoid((0.0,) * len(radii), radii)
    rng = np.random.default_rng(0)
    points = np.array(radii)[:, None] * rng.uniform(-1.5, 1.5, (len(radii), 12))
    points[0, :3] = 0.0
    points[-1, 2:5] = 0.0
    for point, found in zip(points.T, solid.depth_mm(points), strict=True):
        sphere = [
            (angle, turn) for angle in np.linspace(0, np.pi, 9) for turn in np.linspace(0, 2 * np.pi, 9)
        ]

        def gap(angles, point=point):
            unit = [math.sin(angles[0]) * math.cos(angles[1]), math.sin(angles[0]) * math.sin(angles[1])]
            unit.append(math.cos(angles[0]))
            if len(radii) == 2:
                unit = [math.cos(angles[1]), math.sin(angles[1])]
            return math.dist(point, np.array(radii) * unit)

        starts = sorted(sphere, key=gap)[:5]
        options = {"xatol": 1e-10, "fatol": 1e-12, "maxiter": 2000}
        nearest = min(
            optimize.minimize(gap, start, method="Nelder-Mead", options=options).fun for start in starts
        )
        inside = sum((p / r) ** 2 for p, r in zip(point, radii, strict=True)) < 1
        assert found == pytest.approx(nearest if inside else -nearest, rel=1e-5, abs=1e-6)


def test_the_centre_of_an_ellipsoid_is_its_least_radius_deep():
    points = np.array([[2.0], [3.0], [4.0]])
    assert Ellipsoid((2.0, 3.0, 4.0), (5.0, 1.5, 9.0)).depth_mm(points) == pytest.approx(1.5)
    assert Ellipsoid((2.0, 3.0, 4.0), (2.5, 2.5, 2.5)).depth_mm(points) == pytest.approx(2.5)


def test_the_depth_in_a_box_is_the_distance_to_its_nearest_face_edge_or_corner():
    solid = Box((0.0, 0.0), (4.0, 2.0))
    points = np.array([[1.0, 2.0, 5.0, 7.0, -1.0], [0.3, 1.0, 1.0, 6.0, 1.0]])
    assert solid.depth_mm(points) == pytest.approx([0.3, 1.0, -1.0, -5.0, -1.0])
    np.testing.assert_array_equal(solid.holds(points), [True, True, False, False, False])


def test_later_solids_cover_earlier_ones_and_class_0_cuts_a_hole():
    scene = Scene(
        (Box((0.0, 0.0), (4.0, 4.0)), Box((1.0, 1.0), (4.0, 3.0)), Box((2.5, 0.0), (4.0, 4.0))),
        (2, 1, 0),
        4,
        (4, 4),
        (1.0, 1.0),
    )
    soft = class_fractions(scene, factor=4)
    assert soft[:, 0, 0].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert soft[:, 2, 1].tolist() == [0.5, 0.5, 0.0, 0.0]
    assert soft[:, 2, 0].tolist() == [0.5, 0.0, 0.5, 0.0]
    assert soft[3].abs().max() == 0
    assert centre_labels(scene).tolist()[1] == [2, 1, 1, 2]


def test_an_empty_and_a_full_scene_have_one_class():
    empty = Scene((), (), 2, (3, 2, 1), (1.0, 2.0, 0.5))
    assert torch.equal(class_fractions(empty)[0], torch.ones(3, 2, 1))
    assert rater_labels(empty, RaterModel(), seed=0).sum() == 0
    assert torch.equal(rater_shares(empty, RaterModel())[0], torch.ones(3, 2, 1))
    full = one_solid(Box((-9.0,) * 2, (9.0,) * 2), (1, 1), (1.0, 1.0))
    assert torch.equal(class_fractions(full)[1], torch.ones(1, 1))


STEEP = SmoothField(3, deviation=1.5, length_mm=1.5, rng=np.random.default_rng(2))


@pytest.mark.parametrize(
    "scene",
    [
        tumour_scene(shape=(13, 11, 7), spacing=(1.0, 1.2, 2.0), seed=4),
        one_solid(Ellipsoid((5.0, 5.0, 5.0), (3.0, 3.0, 3.0)), (10, 10, 5), (1.0, 1.0, 2.0), STEEP),
    ],
)
def test_only_voxels_that_a_surface_may_cross_are_divided_and_none_is_missed(scene):
    fine = one_hot(centre_labels(scene.finer(4)), num_classes=scene.num_classes)
    for axis in (1, 2, 3):
        fine = fine.unflatten(axis, (-1, 4)).mean(dim=axis + 1)
    soft = class_fractions(scene, factor=4)
    torch.testing.assert_close(soft, fine)
    assert (soft > 0).flatten(1).any(dim=1).all()


def test_the_depth_in_a_half_space_does_not_depend_on_the_length_of_its_normal():
    points = np.array([[0.0, 4.0], [0.0, 1.0]])
    assert HalfSpace((3.0, 4.0), (1.0, 1.0)).depth_mm(points) == pytest.approx([1.4, -1.8])


def test_a_smooth_field_is_normal_at_every_point_and_correlated_over_its_length():
    points = np.array([[0.0, 30.0, 32.0], [0.0, -7.0, -7.0]])
    drawn = np.array(
        [
            SmoothField(2, deviation=1.5, length_mm=2.0, rng=np.random.default_rng(seed)).values(points)
            for seed in range(1500)
        ]
    )
    assert drawn.mean(axis=0) == pytest.approx(0.0, abs=0.1)
    assert drawn.std(axis=0) == pytest.approx(1.5, rel=0.06)
    assert stats.kstest(drawn[:, 1] / 1.5, "norm").pvalue > 0.01
    assert np.corrcoef(drawn[:, 1:].T)[0, 1] == pytest.approx(math.exp(-0.5), abs=0.06)
    assert np.corrcoef(drawn[:, :2].T)[0, 1] == pytest.approx(0.0, abs=0.08)


def test_no_field_changes_faster_than_its_stated_slope():
    field = SmoothField(3, deviation=1.0, length_mm=3.0, rng=np.random.default_rng(0))
    points = np.random.default_rng(1).uniform(0, 40, (3, 4000))
    step = np.array([1e-4, 0, 0])[:, None]
    rate = np.abs(field.values(points + step) - field.values(points)) / 1e-4
    assert 0.1 < rate.max() <= field.slope


@pytest.mark.parametrize(
    "scene",
    [
        ball_scene(shape=(9, 8), spacing=(1.0, 1.3)),
        tumour_scene(shape=(7, 8, 4), spacing=(1.0, 1.0, 2.0), seed=1),
    ],
)
def test_the_share_of_raters_tends_to_the_expected_one(scene):
    count = 1500
    model = RaterModel(count=count, wobble_mm=0.8, length_mm=4.0, bias_mm=0.5)
    expected = rater_shares(scene, model).double()
    drawn = rater_labels(scene, model, seed=3)
    found = one_hot_mean(drawn, scene.num_classes)
    bound = 5 * (expected * (1 - expected) / count).sqrt() + 2 / count
    assert ((found - expected).abs() <= bound).all()
    assert (expected.std() > 0.1).all()
    torch.testing.assert_close(
        expected.sum(dim=0), torch.ones(scene.shape, dtype=torch.float64), atol=1e-6, rtol=0
    )


def one_hot_mean(labels, num_classes):
    return torch.stack([(labels == index).double().mean(dim=0) for index in range(num_classes)])


def test_a_ball_is_marked_by_the_normal_distribution_of_its_depth():
    scene = ball_scene(shape=(8, 9, 5), spacing=(1.0, 1.0, 2.0))
    shares = rater_shares(scene, RaterModel(wobble_mm=0.6, bias_mm=0.8))
    centre, radius = scene.solids[0].centre_mm, scene.solids[0].radii_mm[0]
    for voxel in np.ndindex(scene.shape):
        place = [(i + 0.5) * s for i, s in zip(voxel, scene.spacing, strict=True)]
        exact = 0.5 * (1 + special.erf((radius - math.dist(place, centre)) / 1.0 / math.sqrt(2)))
        assert float(shares[1][voxel]) == pytest.approx(exact, abs=1e-6)


def test_the_expected_share_of_overlapping_solids_is_the_integral_over_the_displacement():
    solids = (
        Ellipsoid((3.0, 4.0), (2.5, 3.0)),
        Ellipsoid((4.5, 4.0), (2.0, 2.0)),
        Box((2.0, 2.0), (4.0, 9.0)),
    )
    scene = Scene(solids, (1, 2, 0), 3, (8, 8), (1.0, 1.0))
    shares = rater_shares(scene, RaterModel(wobble_mm=0.7, bias_mm=0.0))
    depths = [solid.depth_mm(scene.centres()) for solid in solids]
    # Midpoints of equal parts of the distribution: an integral without weights.
    moves = stats.norm.ppf((np.arange(4000) + 0.5) / 4000) * 0.7
    exact = np.zeros((3, 8, 8))
    for move in moves:
        labels = np.zeros((8, 8), dtype=int)
        for value, depth in zip((1, 2, 0), depths, strict=True):
            labels[depth + move > 0] = value
        exact += np.eye(3)[labels].transpose(2, 0, 1) / len(moves)
    np.testing.assert_allclose(shares.numpy(), exact, atol=1e-3)


def test_raters_without_deviation_agree_with_the_voxel_centres():
    scene = tumour_scene(shape=(9, 8, 7), spacing=(1.0, 1.1, 1.2), seed=2)
    exact = RaterModel(count=2, wobble_mm=0.0, bias_mm=0.0)
    labels = rater_labels(scene, exact, seed=0)
    assert torch.equal(labels, centre_labels(scene).expand(2, -1, -1, -1))
    assert torch.equal(rater_shares(scene, exact), one_hot(labels[0], num_classes=4))


def test_a_biased_rater_differs_everywhere_and_a_wobbling_one_in_places():
    scene = ball_scene(shape=(32, 32), spacing=(0.5, 0.5))
    truth = centre_labels(scene) == 1
    biased = rater_labels(scene, RaterModel(count=20, wobble_mm=0.0, bias_mm=1.0), seed=0) == 1
    assert all(not (mask & ~truth).any() or not (truth & ~mask).any() for mask in biased)
    wobbly = rater_labels(scene, RaterModel(count=20, wobble_mm=1.0, bias_mm=0.0, length_mm=2.0), seed=0) == 1
    assert sum(bool((mask & ~truth).any() and (truth & ~mask).any()) for mask in wobbly) > 15


def test_nested_solids_stay_nested_however_the_surface_moves():
    scene = tumour_scene(shape=(16, 16, 12), spacing=(1.0, 1.0, 1.0), seed=0)
    outer, middle, inner = depths_mm(scene, scene.centres())
    assert (inner < middle).all()
    assert (middle < outer).all()
    # An ellipsoid swells and shrinks; a bumpy one also changes its shape.
    plain = depths_mm(dataclasses.replace(scene, displacement=None), scene.centres())[0]
    assert 0.1 < (outer - plain).std() < 1.0


def test_without_blur_noise_and_bias_the_image_is_the_mixture_of_the_classes():
    soft = class_fractions(tumour_scene(shape=(6, 7, 5), spacing=(1.0, 1.0, 2.0)))
    means = ((10.0, 20.0, 30.0, 45.0), (5.0, 0.0, -5.0, 1.0))
    image = intensity_image(soft, Appearance(means=means), spacing=(1.0, 1.0, 2.0), seed=0)
    expected = sum(torch.tensor(means)[:, k, None, None, None] * soft[k] for k in range(4))
    torch.testing.assert_close(image, expected)
    assert image.shape == (2, 6, 7, 5)


def test_a_border_is_blurred_by_the_same_millimetres_along_every_axis():
    spacing, blur, edge = (0.5, 1.25), 2.0, 20.0
    for axis in (0, 1):
        normal, point = [0.0, 0.0], [edge, edge]
        normal[axis] = 1.0
        scene = one_solid(HalfSpace(tuple(normal), tuple(point)), (80, 32), spacing)
        image = intensity_image(
            class_fractions(scene), Appearance(means=((0.0, 1.0),), blur_mm=blur), spacing=spacing, seed=0
        )[0]
        profile = image.select(1 - axis, 10).double().numpy()
        places = (np.arange(len(profile)) + 0.5) * spacing[axis]
        # The edge lies between two voxels, so partial volume adds nothing to the width.
        np.testing.assert_allclose(profile, special.ndtr((edge - places) / blur), atol=5e-3)


def test_noise_and_bias_have_the_stated_deviation():
    soft = torch.ones(1, 40, 50, 20)
    spacing = (1.0, 1.0, 2.0)
    noisy = (
        intensity_image(soft, Appearance(means=((7.0,), (7.0,)), noise=0.5), spacing=spacing, seed=1) - 7.0
    )
    assert float(noisy.mean()) == pytest.approx(0.0, abs=0.01)
    assert float(noisy.std()) == pytest.approx(0.5, rel=0.02)
    assert float(torch.corrcoef(noisy.flatten(1))[0, 1]) == pytest.approx(0.0, abs=0.02)
    logs = [
        intensity_image(soft, Appearance(means=((7.0,),), bias=0.2), spacing=spacing, seed=seed)[0]
        .div(7)
        .log()
        for seed in range(40)
    ]
    assert float(torch.stack([log[3, 40, 9] for log in logs]).std()) == pytest.approx(0.2, rel=0.3)
    assert max(float(log.diff(dim=0).abs().max()) for log in logs) < 0.05


def test_a_seed_fixes_a_phantom_to_the_bit_and_another_seed_changes_it():
    scene = tumour_scene(shape=(9, 8, 7), spacing=(1.0, 1.0, 1.5), seed=5)
    appearance = Appearance(means=((0.0, 1.0, 2.0, 3.0),), blur_mm=1.0, noise=0.1, bias=0.1)
    first, again, other = (
        phantom(scene, appearance=appearance, raters=RaterModel(count=3), seed=seed) for seed in (7, 7, 8)
    )
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.labels_per_rater, again.labels_per_rater)
    assert not torch.equal(first.image, other.image)
    assert not torch.equal(first.labels_per_rater, other.labels_per_rater)
    assert torch.equal(first.soft, other.soft)
    assert torch.equal(first.labels, first.soft.argmax(dim=0))
    assert phantom(scene, appearance=appearance).labels_per_rater is None
    shapes = {
        tuple(class_fractions(tumour_scene(shape=(9, 8), spacing=(1.0, 1.0), seed=s)).shape) for s in (0, 1)
    }
    assert shapes == {(4, 9, 8)}


def test_more_raters_do_not_change_the_first_ones():
    scene = ball_scene(shape=(12, 10), spacing=(1.0, 1.0))
    few = rater_labels(scene, RaterModel(count=2), seed=4)
    assert torch.equal(rater_labels(scene, RaterModel(count=5), seed=4)[:2], few)


def resampled(scene, factor):
    """True shares, SoftSeg's label from a mask ``factor`` times as fine, and the hard label."""
    truth = class_fractions(scene, factor=12)
    fine = one_hot(centre_labels(scene.finer(factor)), num_classes=2)
    return truth, interpolated(fine, size=scene.shape), one_hot(truth.argmax(dim=0), num_classes=2)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 0.7, 2.5), (1.0, 1.4)])
@pytest.mark.parametrize(("factor", "gain"), [(2, 0.4), (4, 0.75)])
def test_interpolating_a_fine_mask_recovers_partial_volume_better_than_one_hot(spacing, factor, gain):
    shape = tuple(round(14.0 / step) for step in spacing)
    axes = len(spacing)
    truth, soft, hard = resampled(
        one_solid(Ellipsoid((7.1, 6.8, 7.3)[:axes], (5.0, 4.2, 5.4)[:axes]), shape, spacing), factor
    )
    assert (soft - truth).abs().mean() < gain * (hard - truth).abs().mean()


def test_interpolating_by_an_odd_factor_takes_the_middle_voxel_alone_and_gains_nothing():
    scene = one_solid(Ellipsoid((7.1, 6.8, 7.3), (5.0, 4.2, 5.4)), (14, 14, 14), (1.0, 1.0, 1.0))
    _, soft, _ = resampled(scene, 3)
    assert torch.equal(soft, one_hot(centre_labels(scene), num_classes=2))


def test_parts_that_do_not_fit_together_are_named():
    ball = Ellipsoid((1.0, 1.0), (1.0, 1.0))
    with pytest.raises(ShapeError, match="1 solids have 2 classes"):
        Scene((ball,), (1, 1), 2, (3, 3), (1.0, 1.0))
    with pytest.raises(ShapeError, match="the solid has 2 axes, but the points have 3"):
        class_fractions(one_solid(ball, (3, 3, 3), (1.0, 1.0, 1.0)))
    with pytest.raises(ValueRangeError, match=r"classes \[5\] lie outside 0 \.\. 1"):
        Scene((ball,), (5,), 2, (3, 3), (1.0, 1.0))
    with pytest.raises(ShapeError, match="spacing has 1 values"):
        Scene((ball,), (1,), 2, (3, 3), (1.0,))
    with pytest.raises(ValueRangeError, match="at least one voxel"):
        Scene((ball,), (1,), 2, (3, 0), (1.0, 1.0))
    with pytest.raises(ValueRangeError, match="factor is 0"):
        class_fractions(one_solid(ball, (3, 3), (1.0, 1.0)), factor=0)
    with pytest.raises(ShapeError, match="radii_mm has 3 values beside 2"):
        Ellipsoid((1.0, 1.0), (1.0, 1.0, 1.0))
    with pytest.raises(ValueRangeError, match="radius is 0"):
        Ellipsoid((1.0, 1.0), (1.0, 0.0))
    with pytest.raises(ValueRangeError, match="lower corner first"):
        Box((1.0, 1.0), (2.0, 1.0))
    with pytest.raises(ValueRangeError, match="length of the normal is 0"):
        HalfSpace((0.0, 0.0), (1.0, 1.0))
    with pytest.raises(ValueRangeError, match="0 raters"):
        RaterModel(count=0)
    with pytest.raises(ValueRangeError, match="wobble -1"):
        RaterModel(wobble_mm=-1.0)
    with pytest.raises(ShapeError, match="one row per channel"):
        Appearance(means=((1.0,), (1.0, 2.0)))
    with pytest.raises(ValueRangeError, match="noise -1"):
        Appearance(means=((1.0,),), noise=-1.0)
    with pytest.raises(ShapeError, match="means has 3 values per channel, but there are 2 classes"):
        intensity_image(
            torch.zeros(2, 3, 3), Appearance(means=((1.0, 2.0, 3.0),)), spacing=(1.0, 1.0), seed=0
        )
