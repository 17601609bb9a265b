import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from sfumato.data import Case, Preprocessing
from sfumato.data.preprocess import clipped, normalised
from sfumato.errors import ShapeError, UnknownNameError, ValueRangeError
from sfumato.structures import SIGNED

AFFINE = np.array([[0, -2.0, 0, 5], [0.5, 0, 0, -3], [0, 0, 3.0, 1], [0, 0, 0, 1]])
SHAPE, SPACING = (11, 8, 5), (0.5, 2.0, 3.0)


def _case(shape=SHAPE, spacing=SPACING, affine=AFFINE, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.normal(size=(channels, *shape)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 3, shape))
    raters = torch.from_numpy(rng.integers(0, 3, (2, *shape)))
    soft = torch.from_numpy(rng.random((3, *shape)).astype(np.float32))
    return Case("x", image, labels, raters, spacing, affine, soft / soft.sum(0))


def _ramp(shape, spacing, weights):
    """A linear function of the position in mm, seen from the centre of the volume."""
    grids = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij"
    )
    return sum(w * g for w, g in zip(weights, grids, strict=True)).astype(np.float32)


def _itk(array, spacing, first):
    image = sitk.GetImageFromArray(array.transpose())
    image.SetSpacing(spacing)
    image.SetOrigin(first)
    return image


def _by_itk(array, spacing, new_size, new_spacing, interpolator):
    """Resample with both volumes centred on the world's origin."""
    first, new_first = (
        [-(n - 1) / 2 * s for n, s in zip(size, steps, strict=True)]
        for size, steps in ((array.shape, spacing), (new_size, new_spacing))
    )
    moving = _itk(array, spacing, first)
    fixed = _itk(np.zeros(new_size, array.dtype), new_spacing, new_first)
    moved = sitk.Resample(moving, fixed, sitk.Transform(), interpolator, 0.0, moving.GetPixelID())
    return sitk.GetArrayFromImage(moved).transpose()


NEW_SPACINGS = [(1.0, 1.0, 1.0), (0.25, 3.0, 3.0), (0.7, 1.3, 2.0), (0.5, 2.0, 7.5)]


@pytest.mark.parametrize("new", NEW_SPACINGS)
def test_images_masks_and_soft_masks_agree_with_simpleitk(new):
    case = _case()
    prepared = Preprocessing(spacing=new, intensity="none").apply(case)
    expected_shape = tuple(round(n * s / t) for n, s, t in zip(SHAPE, SPACING, new, strict=True))
    assert prepared.shape == expected_shape
    assert prepared.spacing == new
    image = _by_itk(case.image[0].double().numpy(), SPACING, expected_shape, new, sitk.sitkBSpline2)
    # ITK gives 0 beyond the outermost voxels' faces; where the new grid reaches there, no comparison.
    inside = _by_itk(np.ones(SHAPE), SPACING, expected_shape, new, sitk.sitkNearestNeighbor) > 0
    np.testing.assert_allclose(prepared.image[0].numpy()[inside], image[inside], atol=1e-5)
    for channel, soft in zip(prepared.soft.numpy(), case.soft.double().numpy(), strict=True):
        linear = _by_itk(soft, SPACING, expected_shape, new, sitk.sitkLinear)
        np.testing.assert_allclose(channel[inside], linear[inside], atol=1e-5)
    torch.testing.assert_close(prepared.soft.sum(0), torch.ones(expected_shape))
    assert inside.mean() > 0.7


@pytest.mark.parametrize("new", [(1.1, 1.3, 2.3), (0.2, 0.9, 4.1)])
def test_hard_masks_take_the_nearest_voxel_as_simpleitk_does(new):
    case = _case()
    prepared = Preprocessing(spacing=new, intensity="none").apply(case)
    inside = _by_itk(np.ones(SHAPE), SPACING, prepared.shape, new, sitk.sitkNearestNeighbor) > 0
    for ours, stored in zip(
        (prepared.labels, *prepared.labels_per_rater), (case.labels, *case.labels_per_rater), strict=True
    ):
        nearest = _by_itk(
            stored.numpy().astype(np.int16), SPACING, prepared.shape, new, sitk.sitkNearestNeighbor
        )
        np.testing.assert_array_equal(ours.numpy()[inside], nearest[inside])
    assert prepared.labels.dtype == torch.int64


