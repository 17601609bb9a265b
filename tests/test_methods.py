import pickle

import pytest
import torch
from monai.losses import DiceLoss as MonaiDice

from sfumato import labels as transforms
from sfumato.errors import InputError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.methods import METHODS, method

NAMES = [
    *("ce", "dice-ce", "dice-bce", "focal", "nacl", "mbls", "ace", "ls", "ls-jml", "ordinal", "svls"),
    *("moh", "msvls", "majority", "staple", "geols", "geols-jml"),
    *("singr", "singr-no-denominator", "singr-l1", "singr-l2", "singr-product"),
    *("softseg", "hard-sig-dice", "hard-relu-wing", "soft-sig-wing", "soft-relu-dice"),
    *("dilation", "superpixel", "distance-sigmoid", "signed-distance"),
]
# Smoothing by the class alone gives the background a share of the other classes, wherever it lies.
SMOOTHED_EVERYWHERE = {"ls", "ls-jml", "ordinal"}
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
    parts = {
        name: (
            chosen.label_row.title,
            chosen.activation_row.title,
            chosen.loss_row.title,
            chosen.decoder_row.title,
        )
        for name, chosen in METHODS.items()
    }
    entropy = ("softmax", "soft cross-entropy", "argmax")
    binary = ("sigmoid", "soft cross-entropy", "half")
    assert parts == {
        "dice-bce": ("region mask", "sigmoid", "Dice + cross-entropy", "half"),
        "nacl": ("one-hot", "softmax", "NACL", "argmax"),
        "mbls": ("one-hot", "softmax", "MbLS", "argmax"),
        "ace": ("one-hot", "softmax", "Dice + cross-entropy + ACE", "argmax"),
        "ls-jml": ("uniform per region", "sigmoid", "Jaccard metric", "half"),
        "ordinal": ("ordinal", *entropy),
        "majority": ("majority vote", *entropy),
        "staple": ("STAPLE", *entropy),
        "geols-jml": ("geodesic per region", "sigmoid", "Jaccard metric", "half"),
        "singr-no-denominator": ("SiNG", "tanh", "Focal-L1", "zero"),
        "singr-l1": ("SiNG", "tanh", "L1", "zero"),
        "singr-l2": ("SiNG", "tanh", "L2", "zero"),
        "singr-product": ("SiNG", "tanh", "product", "zero"),
        "dilation": ("dilation", "sigmoid", "Dice", "half"),
        "superpixel": ("superpixel", *binary),
        "distance-sigmoid": ("distance sigmoid", *binary),
        "signed-distance": ("signed distance", "tanh", "product", "zero"),
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
    moved = {"softseg", "hard-sig-dice", "hard-relu-wing", "soft-sig-wing", "soft-relu-dice"}
    assert {name for name, chosen in METHODS.items() if chosen.label_row.moves_mask} == moved
    hard = {"hard-sig-dice", "hard-relu-wing", "majority", "staple"}
    assert {name for name, chosen in METHODS.items() if chosen.label_row.binarise} == hard
    looking = {name for name in NAMES if name.startswith(("geols", "singr"))} | {"superpixel"}
    fusing = {"moh", "msvls", "majority", "staple"}
    assert {name for name, chosen in METHODS.items() if chosen.label_row.takes_raters} == fusing
    assert {name for name, chosen in METHODS.items() if chosen.label_row.needs_image} == looking
    assert method("singr-no-denominator").make_loss().denominator is False
    assert method("singr").make_loss().denominator is True
    assert method("dilation").make_loss().denominator == "squares"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "spacing"), CASES)
