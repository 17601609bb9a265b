"""Surface metrics: DeepMind's surface-distance, MONAI, medpy's rule, and every pair compared."""

import math
import warnings

import numpy as np
import pytest
import surface_distance
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sfumato.errors import DTypeError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.metrics.surface.distances import hausdorff, surface_dice, surface_distances
from strategies import seeds, shapes, shuffled_memory, spacings

TOLERANCES = (0, 0.5, 1, 2.0, 2.5, 60.0)


@st.composite
def mask_pairs(draw, *, empty=False):
    """``(pred, ref, spacing)``: random, full, one-voxel, thin; both with voxels unless ``empty``."""
    shape = draw(shapes(max_side=8))
    rng = np.random.default_rng(draw(seeds))
    masks = []
    for _ in range(2):
        density = draw(st.sampled_from((0.0, 0.05, 0.3, 0.6, 1.0)))
        mask = rng.random(shape) < density
        if not empty and not mask.any():
            mask[tuple(rng.integers(0, side) for side in shape)] = True
        masks.append(mask)
    return masks[0], masks[1], draw(spacings(len(shape)))


def blob(shape, seed, *, radius=0.3, rough=0.15):
    """A lump with a wavy surface, a little off the centre."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    centre = [0.5 * side + rng.uniform(-1, 1) for side in shape]
    grid = np.ogrid[tuple(slice(side) for side in shape)]
    gap = sum(((axis - c) / (radius * side)) ** 2 for axis, c, side in zip(grid, centre, shape, strict=True))
    return np.sqrt(gap) + rough * noise / noise.std() < 1


def deepmind(pred, ref, spacing):
    """Their surfaces; their release speaks of names that SciPy has deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return surface_distance.compute_surface_distances(ref, pred, spacing)


