"""The histogram of graded values that a run keeps."""

import numpy as np
import torch

from sfumato.study.run_rows import value_counts


def test_histogram_is_numpys_on_values_at_and_between_the_edges():
    edges = [index / 50 for index in range(51)]
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.random(999), edges]).astype(np.float32)
    expected, _ = np.histogram(values, np.asarray(edges, dtype=np.float32))
    assert value_counts(torch.from_numpy(values.reshape(3, -1)), edges).tolist() == expected.tolist()


def test_histogram_counts_more_voxels_than_float32_can():
    count = 2**24 + 3
    assert value_counts(torch.zeros(count), [0.0, 0.5, 1.0]).tolist() == [count, 0]


def test_rounding_beyond_the_range_counts_at_its_ends():
    values = torch.tensor([-1 - 1e-6, -1.0, 0.0, 1.0, 1 + 1e-6])
    assert value_counts(values, [-1.0, 0.0, 1.0]).tolist() == [2, 3]


def test_no_value_is_counted_nowhere():
    assert value_counts(torch.zeros(2, 0), [0.0, 0.5, 1.0]).tolist() == [0, 0]