def test_every_method_trains_and_decodes_on_a_case_that_lacks_a_class(name, shape, spacing):
    chosen = method(name)
    labels, image = case_of(shape)
    target = chosen.target(labels, image, num_classes=4, spacing=spacing)
    channels = chosen.channels(4)
    assert target.shape == (channels, *shape)
    assert target.dtype == torch.float32
    assert torch.isfinite(target).all()
    generator = torch.Generator().manual_seed(1)
    # Free logits below 0 would stay there under NormReLU, without a network that shares its weights.
    logits = (torch.rand(1, channels, *shape, generator=generator) + 0.5).requires_grad_()
    loss, losses = chosen.make_loss(), []
    optimiser = torch.optim.Adam([logits], lr=0.1)
    for _ in range(80):
        optimiser.zero_grad()
        value = loss(logits, target[None])
        value.backward()
        assert torch.isfinite(logits.grad).all()
        optimiser.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    prediction = chosen.activate(logits.detach())
    decoded = chosen.decode(prediction[0])
    assert decoded.shape == labels.shape
    assert decoded.dtype == torch.int64
    regions = chosen.decode_regions(prediction[0])
    assert regions.shape == (3, *shape)
    assert regions.dtype == torch.bool
    for index in (1, 2):
        assert (regions[index - 1] == (labels == index)).float().mean() > 0.95
    # NormReLU and overlap alone hardly push an absent class down; the others learn that it is absent.
    if chosen.activation != "norm-relu" and chosen.loss not in ("dice", "jaccard-metric"):
        assert (decoded == labels).float().mean() > 0.95
    probs = chosen.probabilities(prediction, batched=True)
    assert probs.shape == (1, 4, *shape)
    torch.testing.assert_close(probs.sum(1), torch.ones(1, *shape))


@pytest.mark.parametrize("name", NAMES)
def test_the_target_decodes_to_the_labels(name):
    labels, image = case_of((7, 8, 9))
    chosen = method(name)
    target = chosen.target(labels, image, num_classes=3, spacing=(1.0, 1.0, 2.0))
    assert torch.equal(chosen.decode(target), labels)
    masks = torch.stack([labels == 1, labels == 2])
    assert torch.equal(chosen.decode_regions(target), masks)


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_the_target_of_pure_background(name):
    chosen = method(name)
    image = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(0))
    background = chosen.target(torch.zeros(4, 5, dtype=torch.int64), image, num_classes=3, spacing=(1.0, 1.0))
    first, rest = chosen.kind.padding
    expected = torch.full_like(background, rest)
    expected[0] = first
    if name in SMOOTHED_EVERYWHERE:
        # Made after augmentation, such a target is never padded.
        assert chosen.label_row.when == "after"
        torch.testing.assert_close(chosen.decode_regions(background), chosen.decode_regions(expected))
    else:
        torch.testing.assert_close(background, expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (3, 1), (4, 5), (3, 2, 4)])
@pytest.mark.parametrize("value", [0, 1])
def test_one_voxel_and_empty_and_full_images_are_no_exception(name, shape, value):
    chosen = method(name)
    labels = torch.full(shape, value)
    image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    spacing = (1.0, 2.0, 0.5)[: len(shape)]
    target = chosen.target(labels, image, num_classes=3, spacing=spacing)
    assert torch.equal(chosen.decode(target), labels)
    logits = torch.zeros(1, *target.shape, requires_grad=True)
    loss = chosen.make_loss()(logits, target[None])
    loss.backward()
    assert torch.isfinite(loss.detach())
    assert torch.isfinite(logits.grad).all()
    probs = chosen.probabilities(chosen.activate(logits.detach()), batched=True)
    torch.testing.assert_close(probs.sum(1), torch.ones(1, *shape))


@pytest.mark.parametrize("name", [name for name in NAMES if not METHODS[name].kind.joint])
def test_regions_may_overlap_and_be_named(name):
    labels, image = case_of((8, 9))
    wanted = {"whole": (1, 2), "core": (2,)}
    chosen = method(name)
    target = chosen.target(labels, image, num_classes=4, spacing=(1.0, 1.0), regions=wanted)
    assert chosen.channels(4, wanted) == 2
    masks = torch.stack([labels > 0, labels == 2])
    assert torch.equal(chosen.decode_regions(target), masks)
    # A region has the same map whatever other regions overlap it.
    alone = chosen.target(labels, image, num_classes=4, spacing=(1.0, 1.0), regions={"core": (2,)})
    if name != "superpixel":  # Its superpixels cover the regions together.
        torch.testing.assert_close(target[1:], alone)


