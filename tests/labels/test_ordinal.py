import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import ValueRangeError
from sfumato.labels import one_hot, ordinal
from strategies import label_maps


@given(label_maps(max_side=4), st.sampled_from((0.1, 1.0)), st.sampled_from((0.3, 2.0)))
def test_weights_fall_with_the_distance_of_the_index(case, alpha, sigma):
    labels, num_classes, _ = case
    soft = ordinal(labels, num_classes=num_classes, alpha=alpha, sigma=sigma)
    for voxel in np.ndindex(*labels.shape):
        own = int(labels[voxel])
        bell = [math.exp(-((k - own) ** 2) / (2 * sigma**2)) for k in range(num_classes)]
        expected = [(1 - alpha) * (k == own) + alpha * bell[k] / sum(bell) for k in range(num_classes)]
        assert soft[(slice(None), *voxel)].tolist() == pytest.approx(expected, abs=1e-6)


def test_alpha_zero_is_one_hot():
    labels = torch.tensor([[0, 2, 1]])
    assert torch.equal(ordinal(labels, num_classes=3, alpha=0.0), one_hot(labels, num_classes=3))


def test_a_width_of_zero_is_refused():
    with pytest.raises(ValueRangeError, match="sigma is 0"):
        ordinal(torch.tensor([[0, 1]]), num_classes=2, sigma=0.0)
