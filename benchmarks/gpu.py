"""Labels on the GPU: correct first, then milliseconds by events, next to FastGeodis' CUDA code.

    python benchmarks/gpu.py [--rounds 20] [--sets 3] [--rows transform sing …] [--tile 8 8 8]
    TRITON_INTERPRET=1 python benchmarks/gpu.py --device cpu --side 10 --rounds 1 --sets 1     # a dry run

FastGeodis is measured if it can be imported; built from its source package on the machine with the GPU
(``pip install --no-build-isolation FastGeodis`` with nvcc) it has its CUDA kernels. Every row takes several
input sets in turn; the median over all of them is printed, beside the copy bandwidth measured in this run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sfumato.geodesic import geodesic_distance, gpu, inner_boundary
from sfumato.geodesic.gpu import solve as solving
from sfumato.geodesic.gpu.distances import device_distances
from sfumato.geodesic.task import PathCost
from sfumato.labels import geols, sing, svls
from sfumato.losses import FocalL1Loss
from sfumato.networks import build

STEP = (1.0, 1.0, 1.0)
SING = {"spacing": STEP, "boundary": "inner"}
GEOLS = {"num_classes": 4, "spacing": STEP, "preset": "reference"}


class Bench:
    """The rows; each prints our median milliseconds, the rival's where it is there, and the target."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device = torch.device(options.device)
        self.rounds, self.sets, self.rows, self.side = (
            options.rounds,
            options.sets,
            options.rows,
            options.side,
        )
        self.rival = rival() if self.device.type == "cuda" else None

    def wanted(self, name: str) -> bool:
        return not self.rows or any(part in name for part in self.rows)

    def clock(self, work: Callable[[], Any]) -> float:
        """Milliseconds of one call."""
        if self.device.type != "cuda":
            begun = time.perf_counter()
            work()
            return (time.perf_counter() - begun) * 1e3
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        first.record()
        work()
        last.record()
        torch.cuda.synchronize()
        return float(first.elapsed_time(last))

    def median(self, works: Sequence[Callable[[], Any]]) -> float:
        """Median over all inputs and rounds, after one call of each that is not counted."""
        for work in works:
            work()
        return statistics.median(self.clock(work) for _ in range(self.rounds) for work in works)

    def volume(self, shape: Sequence[int], items: int, seed: int) -> tuple[Tensor, Tensor]:
        """Z-scored noise over three nested ellipsoids, ``(B, 1, *S)`` and ``(B, 3, *S)``."""
        generator = torch.Generator().manual_seed(seed)
        axes = [torch.linspace(-1, 1, side) for side in shape]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        centres = (torch.rand(items, len(shape), *(1,) * len(shape), generator=generator) - 0.5) * 0.6
        radius = ((grid - centres) ** 2).sum(1).sqrt()
        masks = torch.stack([radius < limit for limit in (0.45, 0.3, 0.18)], dim=1)
        image = masks.sum(1, keepdim=True) + 0.5 * torch.randn(items, 1, *shape, generator=generator)
        image = (image - image.mean()) / image.std()
        return image.to(self.device), masks.to(self.device)

    def bandwidth(self) -> float:
        """Bytes per second that a plain copy of 1 GB reads and writes."""
        source = torch.empty(2**28 if self.device.type == "cuda" else 2**22, device=self.device)
        target = torch.empty_like(source)
        return 2 * source.numel() * 4 / (self.median([lambda: target.copy_(source)]) / 1e3)

    def transform(self, weight: float, target: str) -> None:
        """One exact transform from a boundary, against FastGeodis at its default four iterations."""
        shape = (155, 240, 240) if self.side is None else (self.side,) * 3
        works, others = [], []
        for seed in range(self.sets):
            image, masks = self.volume(shape, 1, seed)
            edge = inner_boundary(masks[:, :1], 3)
            work, cost = solving.SolverWork(), PathCost("l1", weight)
            start = torch.where(edge, 0.0, torch.inf)
            found = device_distances(image, start, spacing=[STEP], cost=cost, work=work)
            self.same(
                found[0, 0],
                geodesic_distance(image[0].cpu(), edge[0, 0].cpu(), spacing=STEP, cost="l1", weight=weight),
            )
            assert torch.equal(found, device_distances(image, start, spacing=[STEP], cost=cost))
            works.append(
                lambda image=image, edge=edge: geodesic_distance(
                    image, edge, spacing=[STEP], cost="l1", weight=weight
                )
            )
            if self.rival is not None:
                soft = 1.0 - edge.float()
                others.append(
                    lambda image=image, soft=soft: self.rival(image, soft, list(STEP), 1e10, weight, 4)
                )
        ours = self.median(works)
        # Every visit reads and writes its tile's distances at least once.
        rate = work.visits * work.voxels_per_tile * 8 / ours / 1e6
        text = f"{work.passes} passes, {work.visits / work.tiles:.1f} visits per tile, {rate:.0f} GB/s"
        self.print(
            f"transform {'x'.join(map(str, shape))}, l1 {weight}",
            ours,
            self.median(others) if others else None,
            target,
            text,
        )

    def sing(self) -> None:
        """SiNGR's maps of a batch of two items with three regions."""
        side = self.side or 128
        works = []
        for seed in range(self.sets):
            image, masks = self.volume((side,) * 3, 2, seed)
            found = sing(masks, image, **SING)
            self.same(found, sing(masks.cpu(), image.cpu(), **SING))
            works.append(lambda image=image, masks=masks: sing(masks, image, **SING))
        self.print(f"sing, 2 x 3 regions of {side}^3", self.median(works), None, "below 5 ms")

    def geols(self) -> None:
        """GeoLS as released, a batch of two items with four classes; the seeds are given."""
        side = self.side or 128
        works = []
        for seed in range(self.sets):
            image, masks = self.volume((side,) * 3, 2, seed)
            labels = masks.sum(1)
            one_hot = torch.stack([labels == index for index in range(4)], dim=1)
            seeds = one_hot & (
                torch.rand(one_hot.shape, generator=torch.Generator().manual_seed(seed)).to(self.device)
                < 1e-3
            )
            found = geols(labels, image, seeds=seeds, **GEOLS)
            self.same(found, geols(labels.cpu(), image.cpu(), seeds=seeds.cpu(), **GEOLS))
            works.append(
                lambda labels=labels, image=image, seeds=seeds: geols(labels, image, seeds=seeds, **GEOLS)
            )
        self.print(f"geols reference, batch 2, 4 classes, {side}^3", self.median(works), None, "below 10 ms")

    def svls(self) -> None:
        """SVLS against writing its output once."""
        shape = (155, 240, 240) if self.side is None else (self.side,) * 3
        works = []
        for seed in range(self.sets):
            labels = self.volume(shape, 1, seed)[1][0].sum(0)
            self.same(svls(labels, num_classes=4), svls(labels.cpu(), num_classes=4))
            works.append(lambda labels=labels: svls(labels, num_classes=4))
        out = torch.empty(4, *shape, device=self.device)
        once = self.median([lambda: out.fill_(0.5)])
        ours = self.median(works)
        self.print(
            f"svls, 4 classes, {'x'.join(map(str, shape))}",
            ours,
            None,
            "1.5x of one write",
            f"one write {once:.3f} ms, {ours / once:.2f}x",
        )

    def share(self) -> None:
        """The labels' share of a SiNGR training step: BasicUNet, bf16."""
        side = self.side or 128
        image, masks = self.volume((side,) * 3, 2, 0)
        network = build("basic-unet", in_channels=1, out_channels=3, image_size=(side,) * 3).to(self.device)
        loss, optimizer = FocalL1Loss(), torch.optim.Adam(network.parameters(), lr=1e-4)

        def step(target: Tensor) -> None:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device.type, torch.bfloat16):
                maps = torch.tanh(network(image))
            loss(maps.float(), target).backward()
            optimizer.step()

        def target() -> Tensor:
            return sing(masks, image, spacing=STEP, boundary="inner")

        fixed = target()
        label, train = self.median([target]), self.median([lambda: step(fixed)])
        text = f"labels {100 * label / (label + train):.1f} % of {label + train:.1f} ms"
        self.print(
            f"training step with labels, {side}^3, batch 2, bf16",
            label + train,
            None,
            "labels below 3 %",
            text,
        )

    def same(self, found: Tensor, expected: Tensor) -> None:
        """Equal to the CPU engine's result to 1e-5."""
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-6)

    def print(self, name: str, ours: float, theirs: float | None, target: str, text: str = "") -> None:
        ratio = "" if theirs is None else f"  FastGeodis {theirs:.2f} ms, {theirs / ours:.1f}x"
        print(f"{name:<52} {ours:9.3f} ms{ratio}  (target: {target})  {text}", flush=True)


