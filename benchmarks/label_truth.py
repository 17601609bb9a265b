"""Which soft label is nearest to the truth? Label transforms against known shares of every voxel.

The truth is the share of each voxel that each class fills: of solids with known geometry, by supersampling,
or of real probability maps, as the mean over blocks of voxels. Every label is made from what an annotator
has: a hard mask (the class with the largest share), the image, several raters, or a finer hard mask.

    python benchmarks/label_truth.py [--size 32] [--data FOLDER]

FOLDER holds cases, one folder each: ``image.nii.gz`` and ``<class>_prob.nii.gz`` (0 .. 1 or 0 .. 255).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfumato.data import read_volume
from sfumato.data.phantoms import (
    Appearance,
    Ellipsoid,
    RaterModel,
    Scene,
    ball_scene,
    centre_labels,
    phantom,
    tumour_scene,
)
from sfumato.labels import (
    average_raters,
    dilation,
    distance_sigmoid,
    geols,
    interpolated,
    one_hot,
    svls,
    uniform,
)

FINE = 2  # How much finer, along each axis, the mask is that SoftSeg resamples.
MAPS = "*_prob.nii.gz"


@dataclass(frozen=True)
class Subject:
    """The truth, and what labels are made from.

    Attributes:
        name: What it is.
        truth: Share of every class in every voxel, ``(K, *S)``.
        image: ``(C, *S)``.
        fine: A hard mask on a grid ``FINE`` times as fine.
        raters: ``(D, *S)``, or ``None``.
        spacing: Mm per axis.
    """

    name: str
    truth: Tensor
    image: Tensor
    fine: Tensor
    raters: Tensor | None
    spacing: tuple[float, ...]


def made_subjects(size: int) -> Iterator[Subject]:
    """A disc, a ball, an ellipsoid in thick slices and a nested tumour; ``size`` voxels a side."""
    thick = (1.0, 1.0, 3.0)
    shape = (size, size, max(4, size // 3))
    extent = [side * step for side, step in zip(shape, thick, strict=True)]
    centre = tuple(0.5 * side + 0.3 for side in extent)
    radii = tuple(share * side for share, side in zip((0.34, 0.25, 0.3), extent, strict=True))
    scenes = {
        "disc, 1 mm": ball_scene(shape=(size, size), spacing=(1.0, 1.0)),
        "ball, 1 mm": ball_scene(shape=(size,) * 3, spacing=(1.0,) * 3),
        "ellipsoid, 1x1x3 mm": Scene((Ellipsoid(centre, radii),), (1,), 2, shape, thick),
        "tumour, 4 classes, 1 mm": tumour_scene(shape=(size,) * 3, spacing=(1.0,) * 3),
    }
    raters = RaterModel(count=5, wobble_mm=0.4, length_mm=4.0, bias_mm=0.2)
    for name, scene in scenes.items():
        means = (tuple(float(value) for value in range(scene.num_classes)),)
        made = phantom(scene, appearance=Appearance(means, blur_mm=0.5, noise=0.1), raters=raters)
        fine = centre_labels(scene.finer(FINE))
        yield Subject(name, made.soft, made.image, fine, made.labels_per_rater, scene.spacing)


def image_paths(folder: Path) -> list[Path]:
    """The images that probability maps lie beside."""
    found = [path for path in sorted(folder.rglob("image.nii.gz")) if any(path.parent.glob(MAPS))]
    if not found:
        raise SystemExit(f"{folder} holds no folder with image.nii.gz and {MAPS}")
    return found


def read_subject(image_path: Path) -> Subject:
    """Real probability maps; the truth is their mean over blocks, the fine mask their largest class."""
    paths = sorted(image_path.parent.glob(MAPS))
    volume = read_volume(image_path)
    maps = np.stack([read_volume(path).array.astype(np.float32) for path in paths])
    maps /= 255.0 if maps.max() > 1.0 else 1.0
    # What the maps leave over is background; rounding may push their sum past 1.
    rest = np.clip(1.0 - maps.sum(axis=0, keepdims=True), 0.0, None)
    shares = np.concatenate([rest, maps])
    shares /= shares.sum(axis=0)
    even = (slice(None), *(slice(side // FINE * FINE) for side in volume.array.shape))
    fine = torch.from_numpy(shares[even])
    image = torch.from_numpy(volume.array.astype(np.float32)[None][even])
    names = ", ".join(path.name.removesuffix("_prob.nii.gz") for path in paths)
    spacing = tuple(FINE * step for step in volume.spacing)
    label = f"{image_path.parent.name} ({names}), {'x'.join(f'{step:g}' for step in spacing)} mm"
    return Subject(label, block_mean(fine), block_mean(image), fine.argmax(dim=0), None, spacing)


def block_mean(maps: Tensor) -> Tensor:
    """Mean over blocks of ``FINE`` voxels along every axis but the first."""
    for axis in range(1, maps.ndim):
        maps = maps.unflatten(axis, (-1, FINE)).mean(dim=axis + 1)
    return maps


def completed(regions: Tensor) -> Tensor:
    """Class weights from foreground maps ``(K - 1, *S)``: scaled to at most 1, the rest is background."""
    regions = regions / regions.sum(dim=0).clamp_min(1.0)
    return torch.cat([1.0 - regions.sum(dim=0, keepdim=True), regions])


def labels_of(subject: Subject) -> dict[str, Tensor]:
    """Every label transform, made from the hard mask, the image, the raters or the fine mask."""
    count, spacing = len(subject.truth), subject.spacing
    hard = subject.truth.argmax(dim=0)
    masks = torch.stack([hard == value for value in range(1, count)])
    found = {
        "one-hot": one_hot(hard, num_classes=count),
        "uniform, 0.1": uniform(hard, num_classes=count, alpha=0.1),
        "SVLS": svls(hard, num_classes=count),
        "GeoLS, 0.1": geols(hard, subject.image, num_classes=count, spacing=spacing, alpha=0.1),
        "dilation, 0.5": completed(dilation(masks, values=(0.5,))),
    }
    for width in (0.25, 0.5, 1.0):
        # Relative to the finest voxel, so that the widths mean the same on every grid.
        faded = distance_sigmoid(masks, spacing=spacing, width_mm=width * min(spacing))
        found[f"distance sigmoid, {width:g} voxel"] = completed(faded)
    if subject.raters is not None:
        each = torch.stack([one_hot(labels, num_classes=count) for labels in subject.raters])
        found[f"mean of {len(each)} raters"] = average_raters(each)
        smooth = torch.stack([svls(labels, num_classes=count) for labels in subject.raters])
        found[f"SVLS, mean of {len(each)} raters"] = average_raters(smooth)
    fine = one_hot(subject.fine, num_classes=count)
    found["SoftSeg: fine mask, interpolated"] = interpolated(fine, size=tuple(hard.shape))
    return found


def boundary_band(labels: Tensor) -> Tensor:
    """Voxels with another class among their 8 or 26 neighbours, ``(*S)`` boolean."""
    pool = torch.nn.functional.max_pool2d if labels.ndim == 2 else torch.nn.functional.max_pool3d
    values = labels.float()[None]
    return (pool(values, 3, 1, 1) != -pool(-values, 3, 1, 1))[0]


def errors(subject: Subject) -> dict[str, tuple[float, float]]:
    """Mean absolute error of the class weights: over all voxels, and over the boundary band."""
    band = boundary_band(subject.truth.argmax(dim=0))
    found = {}
    for name, soft in labels_of(subject).items():
        gap = (soft - subject.truth).abs().mean(dim=0)
        found[name] = float(gap.mean()), float(gap[band].mean())
    return found


def table(subject: Subject) -> str:
    """The errors as text, nearest label in the band first."""
    found = errors(subject)
    base = found["one-hot"][1]
    lines = [f"{subject.name}  {tuple(subject.truth.shape[1:])}"]
    lines.append(f"  {'label':34}{'error':>9}{'in the band':>13}{'of one-hot':>12}")
    for name, (everywhere, band) in sorted(found.items(), key=lambda item: item[1][1]):
        lines.append(f"  {name:34}{everywhere:9.4f}{band:13.4f}{100 * band / base:10.0f} %")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, default=32, help="voxels along the phantoms' longest axis")
    parser.add_argument("--data", type=Path, help="folder of real probability maps to measure too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    real = image_paths(arguments.data) if arguments.data else []
    print("error: mean |label - true share| over classes; band: voxels beside another class of the hard mask")
    for subject in chain(made_subjects(arguments.size), map(read_subject, real)):
        print(table(subject), flush=True)


if __name__ == "__main__":
    main()