def monai(name, pred, ref, spacing, **options):
    """Their metric, all channels; they warn about an argument of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = pytest.importorskip("monai.metrics")
        function = getattr(metrics, name)
        return function(pred, ref, include_background=True, spacing=list(spacing), **options).double()


def assert_equal_to_deepmind(pred, ref, spacing):
    theirs = deepmind(pred, ref, spacing)
    ours = surface_distances(pred[None], ref[None], spacing=spacing)
    for percentile in (5, 50, 95, 100):
        expected = surface_distance.compute_robust_hausdorff(theirs, percentile)
        assert ours.hausdorff(percentile).item() == pytest.approx(expected, rel=1e-9)
    for tolerance in TOLERANCES:
        expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert ours.surface_dice(tolerance).item() == pytest.approx(expected, rel=1e-9)
    means = surface_distance.compute_average_surface_distance(theirs)
    assert ours.masd().item() == pytest.approx(np.mean(means), rel=1e-9)


def edges(mask):
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def every_pair(first, second, spacing):
    """Distance of each of the first points to the nearest of the second, all pairs compared."""
    gaps = (first[:, None] - second[None]) * np.array(spacing)
    return np.sqrt((gaps**2).sum(axis=2)).min(axis=1)


@given(mask_pairs())
def test_random_masks_give_what_surface_distance_gives(case):
    assert_equal_to_deepmind(*case)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0), (3.0, 0.9, 1.1)])
def test_wavy_lumps_give_what_surface_distance_gives(spacing):
    assert_equal_to_deepmind(blob((24, 31, 20), 1), blob((24, 31, 20), 2, radius=0.33), spacing)


def test_flat_lumps_give_what_surface_distance_gives():
    assert_equal_to_deepmind(blob((60, 41), 1), blob((60, 41), 2), (0.4, 1.25))


def test_distant_lumps_give_what_surface_distance_gives():
    pred, ref = np.zeros((2, 70, 40, 30), dtype=bool)
    pred[:20, :18, :14] = blob((20, 18, 14), 1)
    ref[48:, 20:, 14:] = blob((22, 20, 16), 2)
    assert_equal_to_deepmind(pred, ref, (1.0, 1.0, 2.0))


@given(mask_pairs())
def test_average_distance_is_the_weighted_mean_over_both_surfaces(case):
    pred, ref, spacing = case
    theirs = deepmind(pred, ref, spacing)
    sides = ("gt_to_pred", "gt"), ("pred_to_gt", "pred")
    total = sum(theirs[f"distances_{way}"] @ theirs[f"surfel_areas_{side}"] for way, side in sides)
    size = sum(theirs[f"surfel_areas_{side}"].sum() for _, side in sides)
    found = surface_distances(pred[None], ref[None], spacing=spacing).assd().item()
    assert found == pytest.approx(total / size, rel=1e-9)


@given(mask_pairs(), st.sampled_from((5, 50, 95, 100)))
def test_voxel_distances_are_those_of_every_pair_of_edge_voxels(case, percentile):
    pred, ref, spacing = case
    there = every_pair(edges(pred), edges(ref), spacing)
    back = every_pair(edges(ref), edges(pred), spacing)
    both = np.concatenate([there, back])
    found = surface_distances(pred[None], ref[None], spacing=spacing)
    largest = max(np.percentile(there, percentile), np.percentile(back, percentile))
    assert found.hausdorff(percentile, weighting="voxel").item() == pytest.approx(largest, rel=1e-9)
    # medpy's hd95 is the percentile of both directions together.
    pooled = found.hausdorff(percentile, weighting="voxel", direction="pooled").item()
    assert pooled == pytest.approx(np.percentile(both, percentile), rel=1e-9)
    assert found.assd(weighting="voxel").item() == pytest.approx(both.mean(), rel=1e-9)
    assert found.masd(weighting="voxel").item() == pytest.approx((there.mean() + back.mean()) / 2, rel=1e-9)
    dice = found.surface_dice(2.5, weighting="voxel").item()
    assert dice == pytest.approx((both <= 2.5).mean(), rel=1e-9)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 3.0, 1.5)])
def test_voxel_weighting_gives_what_monai_gives(spacing):
    pred, ref = (
        torch.from_numpy(np.stack([blob((20, 17, 14), seed), blob((20, 17, 14), seed + 5)]))[None]
        for seed in (1, 2)
    )
    ours = surface_distances(pred, ref, spacing=spacing)
    for percentile in (95, 100):
        theirs = monai("compute_hausdorff_distance", pred, ref, spacing, percentile=percentile)
        found = ours.hausdorff(percentile, weighting="voxel")
        torch.testing.assert_close(found, theirs, rtol=1e-5, atol=0)
    limits = {"class_thresholds": [1.1, 1.1]}
    theirs = monai("compute_surface_dice", pred, ref, spacing, **limits)
    torch.testing.assert_close(ours.surface_dice(1.1, weighting="voxel"), theirs, rtol=1e-5, atol=0)
    theirs = monai(
        "compute_surface_dice", pred, ref, spacing, class_thresholds=[1.1, 1.1], use_subvoxels=True
    )
    torch.testing.assert_close(ours.surface_dice(1.1), theirs, rtol=1e-5, atol=0)


def test_pooled_area_percentile_is_over_the_area_of_both_surfaces():
    # One voxel against a bar of ten: the bar's surface is most of the area, so its distances decide.
    pred, ref = np.zeros((2, 1, 3, 12), dtype=bool)
    pred[0, 1, 0] = True
    ref[0, 1, :10] = True
    theirs = deepmind(pred[0], ref[0], (1.0, 1.0))
    distances = np.concatenate([theirs["distances_gt_to_pred"], theirs["distances_pred_to_gt"]])
    sizes = np.concatenate([theirs["surfel_areas_gt"], theirs["surfel_areas_pred"]])
    share = np.cumsum(sizes[np.argsort(distances)]) / sizes.sum()
    expected = np.sort(distances)[np.searchsorted(share, 0.6)]
    found = hausdorff(pred, ref, spacing=(1.0, 1.0), percentile=60, direction="pooled").item()
    assert found == pytest.approx(expected)
    assert found < hausdorff(pred, ref, spacing=(1.0, 1.0), percentile=60).item()


@pytest.mark.parametrize(
    ("pred_filled", "ref_filled", "status", "distance", "share"),
    [
        (False, False, "both_empty", 0.0, 1.0),
        (True, False, "empty_reference", math.nan, 0.0),
        (False, True, "empty_prediction", math.nan, 0.0),
        (True, True, "ok", 0.0, 1.0),
    ],
)
@pytest.mark.parametrize("weighting", ["area", "voxel"])
@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 2, 3, 4), (1, 1, 1, 1)])
def test_empty_and_full_masks_follow_the_table(
    shape, weighting, pred_filled, ref_filled, status, distance, share
):
    pred, ref = torch.full(shape, pred_filled), torch.full(shape, ref_filled)
    spacing = (2.0, 3.0, 6.0)[: len(shape) - 1]
    surfaces = surface_distances(pred, ref, spacing=spacing)
    expected = torch.tensor([distance], dtype=torch.float64)
    assert surfaces.statuses == (status,)
    for value in (
        surfaces.hausdorff(weighting=weighting),
        surfaces.hausdorff(100, weighting=weighting, direction="pooled"),
        surfaces.assd(weighting=weighting),
        surfaces.masd(weighting=weighting),
        hausdorff(pred, ref, spacing=spacing, weighting=weighting),
    ):
        assert torch.equal(value.isnan(), expected.isnan())
        assert torch.equal(value.nan_to_num(-1.0), expected.nan_to_num(-1.0))
    shared = surface_dice(pred, ref, spacing=spacing, tolerance_mm=0.0, weighting=weighting)
    assert shared.tolist() == [share]
    diagonal = math.hypot(*(side * step for side, step in zip(shape[1:], spacing, strict=True)))
    filled = surfaces.hausdorff(weighting=weighting, missing="diagonal").item()
    assert filled == pytest.approx(diagonal if math.isnan(distance) else distance)
    assert surfaces.assd(missing="diagonal").item() == pytest.approx(filled)
    assert surfaces.masd(missing="diagonal").item() == pytest.approx(filled)


@given(mask_pairs(empty=True))
def test_every_undefined_value_has_its_reason(case):
    pred, ref, spacing = case
    surfaces = surface_distances(pred[None], ref[None], spacing=spacing)
    reasons = {(True, True): "ok", (True, False): "empty_reference", (False, True): "empty_prediction"}
    assert surfaces.statuses == (reasons.get((pred.any(), ref.any()), "both_empty"),)
    defined = surfaces.statuses[0] in ("ok", "both_empty")
    for weighting in ("area", "voxel"):
        assert surfaces.hausdorff(weighting=weighting).isfinite().item() == defined
        assert surfaces.assd(weighting=weighting).isfinite().item() == defined
        assert 0 <= surfaces.surface_dice(1.0, weighting=weighting).item() <= 1


@given(mask_pairs())
def test_swapping_prediction_and_reference_changes_nothing(case):
    pred, ref, spacing = case
    there = surface_distances(pred[None], ref[None], spacing=spacing)
    back = surface_distances(ref[None], pred[None], spacing=spacing)
    for value in ("assd", "masd", "hausdorff"):
        torch.testing.assert_close(getattr(there, value)(), getattr(back, value)(), rtol=1e-12, atol=0)


@given(mask_pairs(), seeds)
def test_memory_order_and_the_order_of_the_axes_change_nothing(case, seed):
    pred, ref, spacing = case
    rng = np.random.default_rng(seed)
    order = rng.permutation(pred.ndim).tolist()
    plain = surface_distances(pred[None], ref[None], spacing=spacing)
    moved = surface_distances(
        shuffled_memory(torch.from_numpy(pred.transpose(order)), rng)[None],
        shuffled_memory(torch.from_numpy(ref.transpose(order)), rng)[None],
        spacing=[spacing[axis] for axis in order],
    )
    for value in ("assd", "masd"):
        torch.testing.assert_close(getattr(plain, value)(), getattr(moved, value)(), rtol=1e-12, atol=0)
    assert moved.hausdorff(100).item() == pytest.approx(plain.hausdorff(100).item(), rel=1e-12)


@given(mask_pairs())
def test_distances_scale_with_the_unit_of_length(case):
    pred, ref, spacing = case
    plain = surface_distances(pred[None], ref[None], spacing=spacing)
    large = surface_distances(pred[None], ref[None], spacing=[8.0 * step for step in spacing])
    torch.testing.assert_close(large.hausdorff(), 8.0 * plain.hausdorff(), rtol=1e-12, atol=0)
    torch.testing.assert_close(large.assd(), 8.0 * plain.assd(), rtol=1e-12, atol=0)


def test_one_voxel_against_another_is_the_distance_between_them():
    pred, ref = torch.zeros(2, 1, 5, 6, 7, dtype=torch.bool)
    pred[0, 0, 0, 0] = ref[0, 4, 5, 6] = True
    expected = math.hypot(4 * 1.0, 5 * 2.0, 6 * 0.5)
    surfaces = surface_distances(pred, ref, spacing=(1.0, 2.0, 0.5))
    # From the voxel's nearest corner to the other voxel's is one voxel less along each axis.
    assert surfaces.hausdorff(100).item() == pytest.approx(expected)
    assert surfaces.hausdorff(weighting="voxel").item() == pytest.approx(expected)
    assert surfaces.surface_dice(1.0).item() == 0.0


def test_tolerance_of_just_the_distance_counts_as_within():
    pred, ref = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    pred[0, 2, 2] = ref[0, 2, 5] = True
    surfaces = surface_distances(pred, ref, spacing=(1.0, 2.0))
    assert surfaces.surface_dice(4.0).item() == 0.5  # the facing corners are two voxels apart
    assert surfaces.surface_dice(6.0).item() == 1.0
    assert surfaces.surface_dice(5.999, weighting="voxel").item() == 0.0
    assert surfaces.surface_dice(6.0, weighting="voxel").item() == 1.0


def test_batches_and_regions_are_measured_each_for_itself():
    rng = np.random.default_rng(3)
    pred, ref = (torch.from_numpy(rng.random((2, 3, 6, 5)) < 0.4) for _ in range(2))
    ref[1, 2] = False
    batch = surface_distances(pred, ref, spacing=(1.0, 1.5))
    assert batch.hausdorff().shape == batch.surface_dice(1.0).shape == (2, 3)
    assert batch.statuses == ("ok",) * 5 + ("empty_reference",)
    for item in range(2):
        alone = surface_distances(pred[item], ref[item], spacing=(1.0, 1.5))
        torch.testing.assert_close(alone.hausdorff(), batch.hausdorff()[item], rtol=0, atol=0, equal_nan=True)
        assert torch.equal(alone.surface_dice(1.0), batch.surface_dice(1.0)[item])


def test_no_regions_give_no_values():
    none = torch.zeros(0, 4, 5, dtype=torch.bool)
    assert hausdorff(none, none, spacing=(1.0, 1.0)).shape == (0,)


def test_numpy_integer_and_strided_masks_are_taken():
    pred, ref = blob((20, 22), 1), blob((20, 22), 2)
    expected = hausdorff(pred[None], ref[None], spacing=(1.0, 1.0))
    wide = np.zeros((40, 66), dtype=np.uint8)
    wide[::2, ::3] = pred
    found = hausdorff(wide[None, ::2, ::3], torch.from_numpy(ref[None].astype(np.int64)), spacing=(1, 1))
    assert torch.equal(found, expected)


def test_masks_are_not_changed_and_may_change_afterwards():
    pred, ref = (torch.from_numpy(blob((14, 15, 16), seed))[None] for seed in (1, 2))
    copies = pred.clone(), ref.clone()
    surfaces = surface_distances(pred, ref, spacing=(1.0, 1.0, 1.0))
    expected = hausdorff(pred, ref, spacing=(1.0, 1.0, 1.0))
    assert torch.equal(pred, copies[0])
    assert torch.equal(ref, copies[1])
    pred[:] = False
    assert torch.equal(surfaces.hausdorff(), expected)


@pytest.mark.parametrize(
    ("error", "match", "change"),
    [
        (ShapeError, "they must be equal", {"ref": torch.zeros(1, 4, 6, dtype=torch.bool)}),
        (ShapeError, "two or three spatial axes", {"spacing": (1.0,)}),
        (ShapeError, "give \\(R, \\*S\\)", {"spacing": (1.0, 1.0, 1.0)}),
        (ValueRangeError, "every value must be finite and above 0", {"spacing": (1.0, 0.0)}),
        (ValueRangeError, "every value must be finite and above 0", {"spacing": (math.nan, 1.0)}),
        (DTypeError, "hard-mask metrics take booleans", {"pred": torch.zeros(1, 4, 5)}),
        (ValueRangeError, "a mask holds 0 and 1 only", {"pred": torch.full((1, 4, 5), 2)}),
    ],
)
def test_wrong_input_is_named(error, match, change):
    good = {"pred": torch.ones(1, 4, 5, dtype=torch.bool), "ref": torch.ones(1, 4, 5, dtype=torch.bool)}
    arguments = {**good, "spacing": (1.0, 1.0), **change}
    with pytest.raises(error, match=match):
        surface_distances(arguments["pred"], arguments["ref"], spacing=arguments["spacing"])
    with pytest.raises(error, match=match):
        hausdorff(arguments["pred"], arguments["ref"], spacing=arguments["spacing"])


def test_image_without_voxels_is_named():
    nothing = torch.zeros(1, 0, 5, dtype=torch.bool)
    with pytest.raises(ValueRangeError, match="every spatial axis needs a voxel"):
        surface_distances(nothing, nothing, spacing=(1.0, 1.0))


def test_wrong_reductions_are_named():
    mask = torch.ones(1, 4, 5, dtype=torch.bool)
    surfaces = surface_distances(mask, mask, spacing=(1.0, 1.0))
    for percentile in (-1, 100.5, math.nan):
        with pytest.raises(ValueRangeError, match=r"percentile is .*: it must lie in \[0, 100\]"):
            surfaces.hausdorff(percentile)
    for tolerance in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueRangeError, match="tolerance_mm is"):
            surfaces.surface_dice(tolerance)


def test_unknown_choices_are_named_with_the_known_ones():
    mask = torch.ones(1, 4, 5, dtype=torch.bool)
    surfaces = surface_distances(mask, mask, spacing=(1.0, 1.0))
    with pytest.raises(UnknownNameError, match=r"unknown weighting 'voxels'\. Did you mean 'voxel'"):
        surfaces.hausdorff(weighting="voxels")
    with pytest.raises(UnknownNameError, match="unknown direction 'mean'"):
        surfaces.hausdorff(direction="mean")
    with pytest.raises(UnknownNameError, match="unknown missing 'zero'"):
        surfaces.assd(missing="zero")
