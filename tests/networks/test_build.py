"""Networks by name: shapes, errors, and that they learn."""

import pytest
import torch

from sfumato.errors import InputError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.networks import build, size_divisor

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


def test_size_that_does_not_suit_the_network_is_refused():
    with pytest.raises(ShapeError, match=r"\(8, 9, 8\).*multiple of 4"):
        build("unet", in_channels=1, out_channels=2, image_size=(8, 9, 8), **SMALL)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"in_channels": 0, "out_channels": 2}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "axes": 4}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "channels": [8]}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "dropout": 1.0}, ValueRangeError),
        ({"in_channels": 1, "out_channels": 2, "norm": "no such norm"}, InputError),
    ],
)
def test_impossible_argument_is_refused(arguments, error):
    with pytest.raises(error):
        build("unet", **arguments)
