"""Weights, memory, operations and seconds of one SiNGR training step, for every network.

    python benchmarks/networks.py [--size 128] [--batch 2] [--precision 32] [--networks basic-unet swin-unetr]
                                  [--device cuda | --measure] [--steps 5] [--csv networks.csv]

A step is forward, SiNGR's loss on three regions, backward and Adam, on images of 4 channels and of ``size``
voxels a side, 128 by default, ``batch`` of them, 2 by default. A 2-D network sees as many voxels, as slices.

The step is counted without arithmetic (``network_counts.py``), on any machine within a minute or two:

- state GB: what stays between steps: parameters, gradients, Adam's two moments, buffers.
- kept GB: what forward leaves for backward, on top of state and batch.
- peak GB: the most at any time, with state and batch. Bytes of tensors: workspaces of convolutions and what
  the allocator loses are not in it.
- TFLOP/Mvoxel: operations of convolutions and matrix products, forward and backward, per million voxels of
  the batch.
- GB/Mvoxel: what all operations read and write, per million voxels of the batch.

From the last two ``sfumato reproduce --list`` estimates GPU-hours; ``sfumato.reproduction.costs`` has
them in a table.

On CUDA (``--device cuda``; the default where there is one) real steps follow, each network in a process of
its own: the allocator's peak, and the median time by events. ``--measure`` does so on the CPU, where the peak
is the process's resident memory, Python and libraries included; 128^3 takes minutes and tens of gigabytes
there, so give a smaller ``--size``. ``sfumato reproduce --list --speeds FILE`` reads the file of ``--csv``.

The logits' shape and, where measured, a finite loss are asserted.
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
from pathlib import Path

import torch
from network_counts import counted
from torch import Tensor, nn

from sfumato.methods import method
from sfumato.networks import NETWORKS, build

CHANNELS = 4
REGIONS = 3
AUTOCAST = {"32": None, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
# Heading and format of what is printed, by column of the file.
COUNTED = {
    "size": ("image", "13"),
    "batch": ("batch", "7"),
    "parameters": ("parameters", "13,"),
    "state_gb": ("state GB", "10.2f"),
    "kept_gb": ("kept GB", "9.2f"),
    "peak_gb": ("peak GB", "9.2f"),
    "teraflop_per_megavoxel": ("TFLOP/Mvoxel", "14.3f"),
    "gigabytes_per_megavoxel": ("GB/Mvoxel", "11.1f"),
}
MEASURED = {
    "measured_peak_gb": ("measured GB", "13.2f"),
    "seconds_per_step": ("s/step", "9.3f"),
    "seconds_per_megavoxel": ("s/Mvoxel", "10.4f"),
}
COLUMNS = ("network", "precision", *COUNTED, "machine", *MEASURED)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS), metavar="NAME"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--measure", action="store_true", help="time real steps on the CPU too")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--precision", choices=tuple(AUTOCAST), default="32")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    on_gpu = asked.device.startswith("cuda")
    asked.measure |= on_gpu
    asked.steps = asked.steps or (5 if on_gpu else 1)
    return asked


def signed_balls(shape: tuple[int, ...]) -> Tensor:
    """Three nested balls as signed maps in [-1, 1], ``(3, *shape)``: 1 in the middle, 0 on the surface."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in shape), indexing="ij")
    radius = sum(axis**2 for axis in axes).sqrt()
    return torch.stack([(1 - radius / outer).clamp(-1, 1) for outer in (0.8, 0.5, 0.3)])


class TrainingStep:
    """One training step on a made-up batch."""

    def __init__(
        self, network: nn.Module, batch: int, shape: tuple[int, ...], *, precision: str, device: str = "cpu"
    ) -> None:
        self.network = network
        # Adam goes through all parameters at once, as it does on CUDA by itself.
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, foreach=True)
        self.image = torch.randn(batch, CHANNELS, *shape, device=device)
        self.target = signed_balls(shape).expand(batch, REGIONS, *shape).contiguous().to(device)
        self.device = device.split(":")[0]
        self.kind = AUTOCAST[precision]
        self.loss = method("singr").make_loss({})

    def batch(self) -> tuple[Tensor, Tensor]:
        return self.image, self.target

    def forward(self) -> Tensor:
        """Give the loss."""
        with torch.autocast(self.device, dtype=self.kind, enabled=self.kind is not None):
            logits = self.network(self.image)
            assert logits.shape == self.target.shape
            return self.loss(logits.float(), self.target)

    def update(self, loss: Tensor, scaler: torch.amp.GradScaler | None = None) -> None:
        self.optimizer.zero_grad()
        if scaler is None:
            loss.backward()
            self.optimizer.step()
            return
        scaler.scale(loss).backward()
        scaler.step(self.optimizer)
        scaler.update()