def rival() -> Callable[..., Tensor] | None:
    """FastGeodis' 3-D transform, or None."""
    try:
        import FastGeodis
    except ImportError as problem:
        print(f"FastGeodis is not measured: {problem}")
        return None
    found: Callable[..., Tensor] = FastGeodis.generalised_geodesic3d
    return found


def main() -> None:
    """Run the rows asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--sets", type=int, default=3)
    parser.add_argument("--rows", nargs="+", default=[])
    parser.add_argument("--side", type=int, help="a small cube in place of the real sizes, for a dry run")
    parser.add_argument("--tile", type=int, nargs=3, help="sides of a tile in 3-D, powers of two")
    options = parser.parse_args()
    if options.tile:
        solving.TILES[3] = tuple(options.tile)
    if options.device == "cpu":
        gpu.takes = lambda image: isinstance(image, Tensor)  # type: ignore[assignment]
    bench = Bench(options)
    name = (
        torch.cuda.get_device_name() if options.device == "cuda" else "CPU, interpreted: times mean nothing"
    )
    print(f"{name}, torch {torch.__version__}, copy {bench.bandwidth() / 1e9:.0f} GB/s")
    rows: dict[str, Callable[[], None]] = {
        "transform l1 0.5": lambda: bench.transform(0.5, "10x, below 5 ms"),
        "transform l1 1.0": lambda: bench.transform(1.0, "5x"),
        "sing": bench.sing,
        "geols": bench.geols,
        "svls": bench.svls,
        "step": bench.share,
    }
    for title, row in rows.items():
        if bench.wanted(title):
            row()


if __name__ == "__main__":
    main()
