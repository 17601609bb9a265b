import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import slic

from sfumato.errors import ShapeError, UnknownNameError, ValueRangeError
from sfumato.labels import superpixel
from sfumato.labels.superpixel import box_around, superpixel_shares, superpixels
from strategies import label_maps, seeds


@settings(max_examples=30)
@given(label_maps(max_side=4), seeds, st.sampled_from(("half", "fraction")), st.sampled_from((0.0, 1.0, 3.0)))
def test_it_is_its_definition_voxel_by_voxel(case, seed, at_boundary, beta):
    labels, num_classes, spacing = case
    image = torch.randn(2, *labels.shape, generator=torch.Generator().manual_seed(seed))
    masks = torch.stack([labels >= k for k in range(1, num_classes)])
    found = superpixel(
        masks,
        image,
        spacing=spacing,
        superpixel_voxels=6,
        width_mm=2.0,
        at_boundary=at_boundary,
        beta=beta,
    )
    scaled = torch.stack([(one - one.min()) / (one.max() - one.min()).clamp_min(1e-30) for one in image])
    numbers = np.full(labels.shape, -1)
    bounded = [mask for mask in masks if mask.any() and not mask.all()]
    if bounded:
        box = box_around(torch.stack(bounded).any(0), 6)
        numbers[box] = superpixels(scaled[(slice(None), *box)], spacing, 6, 0.1)
    for mask, each in zip(masks.numpy(), found, strict=True):
        expected = mask.astype(float)
        distance = sum(ndimage.distance_transform_edt(side, sampling=spacing) for side in (mask, ~mask))
        for voxel in np.ndindex(*mask.shape):
            share = mask[numbers == numbers[voxel]].mean()
            if 0 < share < 1 and numbers[voxel] >= 0:
                certain = distance[voxel] / (distance[voxel] + 2.0)
                near = 0.5 if at_boundary == "half" else share
                soft = certain * mask[voxel] + (1 - certain) * near
                expected[voxel] = (mask[voxel] + beta * soft) / (1 + beta)
        torch.testing.assert_close(each, torch.from_numpy(expected).float())


@settings(max_examples=30)
@given(label_maps(), seeds)
def test_thresholding_at_a_half_gives_the_regions_back(case, seed):
    labels, num_classes, spacing = case
    image = torch.randn(labels.shape, generator=torch.Generator().manual_seed(seed))
    masks = torch.stack([labels == k for k in range(num_classes)])
    found = superpixel(masks, image, spacing=spacing, superpixel_voxels=8, beta=1e6)
    assert torch.equal(found > 0.5, masks)
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_published_formula_by_hand():
    # One superpixel: everything straddles the boundary between voxels 1 and 2.
    mask = torch.tensor([[[1, 1, 0, 0, 0]]])
    image = torch.zeros(1, 1, 5)
    found = superpixel(mask, image, spacing=(1.0, 1.0), superpixel_voxels=5, beta=1e12)
    signed = torch.tensor([2.0, 1.0, -1.0, -2.0, -3.0])
    torch.testing.assert_close(found[0, 0], (1 + signed / (1 + signed.abs())) / 2)


def test_a_boundary_that_the_superpixels_follow_stays_hard():
    image = torch.zeros(1, 24, 20)
    image[:, :12] = 1.0
    follows = image > 0.5
    found = superpixel(follows, image, spacing=(1.0, 1.0), superpixel_voxels=40, compactness=1e-3)
    assert torch.equal(found, follows.float())
    across = torch.zeros_like(follows)
    across[:, :14] = True
    soft = superpixel(across, image, spacing=(1.0, 1.0), superpixel_voxels=40, compactness=1e-3)
    assert ((soft > 0) & (soft < 1)).any()


def test_superpixels_hold_about_as_many_voxels_as_asked_for_in_2d_and_3d():
    for shape, spacing in (((60, 50), (1.0, 1.0)), ((20, 24, 16), (2.0, 1.0, 1.0))):
        image = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
        numbers = superpixels(image, spacing, 60, 1.0)
        assert numbers.shape == shape
        assert 0.5 < image[0].numel() / len(numbers.unique()) / 60 < 2


def test_superpixels_are_those_of_scikit_image_with_closeness_in_millimetres():
    image = torch.rand(2, 9, 20, 24, generator=torch.Generator().manual_seed(0))
    spacing = (6.0, 1.0, 1.0)
    options = {"n_segments": 43, "compactness": 0.5, "convert2lab": False, "start_label": 0}
    expected = slic(image.movedim(0, -1).double().numpy(), spacing=spacing, **options)
    assert np.array_equal(superpixels(image, spacing, 100, 0.5), expected)
    assert not np.array_equal(superpixels(image, (1.0, 1.0, 1.0), 100, 0.5), expected)


def test_the_box_reaches_two_superpixels_beyond_the_mask():
    mask = torch.zeros(50, 60, dtype=torch.bool)
    mask[28:30, 3] = True
    assert box_around(mask, 100) == (slice(8, 50), slice(0, 24))
    assert box_around(torch.ones(3, 4, 5, dtype=torch.bool), 27) == (slice(0, 9), slice(0, 10), slice(0, 11))


def test_a_region_far_from_the_border_of_the_image_is_softened_near_it_alone():
    image = torch.rand(1, 60, 70, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 60, 70, dtype=torch.bool)
    mask[0, 25:35, 25:32] = True
    mask[1] = True
    found = superpixel(mask, image, spacing=(1.0, 1.0), superpixel_voxels=16)
    doubtful = ((found > 0) & (found < 1))[0].nonzero()
    assert len(doubtful) > 20
    assert doubtful.amin() > 25 - 12
    assert (found[1] == 1).all()


def test_shares_are_exact_where_a_superpixel_lies_on_one_side():
    numbers = torch.tensor([[0, 0, 1, 1, 2, 2, 2]])
    masks = torch.tensor([[[0, 0, 1, 0, 1, 1, 1]], [[0, 0, 0, 0, 0, 0, 1]]]).bool()
    expected = torch.tensor([[[0, 0, 0.5, 0.5, 1, 1, 1]], [[0, 0, 0, 0, 1 / 3, 1 / 3, 1 / 3]]])
    torch.testing.assert_close(superpixel_shares(masks, numbers), expected)


def test_empty_and_full_regions_stay_as_they_are_and_no_superpixel_is_computed():
    image = torch.rand(1, 5, 6)
    masks = torch.stack([torch.zeros(5, 6), torch.ones(5, 6)]).bool()
    assert torch.equal(superpixel(masks, image, spacing=(1.0, 1.0)), masks.float())


def test_what_does_not_fit_is_named():
    mask, image = torch.ones(1, 3, 4), torch.zeros(1, 3, 4)
    with pytest.raises(UnknownNameError, match="Known: half, fraction"):
        superpixel(mask, image, spacing=(1.0, 1.0), at_boundary="middle")
    with pytest.raises(ShapeError, match=r"image has shape \(3, 5\)"):
        superpixel(mask, torch.zeros(1, 3, 5), spacing=(1.0, 1.0))
    for option in ({"superpixel_voxels": 0}, {"compactness": 0.0}, {"width_mm": 0.0}, {"beta": -1.0}):
        with pytest.raises(ValueRangeError, match=f"{next(iter(option))} is"):
            superpixel(mask, image, spacing=(1.0, 1.0), **option)