@pytest.mark.parametrize(("shape", "spacing"), [((22, 15), (0.5, 2.0)), ((22, 15, 14), SPACING)])
def test_a_ramp_stays_where_it_lies_in_millimetres(shape, spacing):
    weights = (0.3, -1.1, 0.7)[: len(shape)]
    case = _case(shape, spacing, affine=None)
    case = dataclasses.replace(case, image=torch.from_numpy(_ramp(shape, spacing, weights))[None])
    new = tuple(value * factor for value, factor in zip(spacing, (1.7, 0.6, 0.8), strict=False))
    prepared = Preprocessing(spacing=new, intensity="none").apply(case)
    expected = _ramp(prepared.shape, new, weights)
    # The mirror at the rim bends the ramp; four voxels further in the bend has faded.
    core = tuple(slice(4, -4) for _ in shape)
    np.testing.assert_allclose(prepared.image[0].numpy()[core], expected[core], atol=0.03)
    assert prepared.affine is None


@pytest.mark.parametrize(
    "options", [{"spacing": (0.7, 1.3, 2.0)}, {"crop_size": (6, 13, 5)}, {"multiple": 4}]
)
def test_the_affine_follows_the_voxels(options):
    case = _case()
    position = np.stack(
        np.meshgrid(*[np.arange(float(n)) for n in SHAPE], indexing="ij"), axis=0
    )  # of every voxel, as an image of three channels
    world = np.einsum("ij,jabc->iabc", AFFINE[:3, :3], position) + AFFINE[:3, 3, None, None, None]
    case = dataclasses.replace(case, soft=torch.from_numpy(world.astype(np.float32)))
    prepared = Preprocessing(intensity="none", **options).apply(case)
    index = np.array([side // 2 for side in prepared.shape])
    expected = (prepared.affine @ [*index, 1])[:3]
    np.testing.assert_allclose(prepared.soft.numpy()[:, *index], expected, atol=1e-4)
    lengths = np.linalg.norm(prepared.affine[:3, :3], axis=0)
    np.testing.assert_allclose(lengths, prepared.spacing, rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"spacing": SPACING},
        {"crop_size": (20, 8, 9)},
        {"multiple": 8},
        {"spacing": SPACING, "crop_size": (12, 9, 6), "multiple": 5},
    ],
)
def test_padding_alone_is_undone_to_the_bit(options):
    case = _case()
    preprocessing = Preprocessing(intensity="none", **options)
    prepared = preprocessing.apply(case)
    torch.testing.assert_close(preprocessing.restore(prepared.image, case), case.image, rtol=0, atol=0)
    torch.testing.assert_close(preprocessing.restore(prepared.soft, case), case.soft, rtol=0, atol=0)


def test_outside_the_crop_is_the_padding_value():
    case = _case()
    preprocessing = Preprocessing(intensity="none", crop_size=(5, 8, 7))
    prepared = preprocessing.apply(case)
    torch.testing.assert_close(prepared.image[:, :, :, 1:6], case.image[:, 3:8])
    assert (prepared.image[:, :, :, 0] == case.image.min()).all()
    assert (prepared.labels[..., 0] == 0).all()
    assert (prepared.soft[0, ..., 0] == 1).all()
    restored = preprocessing.restore(prepared.soft, case)
    torch.testing.assert_close(restored[:, 3:8], case.soft[:, 3:8])
    torch.testing.assert_close(restored[:, 8:], torch.tensor([1.0, 0, 0]).view(3, 1, 1, 1).expand(3, 3, 8, 5))
    signed = preprocessing.restore(prepared.soft[:2], case, kind=SIGNED)
    assert (signed[:, :3] == -1).all()


@pytest.mark.parametrize("new", NEW_SPACINGS)
def test_restoring_gives_the_native_grid_and_keeps_distributions(new):
    case = _case()
    preprocessing = Preprocessing(spacing=new, intensity="none", multiple=4)
    prepared = preprocessing.apply(case)
    restored = preprocessing.restore(prepared.soft, case)
    assert restored.shape == case.soft.shape
    torch.testing.assert_close(restored.sum(0), torch.ones(SHAPE))
    assert restored.min() >= 0


