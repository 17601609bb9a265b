"""What the published tables vary is reached by options of the methods."""

import pytest
import torch

from sfumato import labels as transforms
from sfumato.losses import (
    DiceCEACELoss,
    FocalL1Loss,
    JaccardMetricLoss,
    MarginBasedLabelSmoothingLoss,
    NeighborAwareCalibrationLoss,
    ProductLoss,
)
from sfumato.methods import METHODS, method


def case_of(shape, *, classes=4, seed=0):
    """Labels 0, 1 and 2 of four classes: the case lacks class 3."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(shape, dtype=torch.int64)
    labels[..., 2:5, 3:7] = 1
    labels[..., 0:2, 0:2] = 2
    return labels, torch.randn(2, *shape, generator=generator)


def test_label_options_reach_the_label():
    labels, image = case_of((8, 9))
    computed = method("ls").target(labels, num_classes=3, spacing=(1.0, 1.0), options={"alpha": 0.3})
    torch.testing.assert_close(computed, transforms.uniform(labels, num_classes=3, alpha=0.3))
    options = {"sigma": 2.0, "size": 5, "unit": "mm"}
    computed = method("svls").target(labels, num_classes=3, spacing=(1.0, 0.5), options=options)
    expected = transforms.svls(labels, num_classes=3, sigma=2.0, size=5, spacing=(1.0, 0.5))
    torch.testing.assert_close(computed, expected)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    computed = method("geols").target(
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
    torch.testing.assert_close(computed, expected)
    computed = method("singr").target(
        labels, image, num_classes=3, spacing=(1.0, 0.5), options={"margin": 0.2, "boundary": "inner"}
    )
    masks = torch.stack([labels == 1, labels == 2])
    expected = transforms.sing(masks, image, spacing=(1.0, 0.5), margin=0.2, boundary="inner")
    torch.testing.assert_close(computed, expected)


@pytest.mark.parametrize("name", ["geols", "geols-jml"])
@pytest.mark.parametrize(
    "options",
    [
        *({"seeds": "random", "num_seeds": count} for count in (3, 5, 7)),
        *({"seeds": "erosion", "erosion_radius": radius} for radius in (1, 2)),
        *({"alpha": alpha} for alpha in (0.0, 0.05, 0.2, 0.3, 1.0)),
        {"seeds": "skeleton"},
    ],
)
def test_every_seeding_and_alpha_of_the_published_tables_is_an_option(name, options):
    labels, image = case_of((12, 14))
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    spacing = (1.0, 0.5)
    computed = method(name).target(
        labels, image, num_classes=3, spacing=spacing, options=options, generator=generators[0]
    )
    if name == "geols":
        expected = transforms.geols(
            labels, image, num_classes=3, spacing=spacing, generator=generators[1], **options
        )
    else:
        pairs = [
            transforms.geols(
                (labels == index).long(),
                image,
                num_classes=2,
                spacing=spacing,
                generator=generators[1],
                **options,
            )
            for index in (1, 2)
        ]
        expected = torch.stack([pair[1] for pair in pairs])
    torch.testing.assert_close(computed, expected)
    default = method(name).target(labels, image, num_classes=3, spacing=spacing)
    assert torch.equal(computed, default) == (options == {"seeds": "skeleton"})


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.3])
def test_every_alpha_of_label_smoothing_is_an_option(alpha):
    labels, _ = case_of((8, 9))
    computed = method("ls").target(labels, num_classes=4, spacing=(1.0, 1.0), options={"alpha": alpha})
    torch.testing.assert_close(computed.amax(0), torch.full(labels.shape, 1 - alpha + alpha / 4))


@pytest.mark.parametrize("name", [name for name in METHODS if name.startswith("singr")])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_every_margin_of_the_published_table_is_an_option(name, margin):
    labels, image = case_of((12, 14))
    computed = method(name).target(
        labels, image, num_classes=3, spacing=(1.0, 1.0), options={"margin": margin}
    )
    masks = torch.stack([labels == 1, labels == 2])
    torch.testing.assert_close(computed, transforms.sing(masks, image, spacing=(1.0, 1.0), margin=margin))


def test_related_softenings_are_those_of_the_labels():
    labels, image = case_of((9, 12))
    masks, spacing = torch.stack([labels == 1, labels == 2]), (1.0, 0.5)
    expected = {
        "dilation": (transforms.dilation(masks, values=(0.4, 0.2)), {"values": [0.4, 0.2]}),
        "superpixel": (
            transforms.superpixel(masks, image, spacing=spacing, superpixel_voxels=20, beta=2.0),
            {"superpixel_voxels": 20, "beta": 2.0},
        ),
        "distance-sigmoid": (
            transforms.distance_sigmoid(masks, spacing=spacing, width_mm=3.0),
            {"width_mm": 3.0},
        ),
        "signed-distance": (transforms.signed_distance(masks, spacing=spacing), {}),
        "ordinal": (
            transforms.ordinal(labels, num_classes=3, alpha=0.4, sigma=2.0),
            {"alpha": 0.4, "sigma": 2.0},
        ),
    }
    for name, (wanted, options) in expected.items():
        computed = method(name).target(labels, image, num_classes=3, spacing=spacing, options=options)
        torch.testing.assert_close(computed, wanted)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        (
            "ace",
            {"binning": "soft", "lambda_ace": 2.0},
            DiceCEACELoss(softmax=True, binning="soft", lambda_ace=2.0),
        ),
        ("ace", {"lambda_dice": 0.0}, DiceCEACELoss(softmax=True, lambda_dice=0.0)),
        ("nacl", {"kernel": "gaussian", "size": 5}, NeighborAwareCalibrationLoss(kernel="gaussian", size=5)),
        ("mbls", {"margin": 1.0}, MarginBasedLabelSmoothingLoss(margin=1.0)),
        ("ls-jml", {"form": "product"}, JaccardMetricLoss(form="product", sigmoid=True)),
        ("singr", {"denominator": False}, FocalL1Loss(denominator=False, other_act=torch.tanh)),
        ("singr-product", {"weight_l1": 0.5}, ProductLoss(weight_l1=0.5, other_act=torch.tanh)),
    ],
)
def test_loss_options_reach_the_loss(name, options, expected):
    logits = 3 * torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    target = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    computed = method(name).make_loss(options)(logits, target)
    torch.testing.assert_close(computed, expected(logits, target))
    assert not torch.isclose(computed, method(name).make_loss()(logits, target))
