"""Every network with options that make it tiny, and image sizes that suit it."""

from dataclasses import dataclass

import pytest
import torch

from sfumato.networks import build


@dataclass(frozen=True)
class Small:
    name: str
    size: tuple[int, ...]
    options: dict

    def build(self, *, channels=1, outputs=2, **more):
        torch.manual_seed(0)
        return build(
            self.name,
            in_channels=channels,
            out_channels=outputs,
            image_size=self.size,
            **{**self.options, **more},
        )

    def image(self, *, channels=1, batch=2):
        return torch.randn(batch, channels, *self.size, generator=torch.Generator().manual_seed(1))

    @property
    def without_dropout(self):
        fixed = {"unet3d": {}, "svls-unet3d": {}, "transbts": {"dropout": 0.0, "stem_dropout": 0.0}}
        return fixed.get(self.name, {"dropout": 0.0})


BASIC = {"channels": [4, 4, 4, 8, 8, 4]}
PLAIN = {"channels": [8, 8, 16], "groups": 4}
UNETR = {"filters": 4, "width": 24, "heads": 3, "mlp_width": 32}
SWIN = {"filters": 12, "depths": [1, 1, 1, 1], "heads": [1, 1, 2, 2], "window": 2}

SMALL = [
    Small("unet", (8, 12), {"channels": [4, 8, 8], "res_units": 1}),
    Small("unet", (8, 4, 12), {"channels": [4, 8, 8], "res_units": 1}),
    Small("basic-unet", (32, 16), BASIC),
    Small("basic-unet", (16, 32, 16), BASIC),
    Small("unet3d", (6, 5, 8), PLAIN),
    Small("svls-unet3d", (7, 4, 8), PLAIN),
    Small("ivadomed-unet2d", (17, 13), {"filters": 8}),
    Small("unet++3d", (16, 16, 32), BASIC),
    Small("segresnet", (8, 12), {"blocks_down": [1, 1, 1], "blocks_up": [1, 1]}),
    Small("segresnet", (8, 4, 12), {"blocks_down": [1, 1, 1], "blocks_up": [1, 1]}),
    Small("unetr", (32, 16), UNETR),
    Small("unetr", (16, 16, 32), UNETR),
    Small("swin-unetr", (64, 32), SWIN),
    Small("swin-unetr", (32, 32, 64), SWIN),
    Small("transbts", (16, 8, 24), {"filters": 8, "width": 16, "mlp_width": 16, "layers": 1, "heads": 2}),
    Small(
        "nestedformer",
        (32, 32, 64),
        {"channels": [4, 4, 4, 8, 8], "mlp_width": 8, "layers": 1, "heads": 2, "tokens": 4},
    ),
    Small("eoformer", (8, 24, 16), {"channels": [8, 8, 32], "last_filters": 4}),
]

EVERY = [pytest.param(small, id=f"{small.name}-{len(small.size)}d") for small in SMALL]
