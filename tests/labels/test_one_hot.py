import numpy as np
import pytest
import torch
from hypothesis import given

from sfumato.errors import DTypeError, ValueRangeError
from sfumato.labels import one_hot
from strategies import label_maps


@given(label_maps())
def test_each_voxel_has_weight_one_for_its_class_alone(case):
    labels, num_classes, _ = case
    soft = one_hot(labels, num_classes=num_classes)
    assert soft.dtype == torch.float32
    assert soft.shape == (num_classes, *labels.shape)
    for index in np.ndindex(*labels.shape):
        expected = [float(labels[index] == k) for k in range(num_classes)]
        assert soft[(slice(None), *index)].tolist() == expected


def test_numpy_labels_of_any_integer_type_are_taken():
    labels = np.array([[0, 2], [1, 0]], dtype=np.uint16)[::-1]
    assert one_hot(labels, num_classes=3).argmax(0).tolist() == [[1, 0], [0, 2]]


def test_fractions_are_refused_as_class_indices():
    with pytest.raises(DTypeError, match="class indices must be integers"):
        one_hot(torch.zeros(2, 2), num_classes=2)


def test_a_label_beyond_the_classes_is_named():
    with pytest.raises(ValueRangeError, match=r"0 \.\. 3, but num_classes is 3"):
        one_hot(torch.tensor([[0, 3]]), num_classes=3)
