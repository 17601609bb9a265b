import pytest
import torch

from sfumato.errors import ShapeError, ValueRangeError
from sfumato.labels.intensity import channel_groups, scaled_image
from sfumato.labels.kernels.zscore import zscored


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_each_channel_has_its_own_scale():
    image = torch.stack([torch.arange(12.0).reshape(3, 4), 100 - 5 * torch.arange(12.0).reshape(3, 4)])
    unit = scaled_image(image, spacing=(1.0, 1.0), intensity="unit")
    assert unit.flatten(1).min(1).values.tolist() == [0, 0]
    assert unit.flatten(1).max(1).values.tolist() == [1, 1]
    zscore = scaled_image(image, spacing=(1.0, 1.0), intensity="zscore")
    torch.testing.assert_close(zscore.flatten(1).mean(1), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(zscore.flatten(1).std(1, unbiased=False), torch.ones(2))
    assert torch.equal(scaled_image(image, spacing=(1.0, 1.0), intensity="raw"), image)


@pytest.mark.parametrize("intensity", ["unit", "zscore"])
def test_a_constant_channel_becomes_zero(intensity):
    # So many voxels that the mean of 0.3 is not 0.3: the deviation is rounding noise, but above 0.
    image = torch.full((2, 37, 41), 0.3, dtype=torch.float64)
    assert image[0].std(unbiased=False) > 0
    image[1, 0, 0] = 7
    scaled = scaled_image(image, spacing=(1.0, 1.0), intensity=intensity)
    assert scaled[0].abs().max() == 0
    assert scaled[1].abs().max() > 0


def test_memory_order_changes_nothing():
    image = torch.randn(1, 40, 50, 30, generator=torch.Generator().manual_seed(0)) * 1000
    turned = image.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    for intensity in ("unit", "zscore"):
        one, two = (scaled_image(each, spacing=(1.0,) * 3, intensity=intensity) for each in (image, turned))
        assert torch.equal(one, two)


def test_an_image_without_a_channel_axis_gets_one():
    assert scaled_image(torch.ones(3, 4), spacing=(1.0, 1.0), intensity="raw").shape == (1, 3, 4)


def test_joint_is_one_group_and_per_channel_one_each():
    image = torch.randn(3, 4, 5)
    assert [len(group) for group in channel_groups(image, "joint")] == [3]
    groups = channel_groups(image, "per-channel")
    assert torch.equal(torch.cat(groups), image)
    assert len(groups) == 3


def test_unfit_images_are_named():
    with pytest.raises(ShapeError, match="image has 4 axes"):
        scaled_image(torch.ones(2, 2, 2, 2), spacing=(1.0, 1.0), intensity="raw")
    with pytest.raises(ValueRangeError, match="1 NaN or infinite"):
        scaled_image(torch.tensor([[1.0, float("nan")]]), spacing=(1.0, 1.0), intensity="raw")


def test_float32_and_float64_images_have_the_same_zscore_for_any_number_of_threads():
    # More values than one partial sum holds, and a remainder.
    image = torch.randn(2, 70, 801, generator=torch.Generator().manual_seed(1)) * 3 + 1000
    expected = scaled_image(image.double(), spacing=(1.0, 1.0), intensity="zscore")
    torch.testing.assert_close(
        scaled_image(image, spacing=(1.0, 1.0), intensity="zscore"), expected, atol=1e-7, rtol=1e-6
    )
    one, two = (zscored(image[0].numpy(), threads) for threads in (1, 2))
    assert (one == two).all()
    image[1, 3, 3] = float("inf")
    with pytest.raises(ValueRangeError, match="1 NaN or infinite"):
        scaled_image(image, spacing=(1.0, 1.0), intensity="zscore")


@pytest.mark.parametrize("first", [1e7, -3e9])
def test_neither_a_large_offset_nor_the_first_value_costs_the_zscore_digits(first):
    image = torch.randn(1, 90, 801, generator=torch.Generator().manual_seed(1)) * 9 + 1e7
    image[0, 0, 0] = first
    expected = scaled_image(image.double(), spacing=(1.0, 1.0), intensity="zscore")
    found = scaled_image(image, spacing=(1.0, 1.0), intensity="zscore")
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-6)
