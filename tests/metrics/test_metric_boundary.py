import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.metrics import boundary_band
from sfumato.metrics.calibration import boundary
from strategies import label_maps


def band_by_definition(labels, spacing, width_mm):
    """For each voxel, look at every voxel of another class."""
    points = np.argwhere(np.ones(labels.shape, dtype=bool)) * np.asarray(spacing)
    values = labels.numpy().ravel()
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
    gaps[values[:, None] == values[None]] = np.inf
    return (gaps.min(axis=1) <= width_mm * (1 + 1e-12)).reshape(labels.shape)


@given(label_maps(max_side=5), st.sampled_from((0.5, 1.0, 2.5, 60.0)))
def test_the_band_holds_what_has_another_class_within_reach(case, width_mm):
    labels, _, spacing = case
    expected = band_by_definition(labels, spacing, width_mm)
    assert np.array_equal(boundary_band(labels, spacing=spacing, width_mm=width_mm).numpy(), expected)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_working_in_pieces_changes_nothing(monkeypatch, order):
    rng = np.random.default_rng(0)
    labels = torch.from_numpy((rng.random((17, 5, 6)) < 0.03).astype(np.uint8))
    stored = labels.permute(order).contiguous().permute(*np.argsort(order).tolist())
    whole = boundary_band(labels, spacing=(1.0, 0.7, 2.0), width_mm=2.1)
    monkeypatch.setattr(boundary, "_SLAB", 1)
    assert torch.equal(boundary_band(stored, spacing=(1.0, 0.7, 2.0), width_mm=2.1), whole)


@pytest.mark.parametrize("value", [0, 1])
def test_an_image_of_one_class_has_no_surface(value):
    labels = torch.full((3, 4), value)
    assert not boundary_band(labels, spacing=(1.0, 1.0), width_mm=50.0).any()


def test_wrong_input_is_named():
    labels = torch.zeros(3, 4, dtype=torch.int64)
    with pytest.raises(ShapeError, match="spacing has 1 values, but labels has 2 axes"):
        boundary_band(labels, spacing=(1.0,), width_mm=1.0)
    with pytest.raises(ValueRangeError, match="width_mm is 0"):
        boundary_band(labels, spacing=(1.0, 1.0), width_mm=0.0)
    with pytest.raises(DTypeError, match="not fractions"):
        boundary_band(labels.float(), spacing=(1.0, 1.0), width_mm=1.0)
