"""Tiny data sets on disk, and a recipe that trains on them in a second."""

import json
from pathlib import Path

import nibabel
import numpy as np
import torch
import yaml

from sfumato.model import SegmentationTask
from sfumato.model.checkpoint import content_of
from sfumato.structures import Structures

DEMO = Path(__file__).parents[1] / "recipes" / "demo.yaml"


def write_cases(folder, *, axes=3, count=6, classes=3, channels=1, seed=0):
    """An nnU-Net folder of noisy nested boxes; the last case lacks the last class."""
    rng = np.random.default_rng(seed)
    shape = (13, 16, 11)[:axes]
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for index in range(count):
        labels = np.zeros(shape, np.uint8)
        for label in range(1, classes):
            inner = tuple(slice(2 * label, side - 2 * label - index % 2) for side in shape)
            labels[inner] = label
        if index == count - 1:
            labels[labels == classes - 1] = classes - 2
        affine = np.diag([1.0, 0.8, 2.0, 1.0])
        for channel in range(channels):
            image = labels * (channel + 1) + 0.3 * rng.standard_normal(shape)
            _save(folder / "imagesTr" / f"case{index}_{channel:04d}.nii.gz", image.astype(np.float32), affine)
        _save(folder / "labelsTr" / f"case{index}.nii.gz", labels, affine)
    names = {"background": 0} | {f"part{label}": label for label in range(1, classes)}
    description = {
        "channel_names": {str(index): f"c{index}" for index in range(channels)},
        "labels": names,
        "numTraining": count,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    return folder


def write_rated_cases(folder, *, axes=3, count=6, raters=3, spared=()):
    """The same boxes with one mask per rater, each cut off one plane further; ``spared`` have none."""
    write_cases(folder, axes=axes, count=count)
    columns = [f"mask_rater{number}" for number in range(1, raters + 1)]
    lines = [",".join(["case", "image", "mask", *columns])]
    for index in range(count):
        name = f"case{index}"
        stored = nibabel.load(folder / "labelsTr" / f"{name}.nii.gz")
        cells = [name, f"imagesTr/{name}_0000.nii.gz", f"labelsTr/{name}.nii.gz"]
        for rater in range(1, raters + 1):
            labels = np.asarray(stored.dataobj).copy()
            labels[: 3 + rater] = 0
            path = folder / "labelsTr" / f"{name}_rater{rater}.nii.gz"
            _save(path, labels, stored.affine)
            cells.append("" if name in spared else f"labelsTr/{path.name}")
        lines.append(",".join(cells))
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def slice_recipe(axis):
    """The tiny recipe for a 2-D network on the slices perpendicular to one axis of a volume."""
    recipe = tiny_recipe(axes=2)
    recipe["slice_axis"] = axis
    return recipe


def tiny_task(*names, dataset="tiny", channels=1, regions=None):
    """What a checkpoint knows of data with these foreground classes."""
    structures = Structures(dict(enumerate(("background", *names))), regions)
    return SegmentationTask(channels, structures, tuple(f"c{index}" for index in range(channels)), dataset)


def store_checkpoint(model, path):
    """Store a model as training stores it."""
    weights = {f"network.{name}": value for name, value in model.network.state_dict().items()}
    torch.save({"state_dict": weights, "sfumato": content_of(model)}, path)
    return path


def _save(path, array, affine):
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def tiny_recipe(axes=3):
    """The demo recipe's content, made tiny."""
    recipe = yaml.safe_load(DEMO.read_text())
    recipe |= {"epochs": 2, "batch_size": 2, "validate_every": 1}
    recipe["patch"] = {"size": [8, 12, 8][:axes], "foreground": 0.5}
    recipe["augment"]["flip_axes"] = list(range(axes))
    recipe["network"] = {"name": "unet", "options": {"channels": [4, 8], "res_units": 1, "dropout": 0.1}}
    recipe["split"]["fractions"] = [0.5, 0.34, 0.16]
    return recipe
