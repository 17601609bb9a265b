"""What BraTS 2019 and 2020 share: four channels, three labels, three overlapping regions.

``<id>/<id>_{flair,t1,t1ce,t2,seg}.nii.gz``, co-registered, skull-stripped, 240 x 240 x 155 at 1 mm.

References:
    Bakas et al. (2018), Identifying the best machine learning algorithms for brain tumor segmentation,
    progression assessment, and overall survival prediction in the BRATS challenge, arXiv:1811.02629.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sfumato.data.case import CaseFiles
from sfumato.data.readers.layout import PublicLayout, file_problems, one_of

CHANNELS = ("flair", "t1", "t1ce", "t2")
brats_layout = partial(
    PublicLayout,
    channels=CHANNELS,
    # The core is necrotic or does not enhance; the region TC adds the enhancing tumour.
    labels={0: "background", 1: "core", 2: "oedema", 3: "enhancing"},
    regions={"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)},
    stored_values={0: 0, 1: 1, 2: 2, 4: 3},
)
"""A layout with BraTS' channels, labels and regions."""


def brats_case(
    folder: Path, *, centre: str | None = None, mask: Path | None = None
) -> tuple[CaseFiles, list[str]]:
    """List one case's files, named after its folder, and one sentence per missing one.

    Args:
        folder: The folder ``<id>``.
        centre: The institution, if the id tells it.
        mask: The mask, where it is not ``<id>_seg``.
    """
    name = folder.name
    images = tuple(one_of(folder, f"{name}_{channel}") for channel in CHANNELS)
    reference = mask or one_of(folder, f"{name}_seg")
    files = CaseFiles(name=name, images=images, mask=reference, centre=centre)
    every = (*images, reference)
    return files, file_problems(name, every)
