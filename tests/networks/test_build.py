"""Networks by name: shapes, errors, and that they learn."""

import inspect

import pytest
import torch

from sfumato.errors import InputError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.networks import NETWORKS, build, size_divisor

SMALL = {"channels": [4, 8, 8], "res_units": 1}


@pytest.mark.parametrize("size", [(8, 12), (8, 4, 12)])
@pytest.mark.parametrize("channels", [(1, 2), (3, 4)])
def test_output_has_the_inputs_size_and_the_asked_channels(size, channels):
    network = build("unet", in_channels=channels[0], out_channels=channels[1], image_size=size, **SMALL)
    assert network(torch.randn(2, channels[0], *size)).shape == (2, channels[1], *size)


def test_same_seed_gives_the_same_weights():
    outputs = []
    for _ in range(2):
        torch.manual_seed(3)
        outputs.append(build("unet", in_channels=1, out_channels=2, axes=2, **SMALL)(torch.ones(1, 1, 8, 8)))
    assert torch.equal(*outputs)


def test_a_few_steps_lower_the_loss():
    torch.manual_seed(0)
    network = build("unet", in_channels=1, out_channels=2, axes=2, **SMALL)
    image = torch.randn(2, 1, 8, 12)
    labels = (image[:, 0] > 0).long()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(network(image), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_divisor_follows_the_number_of_levels():
    assert size_divisor("unet", SMALL) == 4
    assert size_divisor("unet", {}) == 8


def test_unknown_network_and_option_are_suggested():
    with pytest.raises(UnknownNameError, match=r"unknown network 'u-net'. Did you mean 'unet'\?"):
        build("u-net", in_channels=1, out_channels=2)
    with pytest.raises(UnknownNameError, match=r"'dropuot'. Did you mean 'dropout'\?"):
        build("unet", in_channels=1, out_channels=2, dropuot=0.1)


def test_network_that_does_not_exist_in_2d_names_those_that_do():
    with pytest.raises(
        ShapeError, match=r"'unet3d' has 3 spatial axes, not 2; with 2 there are basic-unet, iva"
    ):
        build("unet3d", in_channels=1, out_channels=2, image_size=(16, 16))
    with pytest.raises(ShapeError, match=r"'ivadomed-unet2d' has 2 spatial axes, not 3"):
        build("ivadomed-unet2d", in_channels=1, out_channels=2, axes=3)


def test_every_network_stands_at_the_end_of_a_file_of_its_own():
    assert len(NETWORKS) == 12
    files = {inspect.getfile(network.builder) for network in NETWORKS.values()}
    assert len(files) == len(NETWORKS)
    assert all(network.name == name for name, network in NETWORKS.items())


def test_axes_of_a_network_that_has_one_number_need_not_be_given():
    assert build("ivadomed-unet2d", in_channels=1, out_channels=2, depth=1, filters=2)(
        torch.zeros(1, 1, 4, 5)
    ).shape == (1, 2, 4, 5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("basic-unet", {"channels": [8, 8, 8]}, "give 6 whole numbers"),
        ("basic-unet", {"channels": [8] * 7}, "give 6 whole numbers"),
        ("unet++3d", {"channels": [8] * 7}, "give 6 whole numbers"),
        ("unet3d", {"groups": 0}, "groups is 0"),
        ("svls-unet3d", {"channels": [8]}, "at least 2"),
        ("ivadomed-unet2d", {"depth": 0}, "depth is 0"),
        ("ivadomed-unet2d", {"norm_momentum": 1.5}, "norm_momentum is 1.5"),
        ("segresnet", {"filters": 12}, "a multiple of 8"),
        ("segresnet", {"blocks_up": [1]}, "blocks_up has 1 entries, but 4 levels down need 3"),
        ("unetr", {"heads": 7}, "7 attention heads cannot share"),
        ("swin-unetr", {"depths": [1, 1, 1]}, "give 4 whole numbers"),
        ("swin-unetr", {"filters": 16}, "a multiple of 12"),
        ("swin-unetr", {"merging": "old"}, "unknown merging 'old'"),
        ("transbts", {"filters": 12}, "a multiple of 8"),
        ("transbts", {"layers": 0}, "layers is 0"),
        ("transbts", {"stem_dropout": -0.1}, "stem_dropout is -0.1"),
        ("nestedformer", {"channels": [8] * 4}, "give 5 whole numbers"),
        ("nestedformer", {"channels": [8] * 6}, "give 5 whole numbers"),
        ("nestedformer", {"tokens": 0}, "tokens is 0"),
        ("nestedformer", {"heads": 3}, "3 attention heads cannot share"),
        ("eoformer", {"channels": [8, 8]}, "at least 3"),
        ("eoformer", {"channels": [8, 8, 40]}, "multiples of 32"),
    ],
)
def test_option_out_of_range_is_named(name, options, message):
    size = (32, 32) if name == "ivadomed-unet2d" else (32, 32, 64)
    with pytest.raises(InputError, match=message):
        build(name, in_channels=1, out_channels=1, image_size=size, **options)


def test_size_that_does_not_suit_the_network_is_refused():
    with pytest.raises(ShapeError, match=r"\(8, 9, 8\).*multiples of 4"):
        build("unet", in_channels=1, out_channels=2, image_size=(8, 9, 8), **SMALL)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"in_channels": 0, "out_channels": 2}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "axes": 4}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "axes": 1}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 0}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "channels": [8]}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "channels": [8, 0]}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "channels": 8}, InputError),
        ({"in_channels": 1, "out_channels": 2, "dropout": 1.0}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "norm": "no such norm"}, InputError),
    ],
)
def test_impossible_argument_is_refused(arguments, error):
    with pytest.raises(error):
        build("unet", **arguments)
