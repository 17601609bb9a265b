"""Writes tiny data sets, in the layouts that users have on disk."""

import json

import nibabel
import numpy as np

AFFINE = np.array([[-0.5, 0, 0, 4.0], [0, 0, 3.0, -7.0], [0, 2.0, 0, 1.5], [0, 0, 0, 1.0]])
"""Axes permuted and mirrored: spacing 0.5, 2 and 3 mm along the stored axes."""
SPACING = (0.5, 2.0, 3.0)
SHAPE = (6, 5, 4)


def write_nifti(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def picture(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def mask(shape=SHAPE, value=1):
    labels = np.zeros(shape, dtype=np.uint8)
    labels[1:3, 2:4] = value
    return labels


def write_nnunet(root, *, cases=("a", "b", "c"), channels=1, description=True):
    """A clean nnU-Net folder; ``description`` may be a dictionary, or False for none."""
    for number, name in enumerate(cases):
        for channel in range(channels):
            write_nifti(root / "imagesTr" / f"{name}_{channel:04d}.nii.gz", picture(number + channel))
        write_nifti(root / "labelsTr" / f"{name}.nii.gz", mask())
    if description is True:
        description = {
            "channel_names": {str(channel): f"T{channel + 1}" for channel in range(channels)},
            "labels": {"background": 0, "tumour": 1},
            "file_ending": ".nii.gz",
        }
    if description:
        (root / "dataset.json").write_text(json.dumps(description))
    return root