def setup(name: str, size: int, batch: int) -> tuple[nn.Module, int, tuple[int, ...]]:
    """Build the network for these images; give it, the images of the batch and their shape."""
    flat = 3 not in NETWORKS[name].axes
    shape = (size,) * (2 if flat else 3)
    torch.manual_seed(0)
    network = build(name, in_channels=CHANNELS, out_channels=REGIONS, image_size=shape)
    return network, batch * (size if flat else 1), shape


def row_of(name: str, *, size: int = 128, batch: int = 2, precision: str = "32") -> dict[str, object]:
    """Count one step."""
    network, images, shape = setup(name, size, batch)
    found = counted(network, lambda twin: TrainingStep(twin, images, shape, precision=precision))
    voxels = images * math.prod(shape)
    return {
        "network": name,
        "precision": precision,
        "size": "x".join(map(str, shape)),
        "batch": images,
        "parameters": sum(part.numel() for part in network.parameters() if part.requires_grad),
        "state_gb": round(found.state / 1e9, 3),
        "kept_gb": round(found.kept / 1e9, 3),
        "peak_gb": round(found.peak / 1e9, 3),
        "teraflop_per_megavoxel": round(found.flops / voxels / 1e6, 4),
        "gigabytes_per_megavoxel": round(found.moved / voxels / 1e3, 2),
    }


def seconds_of(step: TrainingStep, scaler: torch.amp.GradScaler) -> float:
    """Make one step; give its seconds."""
    on_gpu = step.device == "cuda"
    start = time.perf_counter()
    if on_gpu:
        start_event, end_event = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start_event.record()
    loss = step.forward()
    step.update(loss, scaler)
    assert math.isfinite(loss.item())
    if not on_gpu:
        return time.perf_counter() - start
    end_event.record()
    torch.cuda.synchronize()
    return start_event.elapsed_time(end_event) / 1000


def measure(name: str, asked: argparse.Namespace) -> dict[str, object]:
    """Build the network, warm up by one step, and time the others."""
    network, images, shape = setup(name, asked.size, asked.batch)
    network = network.to(asked.device)
    step = TrainingStep(network, images, shape, precision=asked.precision, device=asked.device)
    scaler = torch.amp.GradScaler(step.device, enabled=step.kind is torch.float16)
    seconds_of(step, scaler)
    if step.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = statistics.median(seconds_of(step, scaler) for _ in range(asked.steps))
    if step.device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "machine": machine(asked.device),
        "measured_peak_gb": round(peak / 1e9, 3),
        "seconds_per_step": round(seconds, 4),
        "seconds_per_megavoxel": round(seconds / (images * math.prod(shape) / 1e6), 5),
    }


def machine(device: str) -> str:
    """Name the GPU, or the CPU and its threads."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU with {torch.get_num_threads()} threads"


def measured_alone(name: str, asked: argparse.Namespace) -> dict[str, object] | str:
    """Measure in a new process; give the columns, or the last line of what went wrong."""
    command = [sys.executable, __file__, "--alone", "--networks", name, "--device", asked.device]
    for option in ("size", "batch", "steps", "precision"):
        command += [f"--{option}", str(getattr(asked, option))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        found: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
        return found
    lines = result.stderr.strip().splitlines()
    return lines[-1] if lines else f"the process ended with status {result.returncode}"


def texts(row: dict[str, object], columns: dict[str, tuple[str, str]]) -> str:
    return "".join(format(row[column], f">{shape}") for column, (_, shape) in columns.items())


def headings(columns: dict[str, tuple[str, str]]) -> str:
    return "".join(f"{title:>{shape.rstrip(',f').split('.')[0]}}" for title, shape in columns.values())


def main() -> None:
    asked = arguments()
    if asked.alone:
        print(json.dumps(measure(asked.networks[0], asked)))
        return
    where = f"{asked.steps} steps measured on {machine(asked.device)}" if asked.measure else "counted"
    print(f"one SiNGR training step, precision {asked.precision}, torch {torch.__version__}, {where}")
    print(f"{'network':<16}{headings(COUNTED)}{headings(MEASURED) if asked.measure else ''}")
    rows = []
    for name in asked.networks:
        row = row_of(name, size=asked.size, batch=asked.batch, precision=asked.precision)
        print(f"{name:<16}{texts(row, COUNTED)}", end="", flush=True)
        found = measured_alone(name, asked) if asked.measure else {}
        if isinstance(found, str):
            print(f"  {found}", flush=True)
        else:
            row |= found
            print(texts(row, MEASURED) if found else "", flush=True)
        rows.append(row)
    print("GB: 1e9 bytes of tensors, without convolutions' workspaces and the allocator's losses")
    if asked.csv:
        with asked.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
