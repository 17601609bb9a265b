"""Tiny BIDS data sets whose reference is the true share of every class in every voxel."""

import numpy as np

from sfumato.data.phantoms import Appearance, Ellipsoid, Scene, phantom
from tiny_data import write_nifti

NAMES = ("background", "core", "rim")


def made(index, *, shape=(13, 16, 11), spacing=(1.0, 0.8, 2.0), classes=2):
    """A phantom of nested balls; no two are alike."""
    spacing = spacing[: len(shape)]
    size = np.array(shape) * spacing
    balls = {2: 0.45, 1: 0.25}
    painted = tuple(label for label in balls if label < classes)
    centre = tuple((size / 2 + 0.3 + 0.1 * index).tolist())
    solids = tuple(Ellipsoid(centre, (float(size.min()) * balls[label],) * len(shape)) for label in painted)
    scene = Scene(solids, painted, classes, tuple(shape), spacing)
    means = ((0.0, 1.0, 2.0)[:classes],)
    return phantom(scene, appearance=Appearance(means=means, blur_mm=1.0, noise=0.1), seed=index, factor=4)


def write_weights(root, *, count=2, classes=2, masks=False, one_file=True, shape=(13, 16, 11)):
    """Write phantoms as BIDS with ``probseg`` files, and with hard masks only where asked for.

    Returns:
        The folder, and the phantom of every case by name.
    """
    answers = {}
    for index in range(count):
        each = made(index, shape=shape, classes=classes)
        name = f"sub-{index:02d}"
        affine = np.eye(4)
        affine[range(len(shape)), range(len(shape))] = each.spacing
        derived = root / "derivatives" / "manual" / name / "anat"
        write_nifti(root / name / "anat" / f"{name}_T1w.nii.gz", each.image[0].numpy(), affine)
        weights = each.soft.numpy()
        if one_file and classes == 2:
            write_nifti(derived / f"{name}_label-core_probseg.nii.gz", weights[1], affine)
        elif one_file:
            write_nifti(derived / f"{name}_probseg.nii.gz", np.moveaxis(weights, 0, -1), affine)
        else:
            for label, weight in zip(NAMES[1:classes], weights[1:], strict=True):
                write_nifti(derived / f"{name}_label-{label}_probseg.nii.gz", weight, affine)
        if masks:
            # One plane less than the weights say: the two references must not be taken for one another.
            labels = each.labels.numpy().astype(np.uint8)
            labels[: shape[0] // 2] = 0
            write_nifti(derived / f"{name}_dseg.nii.gz", labels, affine)
        answers[name] = each
    if classes > 2 or masks:
        rows = "".join(f"{index}\t{name}\n" for index, name in enumerate(NAMES[:classes]))
        (root / "derivatives" / "manual" / "dseg.tsv").write_text("index\tname\n" + rows)
    return root, answers
