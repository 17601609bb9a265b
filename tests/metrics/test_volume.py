import math

import numpy as np
import pytest
import torch
from scipy import stats

from sfumato.errors import ShapeError, ValueRangeError
from sfumato.metrics import (
    absolute_volume_difference,
    bland_altman,
    mean_squared_error,
    relative_volume_difference,
    volume_ml,
)


def mask_of(voxels, shape=(3, 4, 5)):
    flat = torch.zeros(math.prod(shape), dtype=torch.bool)
    flat[:voxels] = True
    return flat.reshape(1, *shape)


@pytest.mark.parametrize(
    ("predicted", "referenced", "expected"),
    [(12, 10, -0.2), (5, 10, 0.5), (0, 10, 1.0), (10, 10, 0.0), (60, 1, -59.0)],
)
def test_volume_difference_is_negative_for_over_segmentation(predicted, referenced, expected):
    pred, ref = mask_of(predicted), mask_of(referenced)
    assert float(relative_volume_difference(pred, ref, spatial_axes=3)) == pytest.approx(expected, abs=1e-15)
    assert float(absolute_volume_difference(pred, ref, spatial_axes=3)) == pytest.approx(
        abs(expected), abs=1e-15
    )


@pytest.mark.parametrize("predicted", [0, 7])
def test_volume_difference_is_undefined_for_an_empty_reference(predicted):
    assert math.isnan(float(relative_volume_difference(mask_of(predicted), mask_of(0), spatial_axes=3)))
    assert math.isnan(float(absolute_volume_difference(mask_of(predicted), mask_of(0), spatial_axes=3)))


def test_a_volume_is_voxels_times_their_size_in_millilitres():
    masks = torch.cat([mask_of(20), mask_of(0)])
    assert volume_ml(masks, spacing=(0.5, 2.0, 10.0)).tolist() == pytest.approx([0.2, 0.0])
    batch = masks[:, None]
    assert volume_ml(batch, spacing=(0.5, 2.0, 10.0)).shape == (2, 1)
    assert float(volume_ml(mask_of(6, (2, 5)), spacing=(2.0, 3.0))) == pytest.approx(0.036)


def test_volume_refuses_a_spacing_of_the_wrong_length():
    with pytest.raises(ShapeError, match="spatial axes"):
        volume_ml(torch.zeros(3, 4, dtype=torch.bool), spacing=(1.0, 1.0))
    with pytest.raises(ValueRangeError, match="above 0 mm"):
        volume_ml(torch.zeros(1, 3, 4, dtype=torch.bool), spacing=(1.0, 0.0))


def test_bland_altman_agrees_with_numpy_and_scipy():
    rng = np.random.default_rng(3)
    ref = rng.gamma(3, 10, 25)
    pred = ref * 1.1 + rng.normal(0, 2, 25)
    found = bland_altman(pred.tolist(), ref.tolist())
    gaps = pred - ref
    assert found.bias == pytest.approx(gaps.mean())
    assert found.deviation == pytest.approx(gaps.std(ddof=1))
    assert (found.lower, found.upper) == pytest.approx(
        (gaps.mean() - 1.96 * gaps.std(ddof=1), gaps.mean() + 1.96 * gaps.std(ddof=1))
    )
    assert found.correlation == pytest.approx(stats.pearsonr(pred, ref).statistic)
    assert found.cases == 25


def test_bland_altman_of_few_or_equal_cases_is_undefined_where_it_must_be():
    none, one, flat = bland_altman([], []), bland_altman([2.0], [1.0]), bland_altman([1.0, 1.0], [1.0, 2.0])
    assert math.isnan(none.bias)
    assert one.bias == 1.0
    assert math.isnan(one.upper)
    assert math.isnan(flat.correlation)
    assert flat.bias == -0.5


def test_equal_volumes_that_rounding_moves_off_their_mean_have_no_correlation():
    for count in (3, 6, 7):
        rising = [float(index) for index in range(count)]
        assert math.isnan(bland_altman([0.1] * count, rising).correlation)
        assert math.isnan(bland_altman(rising, [0.1] * count).correlation)


def test_bland_altman_refuses_unequal_lengths_and_undefined_volumes():
    with pytest.raises(ShapeError, match="predicted has 2 volumes, but reference has 1"):
        bland_altman([1.0, 2.0], [1.0])
    with pytest.raises(ValueRangeError, match="leave undefined cases out"):
        bland_altman([math.nan], [1.0])


def test_mean_squared_error_is_the_mean_over_each_region():
    rng = np.random.default_rng(1)
    pred, ref = rng.random((2, 3, 4, 5), dtype=np.float32), rng.random((2, 3, 4, 5)) < 0.5
    expected = ((pred.astype(np.float64) - ref) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(mean_squared_error(pred, ref, spatial_axes=3).numpy(), expected, rtol=1e-6)
    batched = mean_squared_error(pred[None], ref[None])
    assert batched.shape == (1, 2)
    flipped = mean_squared_error(torch.from_numpy(pred).mT, torch.from_numpy(ref).mT, spatial_axes=3)
    np.testing.assert_allclose(flipped.numpy(), expected, rtol=1e-6)


def test_mean_squared_error_of_hard_masks_is_the_share_of_wrong_voxels():
    assert float(mean_squared_error(mask_of(6), mask_of(0), spatial_axes=3)) == 0.1


def test_mean_squared_error_leaves_its_arguments_alone():
    pred, ref = torch.full((1, 3), 0.5), torch.ones(1, 3)
    mean_squared_error(pred, ref)
    assert pred.tolist() == [[0.5] * 3]
    assert ref.tolist() == [[1.0] * 3]


def test_mean_squared_error_refuses_to_broadcast():
    with pytest.raises(ShapeError, match="they must be equal"):
        mean_squared_error(torch.zeros(1, 3), torch.zeros(2, 3))
