"""Cases for property tests: never only square, 1 mm, contiguous."""

import numpy as np
import torch
from hypothesis import strategies as st

seeds = st.integers(0, 2**31 - 1)


@st.composite
def shapes(draw, *, min_side=1, max_side=7, dims=(2, 3)):
    """A 2-D or 3-D shape, one-voxel axes included."""
    axes = draw(st.sampled_from(dims))
    return tuple(draw(st.integers(min_side, max_side)) for _ in range(axes))


@st.composite
def spacings(draw, axes, *, ratio=100.0):
    """Millimetres per axis, up to ``ratio`` to one apart."""
    return tuple(draw(st.sampled_from((0.5, 0.78, 1.0, 2.5, 0.5 * ratio))) for _ in range(axes))


def shuffled_memory(tensor, rng):
    """The same values with the axes stored in another order, so that strides are unusual."""
    order = rng.permutation(tensor.ndim)
    return tensor.permute(*order.tolist()).contiguous().permute(*np.argsort(order).tolist())


@st.composite
def label_maps(draw, *, max_side=7, max_classes=4, dims=(2, 3)):
    """``(labels, num_classes, spacing)``: random, empty, full, one-voxel, or lacking a class."""
    shape = draw(shapes(max_side=max_side, dims=dims))
    num_classes = draw(st.integers(2, max_classes))
    rng = np.random.default_rng(draw(seeds))
    kind = draw(st.sampled_from(("random", "empty", "full", "one voxel", "half")))
    labels = np.zeros(shape, dtype=np.int64)
    if kind == "random":
        labels = rng.integers(0, num_classes, shape)
    elif kind == "full":
        labels[:] = num_classes - 1
    elif kind == "one voxel":
        labels[tuple(rng.integers(0, side) for side in shape)] = 1
    elif kind == "half":
        labels[: (shape[0] + 1) // 2] = 1
    tensor = shuffled_memory(torch.from_numpy(labels), rng)
    return tensor, num_classes, draw(spacings(len(shape)))