def test_a_smooth_map_survives_there_and_back():
    shape, spacing = (20, 16, 12), (1.0, 1.5, 2.0)
    bump = np.exp(-(_ramp(shape, spacing, (1, 0, 0)) ** 2 + _ramp(shape, spacing, (0, 1, 1)) ** 2) / 60)
    case = _case(shape, spacing, affine=None)
    soft = torch.from_numpy(np.stack([1 - bump, bump]).astype(np.float32))
    preprocessing = Preprocessing(spacing=(0.8, 1.2, 1.7), intensity="none", multiple=8)
    there = preprocessing.apply_soft(soft, case)
    back = preprocessing.restore(there, case)
    assert (back - soft).abs().max() < 0.05


def test_flipping_commutes_with_resampling():
    case = _case()
    flipped = dataclasses.replace(case, image=case.image.flip(1, 3))
    preprocessing = Preprocessing(spacing=(0.7, 1.3, 2.0), intensity="none")
    first, second = preprocessing.apply(flipped).image, preprocessing.apply(case).image.flip(1, 3)
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)


def test_swapping_axes_with_their_spacing_swaps_the_result():
    case = _case()
    swapped = dataclasses.replace(
        case,
        image=case.image.permute(0, 3, 1, 2),
        labels=case.labels.permute(2, 0, 1),
        labels_per_rater=None,
        soft=None,
        spacing=(SPACING[2], *SPACING[:2]),
        affine=None,
    )
    first = Preprocessing(spacing=(2.0, 0.7, 1.3)).apply(swapped)
    second = Preprocessing(spacing=(0.7, 1.3, 2.0)).apply(case)
    torch.testing.assert_close(first.image, second.image.permute(0, 3, 1, 2))
    assert torch.equal(first.labels, second.labels.permute(2, 0, 1))


@pytest.mark.parametrize("shape", [(7, 6, 1), (1, 1, 1), (1, 9)])
def test_one_slice_and_one_voxel_are_resampled(shape):
    spacing = SPACING[: len(shape)]
    case = dataclasses.replace(_case(shape, spacing, affine=None), image=torch.full((1, *shape), 3.5))
    new = tuple(value / 2 for value in spacing)
    prepared = Preprocessing(spacing=new, intensity="none").apply(case)
    assert prepared.shape == tuple(2 * side for side in shape)
    torch.testing.assert_close(prepared.image, torch.full_like(prepared.image, 3.5))
    coarse = Preprocessing(spacing=(100.0,) * len(shape), intensity="none")
    assert coarse.apply(case).shape == (1,) * len(shape)
    torch.testing.assert_close(coarse.restore(coarse.apply(case).image, case), case.image)


def test_without_changes_the_case_comes_back_bit_for_bit():
    case = _case()
    prepared = Preprocessing(intensity="none", spacing=(0.5, 2.0, 3.0000001)).apply(case)
    for name in ("image", "labels", "labels_per_rater", "soft"):
        assert torch.equal(getattr(prepared, name), getattr(case, name))
    np.testing.assert_array_equal(prepared.affine, AFFINE)
    assert prepared.spacing == case.spacing


def test_intensities_by_hand():
    image = torch.tensor([[[0.0, 0.0, 2.0, 6.0]], [[5.0, 5.0, 5.0, 5.0]]])
    by = {kind: normalised(image, intensity=kind) for kind in ("zscore", "zscore-nonzero", "minmax", "none")}
    root = 6**0.5
    torch.testing.assert_close(by["zscore"][0, 0], torch.tensor([-2.0, -2.0, 0.0, 4.0]) / root)
    torch.testing.assert_close(by["zscore-nonzero"][0, 0], torch.tensor([0.0, 0.0, -1.0, 1.0]))
    torch.testing.assert_close(by["minmax"][0, 0], torch.tensor([0.0, 0.0, 1 / 3, 1.0]))
    for kind in ("zscore", "zscore-nonzero", "minmax"):
        assert (by[kind][1] == 0).all()
    assert torch.equal(by["none"], image)
    window = normalised(image, intensity="ct", ct_window=(1.0, 5.0))
    torch.testing.assert_close(window[0, 0], torch.tensor([0.0, 0.0, 0.25, 1.0]))


@pytest.mark.parametrize("percentiles", [(0.5, 95.0), (0.0, 100.0), (25.0, 75.0)])
def test_values_are_clipped_to_the_percentiles_of_their_own_channel(percentiles):
    image = _case(channels=2).image * torch.tensor([1.0, 50.0]).reshape(2, 1, 1, 1)
    found = clipped(image, percentiles)
    for channel, source in zip(found.numpy(), image.numpy(), strict=True):
        values = np.sort(source, axis=None).astype(np.float64)
        # By the definition: the value at q (n - 1) of the sorted ones, linear between two.
        low, high = (
            np.interp(q / 100 * (values.size - 1), np.arange(values.size), values) for q in percentiles
        )
        np.testing.assert_allclose(channel, np.clip(source, low, high), rtol=1e-6)


