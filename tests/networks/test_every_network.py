"""Laws that every network of the table keeps."""

import copy
import pickle

import pytest
import torch

from networks.small_networks import EVERY, SMALL
from sfumato.errors import ShapeError, UnknownNameError, ValueRangeError
from sfumato.networks import NETWORKS, build, needs_image_size, size_divisor


def test_every_network_of_the_table_is_tested_for_every_number_of_axes():
    wanted = {(name, axes) for name, row in NETWORKS.items() for axes in row.axes}
    assert {(small.name, len(small.size)) for small in SMALL} == wanted


@pytest.mark.parametrize("small", EVERY)
@pytest.mark.parametrize(("channels", "outputs"), [(1, 1), (4, 3)])
def test_output_has_the_inputs_size_and_the_asked_channels(small, channels, outputs):
    network = small.build(channels=channels, outputs=outputs).eval()
    with torch.no_grad():
        logits = network(small.image(channels=channels, batch=1))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (1, outputs, *small.size)
    assert torch.isfinite(logits).all()
    # An activation would leave no negative, or no large, value.
    assert logits.amin() < 0 or outputs == 1


@pytest.mark.parametrize("small", EVERY)
def test_two_passes_in_evaluation_are_equal_to_the_bit_and_samples_do_not_mix(small):
    network = small.build().eval()
    image = small.image()
    with torch.no_grad():
        once, again, alone = network(image), network(image), network(image[1:])
    assert torch.equal(once, again)
    torch.testing.assert_close(once[1:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("small", EVERY)
def test_a_gradient_reaches_every_parameter(small):
    network = small.build(**small.without_dropout)
    output = network(small.image())
    (output * torch.randn(output.shape)).sum().backward()
    missing = [name for name, part in network.named_parameters() if part.grad is None]
    assert missing == []
    # A bias just before a norm has a gradient of zero; a weight matrix has not.
    idle = [name for name, part in network.named_parameters() if part.ndim > 1 and not part.grad.abs().any()]
    assert idle == []


@pytest.mark.parametrize("small", EVERY)
def test_a_few_steps_lower_the_loss(small):
    network = small.build(**small.without_dropout)
    image = small.image(batch=1)
    labels = (image[:, 0] > 0).long()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(12 if image.numel() < 10_000 else 4):
        loss = torch.nn.functional.cross_entropy(network(image), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("small", EVERY)
def test_mixed_precision_gives_finite_logits(small):
    network = small.build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(small.image())
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("small", EVERY)
def test_copy_and_pickle_keep_the_check_of_the_input(small):
    network = small.build()
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        with pytest.raises(ShapeError, match="was built for 1 channels, found 2"):
            copied(small.image(channels=2))


@pytest.mark.parametrize("small", EVERY)
def test_input_of_other_axes_or_an_unsuitable_size_is_refused(small):
    network = small.build()
    with pytest.raises(ShapeError, match=f"was built for {len(small.size)} spatial axes"):
        network(torch.zeros(1, 1, *small.size, 8))
    divisor = size_divisor(small.name, small.options)
    if divisor == 1:
        return
    odd = (small.size[0] + 1, *small.size[1:])
    match = (
        "its layers depend on that size" if needs_image_size(small.name) else f"multiples of {divisor}, found"
    )
    with pytest.raises(ShapeError, match=match):
        network(torch.zeros(1, 1, *odd))
    with pytest.raises(ShapeError, match=f"image_size is .*{odd[0]}.* multiples of {divisor}"):
        build(small.name, in_channels=1, out_channels=1, image_size=odd, **small.options)


@pytest.mark.parametrize("small", [part for part in EVERY if needs_image_size(part.values[0].name)])
def test_network_of_fixed_size_wants_it_at_building_and_refuses_another(small):
    with pytest.raises(ShapeError, match="depend on the image size: give image_size"):
        build(small.name, in_channels=1, out_channels=1, axes=len(small.size), **small.options)
    twice = tuple(2 * side for side in small.size)
    with pytest.raises(ShapeError, match="cut or pad to it"):
        small.build()(torch.zeros(1, 1, *twice))


@pytest.mark.parametrize("small", EVERY)
def test_dropout_outside_its_range_is_refused(small):
    if "dropout" not in NETWORKS[small.name].options:
        with pytest.raises(UnknownNameError, match="option of network"):
            small.build(dropout=0.1)
        return
    with pytest.raises(ValueRangeError, match="dropout is 1"):
        small.build(dropout=1)


@pytest.mark.parametrize("name", ["basic-unet", "unet++3d", "unet"])
def test_image_that_shrinks_to_one_voxel_is_refused_where_a_norm_would_fail(name):
    network = build(name, in_channels=1, out_channels=1)
    side = size_divisor(name, {})
    with pytest.raises(ShapeError, match=f"to a single one.*at least one side must be {2 * side}"):
        network(torch.zeros(1, 1, side, side, side))


@pytest.mark.parametrize(
    ("name", "size"), [("unet3d", (1, 2, 1)), ("svls-unet3d", (1, 3, 2)), ("ivadomed-unet2d", (1, 5))]
)
def test_network_of_any_size_takes_very_small_images(name, size):
    network = build(name, in_channels=1, out_channels=2, image_size=size).eval()
    assert network(torch.zeros(1, 1, *size)).shape == (1, 2, *size)
