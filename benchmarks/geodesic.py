"""Speed of the geodesic engine and of the labels on it, next to FastGeodis and GeodisTK, in ratios.

    python benchmarks/geodesic.py [--rounds 5] [--data DIR] [--rivals DIR] [--rows NAME …] [--scale 1.0]

Builds the rivals into environments of their own below ``--rivals`` on the first run (it needs a C++
compiler). A row of transforms first checks our result: against Dijkstra on a heap, bit for bit, and against
the rival's, which may only be larger (it stops early). Then ours and theirs run in turn; the ratio is the
median of the per-round ratios.

The rows of ``geols paper`` have two readings: against the same pipeline (z-score, seeds, weights) around one
full transform per class, and against those transforms alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage
import torch
from geodesic_scenes import boundary, cells, depthwise, eroded, maze, phantom, spiral

from sfumato.geodesic import geodesic_distance
from sfumato.geodesic.engine import solve as engine
from sfumato.geodesic.engine.blocks import Blocks
from sfumato.labels import geols, seed_voxels, sing, svls
from sfumato.labels.intensity import scaled_image
from sfumato.labels.kernels.nearness import weigh

# ruff: noqa: ANN401  # Arrays of either library pass through.
SPACING = (1.0, 1.0, 1.0)
RIVALS = {
    "fastgeodis": (["setuptools<80", "wheel", "ninja", "numpy", "torch==2.13.0"], "FastGeodis==1.0.5"),
    "geodistk": (["setuptools<80", "wheel", "numpy<2"], "GeodisTK"),
}


class Rival:
    """A rival package in its own environment and process; ``None`` as seconds where it could not be built."""

    def __init__(self, name: str, folder: Path, scratch: Path) -> None:
        self.name, self.scratch = name, scratch
        python = folder / name / "bin" / "python"
        needs, package = RIVALS[name]
        try:
            finished = folder / name / "finished"  # A build that was broken off is taken up again.
            if not finished.exists():
                subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
                install = [str(python), "-m", "pip", "install", "-q"]
                subprocess.run([*install, *needs], check=True)
                subprocess.run([*install, "--no-build-isolation", package], check=True)
                finished.touch()
            self.process: Any = subprocess.Popen(
                [str(python), str(Path(__file__).with_name("geodesic_rival.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "2", "PYTHONPATH": ""},
            )
        except (subprocess.CalledProcessError, OSError) as problem:
            print(f"{name} could not be built: {problem}")
            self.process = None

    def save(self, name: str, array: np.ndarray[Any, Any]) -> str:
        path = self.scratch / f"{name}.npy"
        np.save(path, array)
        return str(path)

    def job(self, image: Any, seeds: Any, weight: float, iterations: int, **options: Any) -> dict[str, Any]:
        image, seeds = np.ascontiguousarray(image), np.ascontiguousarray(seeds)
        tag = f"{self.name}-{abs(hash((image.shape, image.ravel()[:99].tobytes(), int(seeds.sum()))))}"
        masks = options.pop("masks", None)
        return {
            "rival": self.name,
            "image": self.save(f"{tag}-image", image),
            "seeds": self.save(f"{tag}-seeds", seeds),
            "masks": None if masks is None else self.save(f"{tag}-masks", masks),
            "weight": weight,
            "iterations": iterations,
            "spacing": SPACING,
            "threads": 1,
            **options,
        }

    def run(self, job: dict[str, Any]) -> float | None:
        if self.process is None:
            return None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


class Bench:
    """The rows, each timed in rounds that interleave ours and theirs."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.rounds, self.rows, self.data = options.rounds, options.rows, options.data
        self.fast = Rival("fastgeodis", options.rivals, scratch)
        self.slow = Rival("geodistk", options.rivals, scratch)
        self.scratch = scratch

    def wanted(self, name: str) -> bool:
        return not self.rows or any(part in name for part in self.rows)

    def row(
        self,
        name: str,
        ours: Callable[[], Any],
        theirs: Callable[[], Any],
        target: float,
        *,
        timed: bool = False,
    ) -> None:
        """Print one line. ``theirs`` returns its own seconds, or is timed here if ``timed``."""
        ours()
        pairs = []
        for _ in range(self.rounds):
            own = clock(ours)
            other = clock(theirs) if timed else theirs()
            if other is None:
                print(f"{name:58s} ours {own:8.3f} s  the rival is missing")
                return
            pairs.append((own, other))
        ratio = statistics.median(other / own for own, other in pairs)
        own, other = (min(column) for column in zip(*pairs, strict=True))
        verdict = "holds" if ratio >= target else "MISSED"
        times = f"ours {own:8.3f} s  other {other:8.3f} s"
        print(f"{name:58s} {times}  ratio {ratio:6.2f} of {target:5.2f} {verdict}", flush=True)

    def versus_fast(
        self, name: str, case: tuple[Any, Any], weight: float, iterations: int, target: float
    ) -> None:
        """One transform, one thread each, exactness first."""
        if not self.wanted(name):
            return
        image, seeds = case[:2]
        spacing = case[2] if len(case) > 2 else SPACING[: image.ndim]
        options = {"spacing": spacing, "cost": "l1", "weight": weight, "threads": 1}
        result = geodesic_distance(image, seeds, **options)
        exact = heap_only(lambda: geodesic_distance(image, seeds, **options))
        assert np.array_equal(result, exact), name
        out = str(self.scratch / "out.npy")
        job = self.fast.job(image, seeds[None], weight, iterations, spacing=spacing)
        if self.fast.run({**job, "out": out}) is not None:
            theirs = np.load(out)[0]
            error = np.abs(theirs / np.maximum(result, 1e-12) - 1)[result > 0]
            if image.ndim == 3:
                assert (theirs >= result * (1 - 1e-4) - 1e-4).all(), name
            print(
                f"  rival: mean error {error.mean():.2e}, over 1 % in {(error > 0.01).mean():.1%} of voxels"
            )
        self.row(name, lambda: geodesic_distance(image, seeds, **options), lambda: self.fast.run(job), target)


