"""Weights, peak memory and seconds of one SiNGR training step, for every network.

    python benchmarks/networks.py [--device cuda] [--size 128] [--batch 2] [--steps 5] [--precision 16-mixed]
                                  [--networks basic-unet swin-unetr] [--csv networks.csv]

A step is forward, SiNGR's loss on three regions, backward and Adam, on made-up images of 4 channels and of
``size`` voxels a side. A 2-D network sees as many voxels, as slices. Every network runs in a process of its
own. On CUDA the time comes from events and the peak from the allocator; on the CPU the peak is the process's
resident memory, Python and libraries included. The default size is 128 on CUDA (batch 2) and 64 on the CPU
(batch 1).

The last column, seconds per million voxels in the batch, is what GPU-hours are estimated from. The logits'
shape and a finite loss are asserted.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from sfumato.methods import method
from sfumato.networks import NETWORKS, build

CHANNELS = 4
REGIONS = 3
AUTOCAST = {"32": None, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
COLUMNS = ("network", "size", "batch", "parameters", "peak_gb", "seconds_per_step", "seconds_per_megavoxel")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS), metavar="NAME"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--precision", choices=tuple(AUTOCAST), default="32")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    on_gpu = asked.device.startswith("cuda")
    asked.size = asked.size or (128 if on_gpu else 64)
    asked.batch = asked.batch or (2 if on_gpu else 1)
    asked.steps = asked.steps or (5 if on_gpu else 1)
    return asked


def signed_balls(shape: tuple[int, ...]) -> Tensor:
    """Three nested balls as signed maps in [-1, 1], ``(3, *shape)``: 1 in the middle, 0 on the surface."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in shape), indexing="ij")
    radius = sum(axis**2 for axis in axes).sqrt()
    return torch.stack([(1 - radius / outer).clamp(-1, 1) for outer in (0.8, 0.5, 0.3)])


def stepper(
    network: nn.Module, batch: int, shape: tuple[int, ...], asked: argparse.Namespace
) -> Callable[[], None]:
    """Give the function that makes one training step."""
    loss_of = method("singr").make_loss({})
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    image = torch.randn(batch, CHANNELS, *shape, device=asked.device)
    target = signed_balls(shape).expand(batch, REGIONS, *shape).to(asked.device)
    kind = AUTOCAST[asked.precision]
    scaler = torch.amp.GradScaler(asked.device.split(":")[0], enabled=kind is torch.float16)

    def step() -> None:
        with torch.autocast(asked.device.split(":")[0], dtype=kind, enabled=kind is not None):
            logits = network(image)
            loss = loss_of(logits.float(), target)
        assert logits.shape == target.shape
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        assert math.isfinite(loss.item())

    return step


def seconds_of(step: Callable[[], None], device: str) -> float:
    if not device.startswith("cuda"):
        start = time.perf_counter()
        step()
        return time.perf_counter() - start
    start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start_event.record()
    step()
    end_event.record()
    torch.cuda.synchronize()
    return start_event.elapsed_time(end_event) / 1000


def measure(name: str, asked: argparse.Namespace) -> dict[str, object]:
    """Build the network, warm up by one step, and time the others."""
    flat = 3 not in NETWORKS[name].axes
    shape = (asked.size,) * (2 if flat else 3)
    batch = asked.batch * (asked.size if flat else 1)
    torch.manual_seed(0)
    network = build(name, in_channels=CHANNELS, out_channels=REGIONS, image_size=shape).to(asked.device)
    step = stepper(network, batch, shape, asked)
    step()
    if asked.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median(seconds_of(step, asked.device) for _ in range(asked.steps))
    if asked.device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    values = (
        name,
        "x".join(map(str, shape)),
        batch,
        sum(part.numel() for part in network.parameters()),
        round(peak / 1e9, 3),
        round(seconds, 4),
        round(seconds / (batch * math.prod(shape) / 1e6), 4),
    )
    return dict(zip(COLUMNS, values, strict=True))


def measured_alone(name: str, asked: argparse.Namespace) -> dict[str, object] | str:
    """Measure in a new process; give the row, or the last line of what went wrong."""
    command = [sys.executable, __file__, "--alone", "--networks", name, "--device", asked.device]
    for option in ("size", "batch", "steps", "precision"):
        command += [f"--{option}", str(getattr(asked, option))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        row: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
        return row
    lines = result.stderr.strip().splitlines()
    return lines[-1] if lines else f"the process ended with status {result.returncode}"


def main() -> None:
    asked = arguments()
    if asked.alone:
        print(json.dumps(measure(asked.networks[0], asked)))
        return
    on_gpu = asked.device.startswith("cuda")
    machine = torch.cuda.get_device_name(asked.device) if on_gpu else f"{platform.machine()} CPU"
    threads = "" if on_gpu else f", {torch.get_num_threads()} threads"
    print(f"{machine}{threads}, torch {torch.__version__}, precision {asked.precision}, {asked.steps} steps")
    head = ("image", "batch", "parameters", "peak GB", "s/step", "s/Mvoxel")
    widths = (13, 7, 13, 9, 10, 10)
    print(
        f"{'network':<16}" + "".join(f"{title:>{width}}" for title, width in zip(head, widths, strict=True))
    )
    rows = []
    for name in asked.networks:
        row = measured_alone(name, asked)
        if isinstance(row, str):
            print(f"{name:<16}{row}", flush=True)
            continue
        rows.append(row)
        print(
            f"{name:<16}{row['size']:>13}{row['batch']:>7}{row['parameters']:>13,}{row['peak_gb']:>9.2f}"
            f"{row['seconds_per_step']:>10.3f}{row['seconds_per_megavoxel']:>10.3f}",
            flush=True,
        )
    if asked.csv:
        with asked.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
