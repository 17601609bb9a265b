"""Surface distances against DeepMind's surface-distance and MONAI, one thread each, in one run.

For every pair of masks: HD95 and surface Dice at 2 mm, by all three. The results are compared first; then
the three take turns, and the median over the rounds of each round's ratio is printed, so that other work
on the machine weighs on all of them alike.

    python benchmarks/surface.py [--rounds 9] [--data FOLDER_OF_LABEL_FILES]
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import surface_distance
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy import ndimage

from sfumato.metrics.surface.distances import surface_distances

Mask = np.ndarray
Spacing = tuple[float, ...]
Case = tuple[Mask, Mask, Spacing]
Scores = tuple[float, float]

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}
SHAPE = (240, 240, 155)
TOLERANCE_MM = 2.0


def lump(centre: tuple[int, ...], radii: tuple[int, ...], seed: int, roughness: float) -> Mask:
    """An ellipsoid with a wavy surface in an image of 240x240x155 voxels."""
    noise = np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)
    noise = ndimage.gaussian_filter(noise, 6)
    grid = np.ogrid[tuple(slice(side) for side in SHAPE)]
    gap = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True))
    return np.sqrt(gap) + roughness * noise / noise.std() < 1


def made_pairs() -> Iterator[tuple[str, Case, str]]:
    """Name, prediction, reference and spacing, and the ratios aimed for."""
    unit = (1.0, 1.0, 1.0)
    small = lump((90, 100, 70), (12, 10, 11), 1, 0.03), lump((91, 101, 70), (12, 10, 11), 2, 0.03)
    tumour = lump((90, 100, 70), (28, 24, 22), 3, 0.02), lump((92, 101, 71), (26, 25, 22), 4, 0.02)
    ragged = lump((90, 100, 70), (28, 24, 22), 5, 0.08), lump((92, 101, 71), (26, 25, 22), 6, 0.08)
    large = lump((90, 100, 70), (42, 36, 32), 7, 0.06), lump((92, 101, 71), (40, 37, 32), 8, 0.06)
    organ = lump((120, 120, 77), (100, 90, 62), 9, 0.02), lump((121, 120, 78), (99, 91, 62), 10, 0.02)
    apart = lump((90, 100, 70), (28, 24, 22), 5, 0.08), lump((130, 141, 71), (26, 25, 22), 6, 0.08)
    yield "lesion", (*small, unit), "-"
    yield "tumour", (*tumour, unit), "10, 10"
    yield "tumour, ragged", (*ragged, unit), "10, 10"
    yield "tumour, large", (*large, unit), "10, 10"
    yield "tumour, 1x1x3 mm", (*tumour, (1.0, 1.0, 3.0)), "10, 10"
    yield "tumours far apart", (*apart, unit), "-"
    yield "organ, 25 %", (*organ, unit), "5, 3"


def read_pairs(folder: Path, limit: int) -> Iterator[tuple[str, Case, str]]:
    """Real masks; the prediction is the same region, smoothed and one voxel aside."""
    import nibabel

    paths = [path for path in sorted(folder.rglob("*.nii.gz")) if "mask" in path.name or "label" in str(path)]
    for path in paths[:limit]:
        image = nibabel.load(path)
        ref = np.asarray(image.dataobj) > 0
        if ref.ndim == 3 and ref.any():
            pred = np.roll(ndimage.gaussian_filter(ref.astype(np.float32), 1.5) > 0.45, 1, axis=0)
            spacing = tuple(float(step) for step in image.header.get_zooms())
            yield f"{path.parent.name}/{path.name.split('.')[0]}"[-20:], (pred, ref, spacing), "-"


def ours(pred: Mask, ref: Mask, spacing: Spacing) -> Scores:
    surfaces = surface_distances(pred[None], ref[None], spacing=spacing)
    return surfaces.hausdorff(95).item(), surfaces.surface_dice(TOLERANCE_MM).item()


def deepmind(pred: Mask, ref: Mask, spacing: Spacing) -> Scores:
    surfaces = surface_distance.compute_surface_distances(ref, pred, spacing)
    return (
        surface_distance.compute_robust_hausdorff(surfaces, 95),
        surface_distance.compute_surface_dice_at_tolerance(surfaces, TOLERANCE_MM),
    )


def monai(pred: Mask, ref: Mask, spacing: Spacing) -> Scores:
    masks = torch.from_numpy(pred)[None, None], torch.from_numpy(ref)[None, None]
    options = {"include_background": True, "spacing": list(spacing)}
    return (
        compute_hausdorff_distance(*masks, percentile=95, **options).item(),
        compute_surface_dice(*masks, class_thresholds=[TOLERANCE_MM], **options).item(),
    )


def seconds(function: Callable[[Mask, Mask, Spacing], Scores], case: Case) -> float:
    start = time.perf_counter()
    function(*case)
    return time.perf_counter() - start


def peak_bytes(case: Case) -> int:
    """The most memory that NumPy and Python hold at a time, beyond the two masks."""
    tracemalloc.start()
    ours(*case)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def allowed_bytes(pred: Mask, ref: Mask) -> int:
    """Four times both masks as bytes, plus their joint box in float32."""
    where = np.nonzero(pred | ref)
    return 8 * pred.size + 4 * math.prod(int(axis.max() - axis.min()) + 1 for axis in where)


def check(case: Case) -> None:
    """Assert that the numbers are equal, ours by area to surface-distance and by voxel to MONAI."""
    pred, ref, spacing = case
    np.testing.assert_allclose(ours(*case), deepmind(*case), rtol=1e-5)
    surfaces = surface_distances(pred[None], ref[None], spacing=spacing)
    voxel = surfaces.hausdorff(95, weighting="voxel"), surfaces.surface_dice(TOLERANCE_MM, weighting="voxel")
    np.testing.assert_allclose([value.item() for value in voxel], monai(*case), rtol=1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--data", type=Path, help="folder with masks (*.nii.gz) to measure too")
    parser.add_argument("--cases", type=int, default=5, help="how many of them")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # both rivals warn of deprecated names of their own
    print(f"{platform.machine()}, {os.cpu_count()} cores, one thread, {arguments.rounds} rounds")
    print(f"{'masks':20}{'ours':>11}{'surface-distance':>22}{'MONAI':>22}  {'aim':8}{'peak':>20}")
    real = read_pairs(arguments.data, arguments.cases) if arguments.data else ()
    for name, case, aim in (*made_pairs(), *real):
        check(case)
        times = np.array(
            [[seconds(score, case) for score in (ours, deepmind, monai)] for _ in range(arguments.rounds)]
        )
        middle, ratios = np.median(times, axis=0), np.median(times / times[:, :1], axis=0)
        rivals = "".join(f"{1e3 * middle[i]:10.1f} ms ={ratios[i]:6.1f} x" for i in (1, 2))
        peak = f"{peak_bytes(case) / 2**20:.1f} of {allowed_bytes(*case[:2]) / 2**20:.1f} MiB"
        print(f"{name:20}{1e3 * middle[0]:8.2f} ms{rivals}  {aim:8}{peak:>20}", flush=True)
    print(
        "x: the median over the rounds of rival / ours, each of one round. Every result was compared first."
    )


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONE_THREAD})
    main()