def clock(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def heap_only(work: Callable[[], Any]) -> Any:
    budget, engine.BUDGET = engine.BUDGET, 0
    try:
        return work()
    finally:
        engine.BUDGET = budget


def transforms(bench: Bench, shape: tuple[int, ...]) -> None:
    """Single transforms, and threads."""
    image, labels = phantom(shape)
    case = (image, boundary(labels > 0))
    bench.versus_fast("one transform, l1 0.5", case, 0.5, 4, 30)
    bench.versus_fast("one transform, l1 1.0", case, 1.0, 4, 10)
    small = phantom(tuple(min(side, 128) for side in shape))
    bench.versus_fast(
        "128 cube, l1 1.0, rival converged (16)", (small[0], boundary(small[1] > 0)), 1.0, 16, 30
    )
    flat = phantom((512, 512))
    bench.versus_fast("512x512, l1 0.5", (flat[0], boundary(flat[1] > 0)), 0.5, 4, 8)
    bench.versus_fast("512x512, l1 1.0", (flat[0], boundary(flat[1] > 0)), 1.0, 4, 2)
    sets = np.stack([boundary(labels >= k) for k in (1, 2, 3, 1)])
    for name, seeds, target in (("classes", sets, 1.8), ("one volume", sets[0], 1.5)):
        for weight in (0.5, 1.0):
            title = f"2 threads over 1, {name}, l1 {weight}"
            if bench.wanted(title):
                options = {"spacing": SPACING, "cost": "l1", "weight": weight}
                bench.row(
                    title,
                    lambda seeds=seeds, options=options: geodesic_distance(
                        image, seeds, threads=2, **options
                    ),
                    lambda seeds=seeds, options=options: geodesic_distance(
                        image, seeds, threads=1, **options
                    ),
                    target,
                    timed=True,
                )


def labels_rows(bench: Bench, shape: tuple[int, ...]) -> None:
    """The label transforms, end to end."""
    image, labels = phantom(shape)
    pixels, classes = torch.from_numpy(image), torch.from_numpy(labels)
    regions = torch.stack([classes >= k for k in (1, 2, 3)])
    edges = np.stack([boundary(region.numpy()) for region in regions])
    if bench.wanted("sing"):
        torch.set_num_threads(1)
        job = bench.fast.job(image, edges, 0.5, 4, recipe="sing", masks=regions.numpy())
        make = lambda: sing(regions, pixels, spacing=SPACING, boundary="inner")  # noqa: E731
        bench.row("sing, 3 regions, 1 thread", make, lambda: bench.fast.run(job), 35)
    torch.set_num_threads(2)  # Both sides of the rows from here on have two threads.
    seeds = torch.stack([eroded(classes == k) for k in range(4)])
    common = {"num_classes": 4, "spacing": SPACING, "seeds": seeds}
    if bench.wanted("geols reference"):
        make = lambda: geols(classes, pixels, preset="reference", **common)  # noqa: E731
        for rival, weight, target in ((bench.slow, 1.0, 6), (bench.fast, 1.0, 8)):
            job = rival.job(image, seeds[1:].numpy(), weight, 4, recipe="geols", threads=2)
            bench.row(
                f"geols reference, 4 classes, {rival.name}", make, lambda r=rival, j=job: r.run(j), target
            )
    if bench.wanted("geols paper 4"):
        paper_rows(bench, "geols paper 4 classes", classes, pixels, seeds, 3)
    if bench.wanted("geols paper 50"):
        many_classes(bench, 256 if shape[0] > 100 else 64)
    if bench.wanted("svls"):
        torch.set_num_threads(1)
        bench.row(
            "svls, 4 classes, 1 thread",
            lambda: svls(classes, num_classes=4),
            depthwise(classes),
            10,
            timed=True,
        )
        torch.set_num_threads(2)


def many_classes(bench: Bench, side: int) -> None:
    """Fifty classes: cells around random points."""
    image = torch.from_numpy(phantom((side, side, side))[0])
    classes = cells(side, 50)
    seeds = torch.stack([eroded(classes == k) for k in range(50)])
    rounds, bench.rounds = bench.rounds, min(bench.rounds, 3)
    paper_rows(bench, f"geols paper 50 classes, {side} cube", classes, image, seeds, 15)
    bench.rounds = rounds


def paper_rows(
    bench: Bench, name: str, classes: torch.Tensor, image: torch.Tensor, seeds: torch.Tensor, target: float
) -> None:
    """GeoLS end to end against full transforms: in the same pipeline, and by themselves."""
    number = len(seeds)

    def ours() -> torch.Tensor:
        return geols(classes, image, num_classes=number, spacing=SPACING, seeds=seeds)

    def pipeline() -> torch.Tensor:
        scaled = scaled_image(image, spacing=SPACING, intensity="zscore")
        chosen = seed_voxels(classes, num_classes=number, seeds=seeds)
        weights = geodesic_distance(scaled[0], chosen, spacing=SPACING, threads=2).numpy()
        weigh(weights, classes.numpy(), Blocks.every(number, image.shape), 0.1, threads=2)
        return torch.from_numpy(weights)

    assert all((a - b).abs().max() < 1e-6 for a, b in zip(ours(), pipeline(), strict=True)), name
    bench.row(f"{name}, over the pipeline in full", ours, pipeline, target, timed=True)
    transforms_alone = lambda: geodesic_distance(image, seeds, spacing=SPACING, threads=2)  # noqa: E731
    bench.row(f"{name}, over the full transforms alone", ours, transforms_alone, target, timed=True)


def hard_cases(bench: Bench, side: int) -> None:
    """Mazes, spirals, and real volumes at raw intensities."""
    corner = np.zeros((side,) * 3, bool)
    corner[0, 0, 0] = True
    noise = np.random.default_rng(3).random((side,) * 3, np.float32)
    for name, image, allowed in (("maze", noise, maze(side)), ("spiral", spiral(side), None)):
        if not bench.wanted(name):
            continue
        options = {"spacing": SPACING, "cost": "l1", "weight": 0.5, "mask": allowed, "threads": 1}
        make = lambda image=image, options=options: geodesic_distance(image, corner, **options)  # noqa: E731
        alone = lambda make=make: heap_only(make)  # noqa: E731
        assert np.array_equal(make(), alone()), name
        bench.row(f"{name} {side} cube, over the heap alone", make, alone, 0.2, timed=True)
    for path in sorted(bench.data.rglob("*.nii.gz")) if bench.data else ():
        if path.name in ("image.nii.gz", "flair.nii.gz"):
            import nibabel

            image = np.asarray(nibabel.load(path).dataobj, dtype=np.float32)
            if image.ndim == 3 and image.size > 1e6:
                seeds = boundary(scipy.ndimage.binary_erosion(image > np.percentile(image, 90), iterations=2))
                case = (image, seeds, (0.78, 0.78, 4.0))
                for weight in (0.5, 1.0):
                    name = f"raw {path.parent.parent.name}/{path.parent.name} {image.shape} l1 {weight}"
                    bench.versus_fast(name, case, weight, 8, 5)


def memory(bench: Bench, shape: tuple[int, ...]) -> None:
    """Peak memory above inputs and output, in float32 volumes, in a process of its own."""
    if not bench.wanted("memory"):
        return
    if os.fork() == 0:
        image, labels = phantom(shape)
        seeds = boundary(labels > 0)
        geodesic_distance(image[:20], seeds[:20], spacing=SPACING, cost="l1", weight=0.5, threads=1)
        out = np.ones(shape, np.float32)
        before = resident()
        peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        geodesic_distance(image, seeds, spacing=SPACING, cost="l1", weight=0.5, threads=1, out=out)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        volumes = (max(peak, peak_before) - before) * 1024 / image.nbytes
        note = "" if peak > peak_before else " (at most: the preparation needed more)"
        print(
            f"peak memory above inputs and output: {volumes:.2f} float32 volumes, target 3{note}", flush=True
        )
        os._exit(0)
    os.wait()


def resident() -> int:
    """Resident set in KiB."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * 4


def main() -> None:
    """Parse the options and print every wanted row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="*", default=[], help="only rows whose name holds one of these words")
    parser.add_argument("--data", type=Path, help="folder of real volumes (NIfTI)")
    parser.add_argument("--rivals", type=Path, default=Path.home() / ".cache" / "sfumato-bench")
    parser.add_argument("--scale", type=float, default=1.0, help="shrink the volumes, for a quick look")
    options = parser.parse_args()
    shape = tuple(int(side * options.scale) for side in (155, 240, 240))
    print(f"{os.cpu_count()} cores; volume {shape}; {options.rounds} rounds; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(options, Path(scratch))
        memory(bench, shape)
        transforms(bench, shape)
        hard_cases(bench, int(128 * options.scale))
        labels_rows(bench, shape)


if __name__ == "__main__":
    main()
