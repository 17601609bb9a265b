"""Draw the README's picture: a hard label beside soft labels on a real image.

python docs/picture.py --out docs/labels.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from sfumato.data import load_case, open_dataset
from sfumato.methods import method

mpl.use("Agg")
from matplotlib import pyplot as plt

CASE, LABEL = "hippocampus_004", 1
PANELS = (("ce", "hard label"), ("ls", "LS"), ("svls", "SVLS"), ("geols", "GeoLS"), ("singr", "SiNG"))


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/labels.png"))
    out = parser.parse_args().out
    dataset = open_dataset("sample:hippocampus")
    files = next((item for item in dataset.cases if item.name == CASE), dataset.cases[0])
    case = load_case(files, dataset)
    counts = (case.labels == LABEL).sum(dim=(0, 1))
    index = int(counts.argmax())
    figure, axes = plt.subplots(1, len(PANELS) + 1, figsize=(12, 2.9), layout="constrained")
    view = case.image[0, :, :, index].numpy().T
    rows, columns = _window((case.labels[:, :, index] > 0).numpy().T)
    axes[0].imshow(view[rows, columns], cmap="gray", origin="lower")
    axes[0].set_title("T1-weighted MRI")
    for axis, (name, title) in zip(axes[1:], PANELS, strict=True):
        chosen = method(name)
        target = chosen.target(
            case.labels,
            case.image,
            num_classes=dataset.num_classes,
            spacing=case.spacing,
            generator=torch.Generator().manual_seed(0),
        )
        channel = LABEL if chosen.kind == "classes" else LABEL - 1
        low = -1.0 if chosen.kind == "signed" else 0.0
        shown = target[channel, :, :, index].numpy().T[rows, columns]
        drawn = axis.imshow(shown, cmap="cividis", vmin=low, vmax=1.0, origin="lower")
        axis.set_title(title)
        figure.colorbar(drawn, ax=axis, orientation="horizontal", shrink=0.8, ticks=[low, (low + 1) / 2, 1.0])
    for axis in axes:
        axis.set_axis_off()
    # An empty bar keeps the image as large as the panels that have one.
    figure.colorbar(
        axes[0].images[0], ax=axes[0], orientation="horizontal", shrink=0.8, ticks=[]
    ).ax.set_visible(False)
    figure.savefig(out, dpi=110)


def _window(mask: np.ndarray, margin: int = 7) -> tuple[slice, slice]:
    found = []
    for axis in (0, 1):
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        found.append(slice(max(inside[0] - margin, 0), inside[-1] + margin + 1))
    return found[0], found[1]


if __name__ == "__main__":
    main()
