"""Peak memory and time of evaluating one large case: 512 x 512 x 600 voxels, 5 classes, every metric.

    python benchmarks/evaluate_memory.py [--size 512 512 600] [--soft float32]

``sfumato evaluate`` runs as a process of its own on files as a run writes them: labels, a reference, and the
soft prediction as float32 or scaled to bytes. Balls stand for organs. The limit of 6 GB on the peak of that
process is asserted at full size.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from sfumato.data import write_volume
from sfumato.evaluation import METRICS, read_rows

LIMIT_BYTES = 6e9
SPACING = (0.8, 0.8, 1.0)
NEEDED = ("masks", "maps", "probabilities")


def labels_of(shape: tuple[int, ...], shift: float) -> np.ndarray:
    """Four balls of different size, each a label, written slice by slice."""
    labels = np.zeros(shape, np.uint8, order="F")
    first, second = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape[:2]), indexing="ij")
    centres = ((-0.4, -0.4, -0.3, 0.45), (0.4, -0.3, 0.2, 0.4), (0.0, 0.45, 0.1, 0.3), (0.1, 0.1, -0.7, 0.2))
    for slice_index, third in enumerate(np.linspace(-1, 1, shape[2])):
        for label, (a, b, c, radius) in enumerate(centres, start=1):
            inside = (first - a - shift) ** 2 + (second - b) ** 2 + (third - c) ** 2 < radius**2
            labels[:, :, slice_index][inside] = label
    return labels


def softened(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Give the right class about 0.9 and the others the rest, class last; the noise repeats every slice."""
    noise = np.random.default_rng(0).random((*labels.shape[:2], num_classes), dtype=np.float32) * 0.1
    soft = np.empty((*labels.shape, num_classes), np.float32, order="F")
    for slice_index in range(labels.shape[2]):
        piece = np.roll(noise, slice_index, axis=0)
        piece[np.arange(num_classes) == labels[:, :, slice_index, None]] += 0.9
        soft[:, :, slice_index] = piece / piece.sum(axis=-1, keepdims=True)
    return soft


def write_case(folder: Path, size: tuple[int, ...], soft: str) -> None:
    """Write reference and prediction of one case."""
    affine = np.diag([*SPACING, 1.0])
    write_volume(folder / "ref" / "large.nii.gz", labels_of(size, 0.0), affine=affine)
    prediction = labels_of(size, 0.02)
    write_volume(folder / "pred" / "large.nii.gz", prediction, affine=affine)
    encoding = "uint8" if soft == "uint8" else "exact"
    write_volume(
        folder / "pred" / "large_soft.nii.gz", softened(prediction, 5), affine=affine, encoding=encoding
    )


def write_apart(folder: Path, size: tuple[int, ...], soft: str) -> None:
    """Write the case in a process of its own, whose memory is not that of the evaluation."""
    arguments = ["--write", str(folder), "--size", *map(str, size), "--soft", soft]
    subprocess.run([sys.executable, __file__, *arguments], check=True)


def evaluate(folder: Path) -> int:
    """Run ``sfumato evaluate`` with every metric; give the peak of its memory in bytes."""
    command = [sys.executable, "-m", "sfumato", "evaluate", str(folder / "pred"), str(folder / "ref")]
    chosen = [
        argument
        for metric in METRICS.values()
        if metric.needs in NEEDED
        for argument in ("--metric", metric.name)
    ]
    # A shell's own process in between: the peak of this one's children would be that of the writing too.
    script = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    arguments = [*command, "--out", str(folder / "metrics.csv"), *chosen]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout.split()[-1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 600))
    parser.add_argument("--soft", choices=("float32", "uint8"), default="float32")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = tuple(options.size)
    if options.write is not None:
        write_case(options.write, size, options.soft)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_apart(folder, size, options.soft)
        start = time.perf_counter()
        peak = evaluate(folder)
        seconds = time.perf_counter() - start
        rows = read_rows(folder / "metrics.csv")
    print(
        f"{' x '.join(map(str, size))}, 5 classes, soft predictions as {options.soft}: {len(rows)} values in "
        f"{seconds:.0f} s, peak {peak / 1e9:.2f} GB"
    )
    assert all(row.status == "ok" for row in rows)
    if size == (512, 512, 600):
        assert peak < LIMIT_BYTES, f"the peak is above {LIMIT_BYTES / 1e9:.0f} GB"


if __name__ == "__main__":
    main()
