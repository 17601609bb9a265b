"""Peak memory and time of evaluating one large case: 512 x 512 x 600 voxels, 5 classes, every metric.

    python benchmarks/evaluate_memory.py [--size 512 512 600]

Smooth random regions stand for organs; the graded prediction is float32, stored as a NIfTI reader gives it
(class last, first axis fastest). The limit of 6 GB on the peak is asserted at full size.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch

from sfumato.metrics import Origin
from sfumato.metrics.evaluation import DEFAULT_METRICS, Settings, evaluate_case

LIMIT_BYTES = 6e9


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


def graded(labels: np.ndarray, num_classes: int) -> torch.Tensor:
    """Give the right class 0.9 and the others the rest, with noise, as ``(K, *S)`` float32."""
    rng = np.random.default_rng(0)
    soft = np.empty((*labels.shape, num_classes), np.float32, order="F")
    for slice_index in range(labels.shape[2]):
        noise = rng.random((*labels.shape[:2], num_classes), dtype=np.float32) * 0.1
        noise[np.arange(num_classes) == labels[:, :, slice_index, None]] += 0.9
        soft[:, :, slice_index] = noise / noise.sum(axis=-1, keepdims=True)
    return torch.from_numpy(soft).movedim(-1, 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(512, 512, 600))
    size = tuple(parser.parse_args().size)
    torch.set_num_threads(1)
    reference, prediction = (torch.from_numpy(labels_of(size, shift)) for shift in (0.0, 0.02))
    probs = graded(prediction.numpy(), 5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter()
    rows = evaluate_case(
        prediction,
        reference,
        structures={f"organ {k}": (k,) for k in range(1, 5)},
        spacing=(0.8, 0.8, 1.0),
        origin=Origin("run", "method", "made", 0, 0, "large"),
        settings=Settings(
            metrics=(*DEFAULT_METRICS, "hd", "assd", "masd", "specificity", "lesion_f1", "mce")
        ),
        soft=probs[1:],
        probs=probs,
    )
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    inputs = probs.nbytes + prediction.nbytes + reference.nbytes
    print(f"{' x '.join(map(str, size))}, 5 classes: {len(rows)} values in {seconds:.0f} s")
    print(f"inputs {inputs / 1e9:.2f} GB, peak before {before / 1e9:.2f} GB, peak {peak / 1e9:.2f} GB")
    assert all(row.status == "ok" for row in rows)
    if size == (512, 512, 600):
        assert peak < LIMIT_BYTES, f"the peak is above {LIMIT_BYTES / 1e9:.0f} GB"


if __name__ == "__main__":
    main()
