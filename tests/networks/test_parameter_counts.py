"""The number of trainable weights of every published configuration."""

import pytest
import torch

from sfumato.networks import build

LGG, BRATS_HALF, BRATS, CUBE = (128, 128, 32), (128, 128, 64), (128, 128, 128), (64, 64, 64)
NARROW = {"channels": [32, 64, 128, 256]}
DEEP = {"depth": 4}

# name, channels in, logits out, image size, options, weights of the released network, ours
COUNTS = [
    ("transbts", 3, 1, LGG, {}, 31_348_705, 31_150_561),
    ("transbts", 4, 3, BRATS_HALF, {}, 31_938_995, 31_675_315),
    ("transbts", 4, 3, BRATS, {}, 32_987_571, 32_723_891),
    ("nestedformer", 3, 1, LGG, {}, 5_561_239, 5_578_479),
    ("nestedformer", 4, 3, BRATS_HALF, {}, 8_043_769, 8_059_169),
    ("nestedformer", 4, 3, BRATS, {}, 10_575_097, 10_586_401),
    ("eoformer", 3, 1, LGG, {}, 6_376_693, 6_378_725),
    ("eoformer", 4, 3, BRATS, {}, 6_377_591, 6_379_623),
    ("basic-unet", 3, 1, LGG, {}, 5_751_105, 5_751_105),
    ("basic-unet", 4, 3, BRATS, {}, 5_752_035, 5_752_035),
    ("unet++3d", 3, 1, LGG, {}, 6_981_572, 6_981_473),
    ("unet++3d", 4, 3, BRATS, {}, 6_982_700, 6_982_403),
    ("segresnet", 3, 1, LGG, {}, 1_176_609, 1_176_609),
    ("segresnet", 4, 3, BRATS, {}, 1_176_843, 1_176_843),
    ("unetr", 3, 1, LGG, {}, 99_008_593, 99_008_593),
    ("unetr", 4, 3, BRATS_HALF, {}, 102_253_107, 102_253_107),
    ("unetr", 4, 3, BRATS, {}, 102_449_715, 102_449_715),
    ("swin-unetr", 3, 1, LGG, {"merging": "published"}, 15_704_707, 15_704_707),
    ("swin-unetr", 4, 3, BRATS, {}, 15_705_621, 15_705_621),
    ("svls-unet3d", 4, 4, BRATS_HALF, {}, 16_508_340, 16_508_340),
    ("svls-unet3d", 1, 2, BRATS_HALF, {}, 16_507_658, 16_507_658),
    ("ivadomed-unet2d", 1, 1, (128, 128), {}, 4_837_249, 4_837_249),
    ("ivadomed-unet2d", 4, 1, (210, 210), DEEP, 19_592_257, 19_592_257),
    ("ivadomed-unet2d", 5, 1, (160, 224), DEEP, 19_592_833, 19_592_833),
    ("ivadomed-unet2d", 4, 1, (128, 128), {}, 4_838_977, 4_838_977),
    ("ivadomed-unet2d", 1, 1, (128, 128), DEEP, 19_590_529, 19_590_529),
    ("unet3d", 1, 1, CUBE, {}, 16_318_691, 16_318_691),
    ("unet3d", 4, 3, CUBE, {}, 16_321_419, 16_321_419),
    ("unet3d", 3, 1, CUBE, {}, 16_320_423, 16_320_423),
    ("unet3d", 1, 1, CUBE, NARROW, 4_081_267, 4_081_267),
    ("unet3d", 4, 3, CUBE, NARROW, 4_082_635, 4_082_635),
    ("unet3d", 1, 3, CUBE, NARROW, 4_081_333, 4_081_333),
]


@pytest.mark.parametrize(
    ("name", "channels", "outputs", "size", "options", "released", "ours"),
    COUNTS,
)
def test_count_is_within_one_percent_of_the_released_network(
    name, channels, outputs, size, options, released, ours
):
    # MONAI's Swin UNETR reads a number from a tensor while it is built, which the meta device cannot give.
    with torch.device("cpu" if name == "swin-unetr" else "meta"):
        network = build(name, in_channels=channels, out_channels=outputs, image_size=size, **options)
    count = sum(part.numel() for part in network.parameters())
    assert count == ours
    assert abs(count - released) < 0.01 * released
