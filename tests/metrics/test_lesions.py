import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.metrics import lesion_detection
from strategies import seeds, shapes


def components(mask):
    """Flood fill over all neighbours, corners included."""
    left, found = set(map(tuple, np.argwhere(mask))), []
    steps = list(itertools.product((-1, 0, 1), repeat=mask.ndim))
    while left:
        lesion, front = set(), [left.pop()]
        while front:
            voxel = front.pop()
            lesion.add(voxel)
            near = {tuple(a + b for a, b in zip(voxel, step, strict=True)) for step in steps} & left
            left -= near
            front += near
        found.append(lesion)
    return found


@given(shapes(max_side=6), seeds, st.integers(1, 4), st.sampled_from([(), (2,), (1, 4)]))
def test_counts_equal_a_flood_fill_and_the_stated_rule(shape, seed, min_overlap, size_edges):
    rng = np.random.default_rng(seed)
    pred, ref = (rng.random(shape) < 0.25 for _ in range(2))
    options = {"min_overlap": min_overlap, "size_edges": size_edges, "spatial_axes": len(shape)}
    found = lesion_detection(pred[None], ref[None], **options)
    tables = np.zeros((4, len(size_edges) + 1), dtype=int)
    for lesion in components(ref):
        detected = sum(pred[voxel] for voxel in lesion) >= min_overlap
        tables[0 if detected else 1, sum(len(lesion) > edge for edge in size_edges)] += 1
    for lesion in components(pred):
        tables[3, sum(len(lesion) > edge for edge in size_edges)] += 1
        if sum(ref[voxel] for voxel in lesion) < min_overlap:
            tables[2, sum(len(lesion) > edge for edge in size_edges)] += 1
    for table, expected in zip(
        (found.found, found.missed, found.invented, found.predicted), tables, strict=True
    ):
        assert table.tolist() == [expected.tolist()]


def test_rates_of_two_found_one_missed_and_one_invented_lesion():
    ref, pred = np.zeros((1, 9, 9, 9), dtype=bool), np.zeros((1, 9, 9, 9), dtype=bool)
    ref[0, 0, 0, :4] = pred[0, 0, 0, 1:4] = True  # found by three voxels
    ref[0, 4, 4, :5] = pred[0, 4, 4, :5] = True  # found whole
    ref[0, 8, 8, :3] = pred[0, 8, 8, :2] = True  # overlaps by two voxels only: missed, and invented
    pred[0, 0, 8, 5:] = True  # invented
    found = lesion_detection(pred, ref, spatial_axes=3)
    assert float(found.true_positive_rate()) == pytest.approx(2 / 3)
    assert float(found.false_detection_rate()) == pytest.approx(2 / 4)
    assert float(found.f1()) == pytest.approx(4 / 7)
    small = lesion_detection(pred, ref, size_edges=(4,), spatial_axes=3)
    assert float(small.true_positive_rate(0)) == pytest.approx(1 / 2)
    assert float(small.true_positive_rate(1)) == 1.0
    assert math.isnan(float(lesion_detection(pred, ref, size_edges=(5, 9), spatial_axes=3).f1(2)))


def test_voxels_that_touch_at_a_corner_are_one_lesion():
    mask = torch.eye(4, dtype=torch.bool)[None]
    assert lesion_detection(mask, mask, min_overlap=4).found.tolist() == [[1]]
    diagonal = torch.zeros(1, 3, 3, 3, dtype=torch.bool)
    diagonal[0, [0, 1, 2], [0, 1, 2], [0, 1, 2]] = True
    assert lesion_detection(diagonal, diagonal, spatial_axes=3).found.tolist() == [[1]]


def test_two_predicted_pieces_together_find_one_lesion_once():
    ref, pred = torch.zeros(1, 1, 9, dtype=torch.bool), torch.zeros(1, 1, 9, dtype=torch.bool)
    ref[..., 1:8] = True
    pred[..., 1:3] = pred[..., 6:8] = True
    found = lesion_detection(pred, ref)
    assert (found.found.item(), found.missed.item(), found.invented.item()) == (1, 0, 2)


def test_a_lesion_of_two_voxels_is_never_found_at_the_default_overlap():
    mask = torch.zeros(1, 5, 5, dtype=torch.bool)
    mask[0, 2, 2:4] = True
    assert float(lesion_detection(mask, mask).true_positive_rate()) == 0
    assert float(lesion_detection(mask, mask, min_overlap=1).true_positive_rate()) == 1


def test_lesions_that_overlap_only_fragments_are_not_invented():
    ref, pred = torch.zeros(1, 1, 7, dtype=torch.bool), torch.ones(1, 1, 7, dtype=torch.bool)
    ref[..., [0, 3, 6]] = True  # three lesions of one voxel each, none of which can be found
    found = lesion_detection(pred, ref)
    assert (found.found.item(), found.invented.item(), found.predicted.item()) == (0, 0, 1)
    assert float(found.false_detection_rate()) == 0
    assert float(found.f1()) == 0


def test_rates_without_lesions_are_undefined():
    empty, full = torch.zeros(1, 3, 4, dtype=torch.bool), torch.ones(1, 3, 4, dtype=torch.bool)
    both, missed, invented = (
        lesion_detection(*pair) for pair in ((empty, empty), (empty, full), (full, empty))
    )
    assert math.isnan(float(both.true_positive_rate()))
    assert math.isnan(float(both.f1()))
    assert float(missed.true_positive_rate()) == 0
    assert math.isnan(float(missed.false_detection_rate()))
    assert math.isnan(float(invented.true_positive_rate()))
    assert float(invented.false_detection_rate()) == 1
    assert float(invented.f1()) == 0


def test_a_batch_gives_the_counts_of_its_items():
    rng = np.random.default_rng(2)
    pred, ref = (torch.from_numpy(rng.random((2, 3, 5, 6)) < 0.3) for _ in range(2))
    batch = lesion_detection(pred, ref, min_overlap=1, spatial_axes=2)
    for item in range(2):
        one = lesion_detection(pred[item], ref[item], min_overlap=1)
        assert torch.equal(batch.found[item], one.found)
        assert torch.equal(batch.f1()[item], one.f1())


def test_wrong_settings_and_input_are_named():
    mask = torch.zeros(1, 3, 4, dtype=torch.bool)
    with pytest.raises(ValueRangeError, match="min_overlap is 0"):
        lesion_detection(mask, mask, min_overlap=0)
    with pytest.raises(ValueRangeError, match="they must increase"):
        lesion_detection(mask, mask, size_edges=(5, 5))
    with pytest.raises(ShapeError, match="they must be equal"):
        lesion_detection(mask, mask[..., 1:])
    with pytest.raises(DTypeError, match="hard-mask metrics"):
        lesion_detection(mask.float(), mask)