def test_clipping_comes_before_the_intensity_step():
    image = torch.arange(11.0).reshape(1, 11, 1)
    image[0, 10] = 1000
    case = Case("x", image, None, None, (1.0, 1.0), None)
    found = Preprocessing(intensity="minmax", clip_percentiles=(10.0, 90.0)).apply(case).image.flatten()
    torch.testing.assert_close(found, (torch.arange(11.0).clamp(1, 9) - 1) / 8)


def test_percentiles_of_nonzero_intensities_leave_the_zeros():
    image = torch.tensor([[0.0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5]]).reshape(1, 11, 1)
    image = torch.cat((image, torch.zeros_like(image)))
    found = clipped(image, (25.0, 75.0), intensity="zscore-nonzero")
    assert found[0].flatten().tolist() == [0, 0, 0, 0, 0, 0, 2, 2, 3, 4, 4]
    assert torch.equal(found[1], image[1])


def test_an_axis_without_a_crop_size_keeps_its_length():
    prepared = Preprocessing(crop_size=(6, None, 9)).apply(_case())
    assert prepared.shape == prepared.labels.shape == (6, SHAPE[1], 9)
    resampled = Preprocessing(spacing=(0.5, 1.0, 3.0), crop_size=(4, None, 4)).apply(_case())
    assert resampled.shape == (4, 2 * SHAPE[1], 4)


def test_large_intensities_lose_no_digits_and_constants_become_zero():
    image = 1e6 + torch.linspace(0, 1, 1000)[None, :, None]
    scaled = normalised(image)
    assert abs(float(scaled.double().mean())) < 1e-6
    assert float(scaled.double().std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert (normalised(torch.full((1, 1000, 7), 0.1)) == 0).all()
    assert (normalised(torch.zeros(2, 3, 3), intensity="zscore-nonzero") == 0).all()


def test_padding_of_nonzero_images_is_zero():
    case = dataclasses.replace(_case(), image=torch.rand(1, *SHAPE) + 1)
    prepared = Preprocessing(intensity="zscore-nonzero", crop_size=(13, 8, 5)).apply(case)
    assert (prepared.image[:, 0] == 0).all()


def test_a_case_without_masks_is_prepared():
    case = dataclasses.replace(_case(), labels=None, labels_per_rater=None, soft=None)
    prepared = Preprocessing(spacing=(1.0, 1.0, 1.0)).apply(case)
    assert prepared.labels is None
    assert prepared.labels_per_rater is None
    assert prepared.soft is None


@pytest.mark.parametrize("percentiles", [(-1, 99), (5, 101), (50, 50), (90, 10)])
def test_impossible_percentiles_are_named(percentiles):
    with pytest.raises(ValueRangeError, match="0 <= low < high <= 100"):
        Preprocessing(clip_percentiles=percentiles)


def test_wrong_settings_are_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'zscore'"):
        Preprocessing(intensity="z-score")
    with pytest.raises(ValueRangeError, match="ct_window goes with intensity 'ct'"):
        Preprocessing(intensity="ct")
    with pytest.raises(ValueRangeError, match="first value must be below"):
        Preprocessing(intensity="ct", ct_window=(3.0, 3.0))
    with pytest.raises(ValueRangeError, match="must be finite and above 0"):
        Preprocessing(spacing=(0.0, 1.0))
    with pytest.raises(ShapeError, match="spacing has 2 values, but case x has 3 axes"):
        Preprocessing(spacing=(1.0, 1.0)).apply(_case())
    with pytest.raises(ShapeError, match="crop_size has 2 values, but case x has 3 axes"):
        Preprocessing(crop_size=(4, 4)).apply(_case())
    with pytest.raises(ShapeError, match=r"prediction has shape \(1, 2, 2, 2\): expected \(channels, "):
        Preprocessing().restore(torch.zeros(1, 2, 2, 2), _case())
    with pytest.raises(ShapeError, match="soft has shape"):
        Preprocessing().apply_soft(torch.zeros(1, 2, 2, 2), _case())