def test_class_methods_have_a_channel_per_class_whatever_the_regions():
    assert method("ce").channels(4, {"whole": (1, 2)}) == 4


def test_smoothing_per_region_is_smoothing_of_two_classes():
    labels, image = case_of((8, 9))
    whole = (labels > 0).long()
    options = {"num_classes": 4, "spacing": (1.0, 0.5), "regions": {"core": (2,), "whole": (1, 2)}}
    computed = method("ls-jml").target(labels, **options, options={"alpha": 0.2})
    torch.testing.assert_close(computed[1], 0.8 * whole + 0.1)
    computed = method("geols-jml").target(
        labels, image, **options, options={"seeds": "erosion", "alpha": 0.3}
    )
    expected = transforms.geols(whole, image, num_classes=2, spacing=(1.0, 0.5), seeds="erosion", alpha=0.3)
    torch.testing.assert_close(computed[1], expected[1])
    assert not torch.allclose(computed[1], 1.0 * whole)
    computed = method("dice-bce").target(labels, **options)
    torch.testing.assert_close(computed, torch.stack([labels == 2, labels > 0]).float())


def test_dice_and_binary_cross_entropy_are_those_of_monai():
    labels, _ = case_of((8, 9))
    target = method("dice-bce").target(labels, num_classes=3, spacing=(1.0, 1.0))[None]
    logits = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    dice = MonaiDice(sigmoid=True)(logits, target)
    entropy = torch.nn.BCEWithLogitsLoss()(logits, target)
    torch.testing.assert_close(method("dice-bce").make_loss()(logits, target), dice + entropy)


def test_rater_methods_average_and_take_one_rater_where_there_are_none():
    labels, _ = case_of((8, 9))
    raters = torch.stack([labels, labels.flip(0), torch.zeros_like(labels)])
    for name, transform in (("moh", transforms.one_hot), ("msvls", transforms.svls)):
        chosen = method(name)
        computed = chosen.target(labels, num_classes=3, spacing=(1.0, 1.0), labels_per_rater=raters)
        torch.testing.assert_close(computed, sum(transform(one, num_classes=3) for one in raters) / 3)
        alone = chosen.target(labels, num_classes=3, spacing=(1.0, 1.0))
        torch.testing.assert_close(alone, transform(labels, num_classes=3))
    one = method("svls").target(labels, num_classes=3, spacing=(1.0, 1.0), labels_per_rater=raters)
    torch.testing.assert_close(one, transforms.svls(labels, num_classes=3))


def test_fused_raters_are_hard_and_stay_so_when_the_target_is_moved():
    labels, _ = case_of((8, 9))
    careless = torch.zeros_like(labels)
    raters = torch.stack([labels, labels, labels.roll(1, 0), careless])
    for name, fuse in (("majority", transforms.majority_vote), ("staple", transforms.staple)):
        chosen = method(name)
        computed = chosen.target(careless, num_classes=3, spacing=(1.0, 1.0), labels_per_rater=raters)
        expected = transforms.one_hot(fuse(raters, num_classes=3), num_classes=3)
        assert torch.equal(computed, expected)
        assert torch.equal(chosen.finished(0.6 * computed + 0.4 * computed.roll(1, 1)), computed)
        # Where three classes meet, none may have half the weight: the largest has it all.
        thirds = torch.tensor([0.3, 0.36, 0.34]).reshape(3, 1, 1)
        assert chosen.finished(thirds).flatten().tolist() == [0, 1, 0]
        alone = chosen.target(labels, num_classes=3, spacing=(1.0, 1.0))
        assert torch.equal(alone, transforms.one_hot(labels, num_classes=3))
    assert not torch.equal(computed.argmax(0), careless)


def test_moved_regions_are_rounded_for_the_hard_candidates_alone():
    moved = torch.tensor([[[0.2, 0.5, 0.8]]])
    assert method("hard-sig-dice").finished(moved).tolist() == [[[0.0, 1.0, 1.0]]]
    for name in ("softseg", "ce", "singr", "moh"):
        assert method(name).finished(moved) is moved


