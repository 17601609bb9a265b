"""Every network takes the sizes that it names, and refuses the others before a layer stumbles over them."""

import pytest
import torch

from networks.small_networks import EVERY, SMALL, Small
from sfumato.errors import ShapeError
from sfumato.networks import NETWORKS, build, size_divisor


def divisor_of(small):
    return size_divisor(small.name, small.options)


def smallest(small):
    """Sides of one divisor; where a single voxel at the bottom cannot be scaled, the last one of two."""
    divisor = divisor_of(small)
    last = 2 * divisor if NETWORKS[small.name].norm_at_bottom else divisor
    return (*[divisor] * (len(small.size) - 1), last)


def of_size(small, size):
    return Small(small.name, size, small.options)


@pytest.mark.parametrize("small", EVERY)
def test_the_smallest_size_of_a_network_goes_through_it(small):
    least = of_size(small, smallest(small))
    with torch.no_grad():
        assert least.build()(least.image()).shape == (2, 2, *least.size)


@pytest.mark.parametrize("small", EVERY)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_odd_multiple_of_the_divisor_goes_through_along_any_axis(small, axis):
    if axis >= len(small.size):
        return
    size = list(smallest(small))
    size[axis] = 3 * divisor_of(small)
    larger = of_size(small, tuple(size))
    with torch.no_grad():
        assert larger.build()(larger.image()).shape == (2, 2, *size)


@pytest.mark.parametrize("small", [small for small in EVERY if divisor_of(small.values[0]) > 1])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_side_beside_a_multiple_is_refused_with_the_number_when_the_network_is_built(small, off):
    divisor = divisor_of(small)
    for axis in range(len(small.size)):
        size = [2 * divisor] * len(small.size)
        size[axis] += off
        with pytest.raises(ShapeError, match=rf"multiples of {divisor}$"):
            of_size(small, tuple(size)).build()


@pytest.mark.parametrize(
    "name", [pytest.param(small.name, id=small.name) for small in SMALL if len(small.size) == 3]
)
def test_the_default_networks_divisor_is_what_its_layers_need(name):
    divisor = size_divisor(name, {})
    expected = {"unet": 8, "segresnet": 8, "transbts": 8, "swin-unetr": 32, "nestedformer": 32}
    assert divisor == expected.get(name, 1 if name in ("unet3d", "svls-unet3d") else 16)


def test_a_size_that_shrinks_to_one_voxel_is_refused_when_the_network_is_built():
    with pytest.raises(ShapeError, match=r"'unet' shrinks \(4, 4\) voxels to a single one.* 8 or more"):
        build("unet", in_channels=1, out_channels=2, image_size=(4, 4), channels=[4, 8, 8], res_units=1)


def test_eoformer_halves_the_grid_once_per_level():
    with pytest.raises(ShapeError, match=r"\(24, 24, 24\).*multiples of 16$"):
        build("eoformer", in_channels=2, out_channels=3, image_size=(24, 24, 24))
    network = build("eoformer", in_channels=2, out_channels=3, channels=[8, 8, 32], last_filters=4)
    with pytest.raises(ShapeError, match=r"multiples of 8, found \(12, 16, 16\)"):
        network(torch.zeros(1, 2, 12, 16, 16))
