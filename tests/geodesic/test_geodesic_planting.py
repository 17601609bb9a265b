"""Which blocks wait to be passed on when a transform begins: those with seeds and with others beside them."""

import numpy as np
import pytest
import scipy.ndimage

from sfumato.geodesic.engine import planting
from sfumato.geodesic.engine.simd import LANES
from sfumato.geodesic.engine.sweeps import CHANGED, ROW0, WAITING, WORDS

rng = np.random.default_rng(11)


def bits(words, rows, count):
    """Words of bits as booleans ``(depth, height, count)``."""
    return (words[:-1].reshape(rows)[..., None] >> np.arange(count, dtype=np.uint64) & np.uint64(1)) > 0


def in_blocks(flags, size):
    """Whether any flag is set, block by block."""
    starts = range(0, flags.shape[2], size)
    return np.stack([flags[:, :, start : start + size].any(axis=2) for start in starts], axis=2)


@pytest.mark.parametrize("width", [1, 15, 16, 17, 32, 100, 1023, 1024, 1030, 2100])
@pytest.mark.parametrize("share", [0.01, 0.98, 1.0])
@pytest.mark.parametrize("rows", [(1, 1), (1, 5), (4, 3)])
@pytest.mark.parametrize("parts", [1, 2])
def test_seeds_wait_where_a_neighbouring_block_has_other_voxels(width, share, rows, parts):
    depth, height = rows
    flags = (rng.random((depth, height, width)) < share).astype(np.uint8)
    flags[:, :, : rng.integers(0, width)] = 0
    flags[0, 0, -1] = 1
    blocks = width // LANES + 1
    pitch, group = blocks * LANES, -(-blocks // 64)
    shape, size = flags.shape, LANES * group
    distance = np.full((depth * height + 1) * pitch + 2 * LANES, np.inf, np.float32)
    todo = np.zeros((len(WORDS), depth * height + 1), np.uint64)
    box, count = planting.seed_box(flags)
    assert count == flags.sum()
    words, aside = planting.seed_words(shape, group, box)
    first, last = box[0]
    middle = (first + last) // 2 if parts == 2 else last
    for planes in ((first, middle), (middle, last)):
        planting.plant_free(distance, flags, words, aside, shape, pitch, group, box, planes)
    seeded = planting.mark(words, todo, height, box)

    padded = distance[ROW0 : ROW0 + depth * height * pitch].reshape(depth, height, pitch)
    np.testing.assert_array_equal(padded[:, :, :width], np.where(flags, 0, np.inf))
    assert np.isinf(padded[:, :, width:]).all()
    seeds, others = in_blocks(flags == 1, size), in_blocks(flags == 0, size)
    beside = scipy.ndimage.binary_dilation(others, np.ones((3, 3, 3)))
    count = -(-width // size)
    np.testing.assert_array_equal(bits(todo[WAITING], rows, count), seeds & beside)
    np.testing.assert_array_equal(bits(todo[CHANGED], rows, count), seeds)
    assert seeded == seeds.any(axis=2).sum()