@pytest.mark.parametrize("name", NAMES)
def test_the_visible_defaults_are_those_of_the_parts(name):
    chosen = method(name)
    labels, image = case_of((8, 9))
    one = chosen.target(labels, image, num_classes=3, spacing=(1.0, 1.0))
    two = chosen.target(labels, image, num_classes=3, spacing=(1.0, 1.0), options=dict(chosen.label_options))
    assert torch.equal(one, two)
    chosen.make_loss(dict(chosen.loss_options))
    numbers = ("lambda_dice", "lambda_ce", "lambda_ace", "omega", "gamma", "scale", "weight", "weight_l1")
    for key in {*numbers, "margin", "num_bins", "smooth_nr"} & set(chosen.loss_options):
        parts = chosen.make_loss({key: 3}).modules()
        assert 3 in [getattr(part, key, None) for part in parts], key


def test_region_probabilities_need_to_know_the_batch_axis_only_where_it_is_unclear():
    chosen = method("singr")
    signed = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 1, 3)
    torch.testing.assert_close(
        chosen.probabilities(signed), torch.tensor([[[1.0, 0.5, 0.0]], [[0.0, 0.5, 1.0]]])
    )
    assert chosen.probabilities(torch.zeros(2, 1, 3, 4, 5)).shape == (2, 2, 3, 4, 5)
    assert chosen.probabilities(torch.zeros(2, 3, 4, 5), batched=False).shape == (3, 3, 4, 5)
    assert chosen.probabilities(torch.zeros(2, 3, 4, 5), batched=True).shape == (2, 4, 4, 5)
    with pytest.raises(ShapeError, match="batched=False or batched=True"):
        chosen.probabilities(torch.zeros(2, 3, 4, 5))
    probs = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert method("ce").probabilities(probs) is probs


def test_thresholds_are_fixed_tuned_or_refused():
    prediction = torch.tensor([[[0.2, 0.4, 0.6]]])
    assert method("softseg").decode(prediction).tolist() == [[0, 0, 1]]
    assert method("softseg").decode(prediction, threshold=0.3).tolist() == [[0, 1, 1]]
    assert method("softseg").decode_regions(prediction, threshold=0.3).tolist() == [[[False, True, True]]]
    assert method("singr").decode(prediction - 0.3).tolist() == [[0, 1, 1]]
    with pytest.raises(ValueRangeError, match="the decoder argmax takes no threshold"):
        method("ce").decode(prediction, threshold=0.5)


def test_methods_travel_to_worker_processes():
    for chosen in METHODS.values():
        assert pickle.loads(pickle.dumps(chosen)) == chosen


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


@pytest.mark.parametrize("name", METHODS)
def test_class_weights_are_the_target_or_refused(name):
    labels = torch.tensor([[0, 1, 1], [2, 2, 0]])
    soft = torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(0)).softmax(0)
    chosen, task = method(name), {"num_classes": 3, "spacing": (1.0, 2.0)}
    assert chosen.takes_weights(beside_mask=True) == chosen.label_row.moves_mask
    if not chosen.takes_weights(beside_mask=False):
        with pytest.raises(InputError, match=f"method '{name}' makes its label of a hard mask"):
            chosen.target(labels, soft, soft=soft, **task)
        return
    computed = chosen.target(labels, soft=soft, **task)
    torch.testing.assert_close(computed, soft if chosen.kind.joint else soft[1:], rtol=0, atol=0)


def test_methods_whose_label_is_the_mask_itself_take_class_weights():
    taking = [name for name in METHODS if method(name).takes_weights(beside_mask=False)]
    moved = ["softseg", "hard-sig-dice", "hard-relu-wing", "soft-sig-wing", "soft-relu-dice"]
    assert taking == ["ce", "dice-ce", "dice-bce", "focal", "nacl", "mbls", "ace", "moh", *moved]
