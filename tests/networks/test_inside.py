"""What happens inside the networks that are written here, against slow definitions."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from sfumato.networks import build
from sfumato.networks.attention import AttentionShape, DropPath, SelfAttention, channel_norm
from sfumato.networks.concatenating import halved
from sfumato.networks.eoformer import LinearAttention
from sfumato.networks.eoformer_edges import EdgeConv3d, laplace_filter, sobel_filters
from sfumato.networks.nestedformer_encoder import GlobalPool
from sfumato.networks.nestedformer_fusion import TriOrientedLayer, WindowAttention
from sfumato.networks.transbts import TransBTS, Transformer

SHAPE = AttentionShape(width=8, heads=2, mlp_width=12, dropout=0.0)


def attention_by_definition(layer, tokens, bias):
    """One token and one head at a time."""
    width = tokens.shape[-1]
    head = width // layer.heads
    weight = layer.queries_keys_values.weight
    queries, keys, values = (tokens @ weight[part * width : (part + 1) * width].T for part in range(3))
    mixed = torch.zeros_like(tokens)
    for start in range(0, width, head):
        span = slice(start, start + head)
        for place in range(len(tokens)):
            scores = keys[:, span] @ queries[place, span] / head**0.5 + bias[place]
            mixed[place, span] = scores.softmax(0) @ values[:, span]
    return layer.projection(mixed)


def test_self_attention_is_its_definition():
    torch.manual_seed(0)
    layer, tokens, bias = SelfAttention(SHAPE).eval(), torch.randn(1, 5, 8), torch.randn(5, 5)
    torch.testing.assert_close(layer(tokens, bias)[0], attention_by_definition(layer, tokens[0], bias))


def test_window_attention_sees_its_window_and_one_bias_per_relative_position():
    torch.manual_seed(0)
    window = (1, 2, 3)
    layer = WindowAttention(SHAPE, window).eval()
    nn.init.normal_(layer.bias)
    voxels = torch.randn(1, 2, 4, 6, 8)
    seen = layer(voxels)
    cube = layer.bias.view(5, 5, 5)
    points = list(itertools.product(range(1), range(2), range(3)))
    bias = torch.stack(
        [
            torch.stack([cube[a[0] - b[0] + 2, a[1] - b[1] + 2, a[2] - b[2] + 2] for b in points])
            for a in points
        ]
    )
    for i, j, k in itertools.product(range(2), range(2), range(2)):
        box = (0, slice(i, i + 1), slice(2 * j, 2 * j + 2), slice(3 * k, 3 * k + 3))
        wanted = attention_by_definition(layer.attention, voxels[box].reshape(6, 8), bias)
        torch.testing.assert_close(seen[box].reshape(6, 8), wanted)


def test_tri_oriented_lines_and_planes_lie_where_they_say():
    torch.manual_seed(0)
    layer = TriOrientedLayer(SHAPE, (2, 2, 4)).eval()
    voxels = torch.randn(1, 2, 2, 4, 8, requires_grad=True)
    seen = {}

    def keep(name):
        return lambda module, given, result: seen.update({name: (given[0], result)})

    layer.vertical.register_forward_hook(keep("vertical"))
    layer.horizontal.register_forward_hook(keep("horizontal"))
    layer(voxels)
    normed = layer.line_norm(voxels)
    lines, planes = seen["vertical"][0], seen["horizontal"][0]
    assert torch.equal(lines[3], normed[0, 1, 1])
    assert torch.equal(planes[2], normed[0, :, :, 2].reshape(4, 8))
    # With the other branches still, the layer adds a line's and a plane's result to the voxel they belong to.
    for part in (layer.line_mlp, layer.window_mlp, layer.windowed):
        for weight in part.parameters():
            nn.init.zeros_(weight)
    wanted = voxels[0, 1, 0, 2] + seen["vertical"][1][2, 2] + seen["horizontal"][1][2].view(2, 2, 8)[1, 0]
    torch.testing.assert_close(layer(voxels)[0, 1, 0, 2], wanted)


def test_global_pool_spreads_the_mean():
    layer, features = GlobalPool((2, 3, 1)), torch.randn(2, 4, 2, 3, 1)
    seen = layer(features)
    wanted = features[1, 2].mean() * layer.spread.weight.view(2, 3) + layer.spread.bias.view(2, 3)
    torch.testing.assert_close(seen[1, 2, :, :, 0], wanted)


def test_linear_attention_is_its_definition():
    torch.manual_seed(0)
    layer, features = LinearAttention(8, 2), torch.randn(2, 8, 2, 1, 3)
    tokens = features.flatten(2).transpose(1, 2)
    queries, keys, values = layer.queries_keys_values(tokens).split(8, dim=-1)
    mixed = torch.zeros(2, 6, 8)
    for sample, head, place in itertools.product(range(2), range(2), range(6)):
        span = slice(4 * head, 4 * head + 4)
        # The slow way: the weight that this voxel gives to every other one, then their mean.
        weights = keys[sample, :, span].softmax(0) @ queries[sample, place, span].softmax(0)
        mixed[sample, place, span] = weights @ values[sample, :, span]
    wanted = layer.projection(mixed).transpose(1, 2).reshape(features.shape)
    torch.testing.assert_close(layer(features), wanted)


@pytest.mark.parametrize("filters", [sobel_filters(), laplace_filter()], ids=["sobel", "laplace"])
def test_folded_edge_convolution_is_the_sum_of_its_branches(filters):
    torch.manual_seed(0)
    layer = EdgeConv3d(3, filters)
    nn.init.normal_(layer.scale)
    features = torch.randn(2, 3, 4, 5, 3)
    wanted = layer.direct(features)
    for fixed, mixing, scale in zip(filters, layer.mixing, layer.scale, strict=True):
        mixed = torch.einsum("oi,bixyz->boxyz", mixing, features)
        edges = functional.conv3d(mixed, fixed.expand(3, 1, 3, 3, 3), padding=1, groups=3)
        wanted = wanted + scale.view(1, 3, 1, 1, 1) * edges
    torch.testing.assert_close(layer(features), wanted)


def test_edge_filters_give_slope_and_curvature():
    axes = torch.meshgrid(*(torch.arange(3.0) for _ in range(3)), indexing="ij")
    for axis, fixed in enumerate(sobel_filters()):
        # Smoothing by 1, 2, 1 along two axes weighs 16, and the slope spans two voxels.
        seen = [float((fixed * ramp).sum()) for ramp in axes]
        assert seen == [-32.0 if other == axis else 0.0 for other in range(3)]
    square = sum(ramp**2 for ramp in axes)
    assert float((laplace_filter()[0] * square).sum()) == 6.0
    assert float(laplace_filter().sum()) == 0.0


def test_channel_norm_is_layer_norm_of_every_voxel():
    features, weight = torch.randn(2, 5, 3, 4), torch.randn(5)
    seen = channel_norm(features, weight)[1, :, 2, 3]
    wanted = functional.layer_norm(features[1, :, 2, 3], (5,), weight)
    torch.testing.assert_close(seen, wanted)


def test_dropped_paths_are_whole_samples_and_keep_the_mean():
    torch.manual_seed(0)
    layer = DropPath(0.25)
    seen = layer(torch.ones(4000, 2, 3))
    assert seen.unique().tolist() == pytest.approx([0, 4 / 3])
    assert torch.equal(seen.amin(dim=(1, 2)), seen.amax(dim=(1, 2)))
    assert abs(float(seen.mean()) - 1) < 0.04
    assert torch.equal(layer.eval()(torch.ones(3, 2)), torch.ones(3, 2))


def test_pooling_halves_long_axes_and_keeps_single_voxels():
    features = torch.arange(10.0).view(1, 1, 1, 5, 2)
    assert halved(features).flatten().tolist() == [3.0, 7.0]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("unet3d", [nn.GroupNorm, nn.Conv3d, nn.ReLU]),
        ("svls-unet3d", [nn.Conv3d, nn.ReLU, nn.GroupNorm]),
        ("ivadomed-unet2d", [nn.Conv2d, nn.ReLU, nn.BatchNorm2d, nn.Dropout2d]),
    ],
)
def test_layers_come_in_the_published_order(name, order):
    network = build(name, in_channels=1, out_channels=2)
    for block in (*network.encoder, *network.decoder):
        assert [type(part) for part in block] == 2 * order


def test_norms_have_the_published_groups_momentum_and_dropout():
    groups = [
        part.num_groups
        for part in build("unet3d", in_channels=3, out_channels=2).modules()
        if isinstance(part, nn.GroupNorm)
    ]
    assert groups == [1] + [8] * 13
    slices = build("ivadomed-unet2d", in_channels=1, out_channels=2, norm_momentum=0.9)
    parts = list(slices.modules())
    assert {part.momentum for part in parts if isinstance(part, nn.BatchNorm2d)} == {0.9}
    assert {part.p for part in parts if isinstance(part, nn.Dropout2d)} == {0.3}


def test_momentum_is_the_weight_of_the_newest_batch_as_softseg_trained():
    torch.manual_seed(0)
    network = build("ivadomed-unet2d", in_channels=1, out_channels=1, depth=1, filters=2, norm_momentum=0.9)
    convolution, relu, norm = network.encoder[0][:3]
    expected = torch.zeros(2)
    for _ in range(3):
        image = torch.randn(4, 1, 9, 7) + 5
        expected = 0.1 * expected + 0.9 * relu(convolution(image)).mean(dim=(0, 2, 3))
        network(image)
    torch.testing.assert_close(norm.running_mean, expected)


def test_ivadomed_unet2d_drops_whole_channels():
    torch.manual_seed(0)
    network = build("ivadomed-unet2d", in_channels=1, out_channels=1, depth=1, filters=32, dropout=0.5)
    features = network.encoder[0](torch.randn(2, 1, 9, 7)).flatten(2)
    dropped = (features == 0).float().mean(dim=2)
    assert set(dropped.unique().tolist()) == {0.0, 1.0}


def test_transbts_is_deterministic_in_evaluation_but_drops_channels_in_training():
    torch.manual_seed(0)
    transformer = Transformer(SHAPE, tokens=2, layers=1)
    network = TransBTS(1, 1, (8, 8, 8, 8), transformer, stem_dropout=0.5)
    image = torch.randn(2, 1, 8, 8, 16)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_published_merging_takes_two_voxels_twice():
    from sfumato.networks.swin_unetr import PublishedMerging

    layer = PublishedMerging(1)
    with torch.no_grad():
        layer.reduction.weight.copy_(torch.eye(2, 8))
    layer.norm = nn.Identity()
    layer.reduction = nn.Identity()
    block = torch.arange(8.0).view(1, 2, 2, 2, 1)
    assert layer(block).flatten().tolist() == [0, 4, 2, 1, 5, 2, 1, 7]


def test_merging_changes_the_function_and_not_the_number_of_weights():
    options = {"filters": 12, "depths": [1, 1, 1, 1], "heads": [1, 1, 1, 1], "window": 2, "dropout": 0.0}
    size = (32, 32, 64)
    networks = [
        build("swin-unetr", in_channels=1, out_channels=1, image_size=size, merging=merging, **options).eval()
        for merging in ("all", "published")
    ]
    networks[1].load_state_dict(networks[0].state_dict())
    image = torch.randn(1, 1, *size)
    with torch.no_grad():
        every, published = (network(image) for network in networks)
    assert not torch.allclose(every, published)
