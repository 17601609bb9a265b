import pickle

import pytest
import torch

from sfumato import labels as transforms
from sfumato.errors import InputError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.methods import METHODS, method

NAMES = [
    *("ce", "dice-ce", "focal", "ls", "svls", "moh", "msvls", "geols", "singr", "softseg"),
    *("hard-sig-dice", "hard-relu-wing", "soft-sig-wing", "soft-relu-dice"),
]
CASES = [((9, 12), (1.0, 0.5)), ((6, 7, 8), (1.0, 2.0, 0.7)), ((1, 7, 8), (5.0, 1.0, 1.0))]


def case_of(shape, *, classes=4, seed=0):
    """Labels 0, 1 and 2 of four classes: the case lacks class 3."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(shape, dtype=torch.int64)
    labels[..., 2:5, 3:7] = 1
    labels[..., 0:2, 0:2] = 2
    return labels, torch.randn(2, *shape, generator=generator)


def test_the_table_has_exactly_these_names_in_this_order():
    assert list(METHODS) == NAMES
    assert all(method(name).name == name for name in NAMES)


def test_the_parts_are_those_of_the_papers():
    parts = {name: (each.label, each.activation, each.loss, each.decoder) for name, each in METHODS.items()}
    entropy = ("softmax", "soft cross-entropy", "argmax")
    assert parts == {
        "ce": ("one-hot", *entropy),
        "dice-ce": ("one-hot", "softmax", "Dice + cross-entropy", "argmax"),
        "focal": ("one-hot", "softmax", "focal", "argmax"),
        "ls": ("uniform", *entropy),
        "svls": ("SVLS", *entropy),
        "moh": ("mean one-hot", *entropy),
        "msvls": ("mean SVLS", *entropy),
        "geols": ("geodesic", *entropy),
        "singr": ("SiNG", "tanh", "Focal-L1", "zero"),
        "softseg": ("interpolated mask", "norm_relu", "Adaptive Wing", "tuned"),
        "hard-sig-dice": ("binarised mask", "sigmoid", "Dice", "tuned"),
        "hard-relu-wing": ("binarised mask", "norm_relu", "Adaptive Wing", "tuned"),
        "soft-sig-wing": ("interpolated mask", "sigmoid", "Adaptive Wing", "tuned"),
        "soft-relu-dice": ("interpolated mask", "norm_relu", "Dice", "tuned"),
    }
    assert {name for name, each in METHODS.items() if each.binarise} == {"hard-sig-dice", "hard-relu-wing"}
    moved = {"softseg", "hard-sig-dice", "hard-relu-wing", "soft-sig-wing", "soft-relu-dice"}
    assert {name for name, each in METHODS.items() if each.moves_mask} == moved
    assert {name for name, each in METHODS.items() if each.needs_image} == {"geols", "singr"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_every_method_trains_and_decodes_on_a_case_that_lacks_a_class(name, shape, spacing):
    each = method(name)
    labels, image = case_of(shape)
    target = each.target(labels, image, num_classes=4, spacing=spacing)
    channels = each.channels(4)
    assert target.shape == (channels, *shape)
    assert target.dtype == torch.float32
    assert torch.isfinite(target).all()
    generator = torch.Generator().manual_seed(1)
    # Free logits below 0 would stay there under NormReLU, without a network that shares its weights.
    logits = (torch.rand(1, channels, *shape, generator=generator) + 0.5).requires_grad_()
    loss, losses = each.make_loss(), []
    optimiser = torch.optim.Adam([logits], lr=0.1)
    for _ in range(80):
        optimiser.zero_grad()
        value = loss(logits, target[None])
        value.backward()
        assert torch.isfinite(logits.grad).all()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    prediction = each.activate(logits.detach())
    decoded = each.decode(prediction[0])
    assert decoded.shape == labels.shape
    assert decoded.dtype == torch.int64
    regions = each.decode_regions(prediction[0])
    assert regions.shape == (3, *shape)
    assert regions.dtype == torch.bool
    for index in (1, 2):
        assert (regions[index - 1] == (labels == index)).float().mean() > 0.95
    # NormReLU and Dice alone hardly push an absent class down; the other methods learn that it is absent.
    if each.activation != "norm_relu" and each.loss != "Dice":
        assert (decoded == labels).float().mean() > 0.95
    probs = each.probabilities(prediction, batched=True)
    assert probs.shape == (1, 4, *shape)
    torch.testing.assert_close(probs.sum(1), torch.ones(1, *shape))


@pytest.mark.parametrize("name", NAMES)
def test_the_target_decodes_to_the_labels(name):
    labels, image = case_of((7, 8, 9))
    each = method(name)
    target = each.target(labels, image, num_classes=3, spacing=(1.0, 1.0, 2.0))
    assert torch.equal(each.decode(target), labels)
    masks = torch.stack([labels == 1, labels == 2])
    assert torch.equal(each.decode_regions(target), masks)


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_the_target_of_pure_background(name):
    each = method(name)
    image = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(0))
    background = each.target(torch.zeros(4, 5, dtype=torch.int64), image, num_classes=3, spacing=(1.0, 1.0))
    first, rest = each.padding
    expected = torch.full_like(background, rest)
    expected[0] = first
    if name == "ls":
        assert (background.argmax(0) == expected.argmax(0)).all()
    else:
        torch.testing.assert_close(background, expected)


def test_regions_may_overlap_and_be_named():
    labels, image = case_of((8, 9))
    wanted = {"whole": (1, 2), "core": (2,)}
    for name in ("singr", "softseg"):
        each = method(name)
        target = each.target(labels, image, num_classes=4, spacing=(1.0, 1.0), regions=wanted)
        assert each.channels(4, wanted) == 2
        masks = torch.stack([labels > 0, labels == 2])
        assert torch.equal(each.decode_regions(target), masks)
    assert method("ce").channels(4, wanted) == 4


def test_rater_methods_average_and_take_one_rater_where_there_are_none():
    labels, _ = case_of((8, 9))
    raters = torch.stack([labels, labels.flip(0), torch.zeros_like(labels)])
    for name, transform in (("moh", transforms.one_hot), ("msvls", transforms.svls)):
        each = method(name)
        found = each.target(labels, num_classes=3, spacing=(1.0, 1.0), labels_per_rater=raters)
        torch.testing.assert_close(found, sum(transform(one, num_classes=3) for one in raters) / 3)
        alone = each.target(labels, num_classes=3, spacing=(1.0, 1.0))
        torch.testing.assert_close(alone, transform(labels, num_classes=3))
    one = method("svls").target(labels, num_classes=3, spacing=(1.0, 1.0), labels_per_rater=raters)
    torch.testing.assert_close(one, transforms.svls(labels, num_classes=3))


def test_label_options_reach_the_label():
    labels, image = case_of((8, 9))
    found = method("ls").target(labels, num_classes=3, spacing=(1.0, 1.0), options={"alpha": 0.3})
    torch.testing.assert_close(found, transforms.uniform(labels, num_classes=3, alpha=0.3))
    options = {"sigma": 2.0, "size": 5, "unit": "mm"}
    found = method("svls").target(labels, num_classes=3, spacing=(1.0, 0.5), options=options)
    expected = transforms.svls(labels, num_classes=3, sigma=2.0, size=5, spacing=(1.0, 0.5))
    torch.testing.assert_close(found, expected)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    found = method("geols").target(
        labels,
        image,
        num_classes=3,
        spacing=(1.0, 0.5),
        options={"seeds": "random", "num_seeds": 3},
        generator=generators[0],
    )
    expected = transforms.geols(
        labels, image, num_classes=3, spacing=(1.0, 0.5), seeds="random", num_seeds=3, generator=generators[1]
    )
    torch.testing.assert_close(found, expected)
    found = method("singr").target(
        labels, image, num_classes=3, spacing=(1.0, 0.5), options={"margin": 0.2, "boundary": "inner"}
    )
    masks = torch.stack([labels == 1, labels == 2])
    expected = transforms.sing(masks, image, spacing=(1.0, 0.5), margin=0.2, boundary="inner")
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_visible_defaults_are_those_of_the_parts(name):
    each = method(name)
    labels, image = case_of((8, 9))
    one = each.target(labels, image, num_classes=3, spacing=(1.0, 1.0))
    two = each.target(labels, image, num_classes=3, spacing=(1.0, 1.0), options=dict(each.label_options))
    assert torch.equal(one, two)
    each.make_loss(dict(each.loss_options))
    for key in each.loss_options:
        if key == "lambda_dice":
            assert each.make_loss({key: 3.0}).lambda_dice == 3.0
        elif key in ("omega", "gamma"):
            assert getattr(each.make_loss({key: 3.0}), key) == 3.0


def test_region_probabilities_need_to_know_the_batch_axis_only_where_it_is_unclear():
    each = method("singr")
    signed = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 1, 3)
    torch.testing.assert_close(
        each.probabilities(signed), torch.tensor([[[1.0, 0.5, 0.0]], [[0.0, 0.5, 1.0]]])
    )
    assert each.probabilities(torch.zeros(2, 1, 3, 4, 5)).shape == (2, 2, 3, 4, 5)
    assert each.probabilities(torch.zeros(2, 3, 4, 5), batched=False).shape == (3, 3, 4, 5)
    assert each.probabilities(torch.zeros(2, 3, 4, 5), batched=True).shape == (2, 4, 4, 5)
    with pytest.raises(ShapeError, match="batched=False or batched=True"):
        each.probabilities(torch.zeros(2, 3, 4, 5))
    probs = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert method("ce").probabilities(probs) is probs


def test_thresholds_are_fixed_tuned_or_refused():
    prediction = torch.tensor([[[0.2, 0.4, 0.6]]])
    assert method("softseg").decode(prediction).tolist() == [[0, 0, 1]]
    assert method("softseg").decode(prediction, threshold=0.3).tolist() == [[0, 1, 1]]
    assert method("softseg").decode_regions(prediction, threshold=0.3).tolist() == [[[False, True, True]]]
    assert method("singr").decode(prediction - 0.3).tolist() == [[0, 1, 1]]
    with pytest.raises(ValueRangeError, match="'ce' decodes by argmax"):
        method("ce").decode(prediction, threshold=0.5)


def test_methods_travel_to_worker_processes():
    for each in METHODS.values():
        assert pickle.loads(pickle.dumps(each)) == each


def test_what_does_not_fit_is_named():
    labels, image = case_of((8, 9))
    with pytest.raises(UnknownNameError, match="Did you mean 'geols'"):
        method("geols2")
    with pytest.raises(UnknownNameError, match=r"unknown label option of method 'ls' 'alfa'.*'alpha'"):
        method("ls").target(labels, num_classes=3, spacing=(1.0, 1.0), options={"alfa": 0.1})
    with pytest.raises(UnknownNameError, match=r"unknown loss option of method 'focal' 'gama'.*'gamma'"):
        method("focal").make_loss({"gama": 1.0})
    for name in ("geols", "singr"):
        with pytest.raises(InputError, match="needs the image"):
            method(name).target(labels, num_classes=3, spacing=(1.0, 1.0))
    with pytest.raises(ValueRangeError, match="num_classes is 2"):
        method("softseg").target(labels, image, num_classes=2, spacing=(1.0, 1.0))
    with pytest.raises(ValueRangeError, match="there is no region"):
        method("singr").channels(1)
    with pytest.raises(UnknownNameError, match="Known: voxel, mm"):
        method("svls").target(labels, num_classes=3, spacing=(1.0, 1.0), options={"unit": "inch"})
