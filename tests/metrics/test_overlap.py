import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import DTypeError, ShapeError, ValueRangeError
from sfumato.metrics import (
    absolute_volume_difference,
    dice,
    iou,
    lesion_detection,
    mean_squared_error,
    precision,
    recall,
    relative_volume_difference,
    soft_dice,
    soft_iou,
    specificity,
)
from strategies import seeds, shapes, shuffled_memory

HARD = (dice, iou, precision, recall, specificity)


def definition(name, pred, ref):
    """Each metric from sets of voxel indices; empty sets as the table of the design says."""
    space = set(np.ndindex(pred.shape))
    one = {index for index in space if pred[index]}
    two = {index for index in space if ref[index]}
    if name == "specificity":
        one, two, name = space - one, space - two, "recall"
    if not one and not two:
        return 1.0
    if not one or not two:
        return 0.0
    shared = len(one & two)
    return {
        "dice": 2 * shared / (len(one) + len(two)),
        "iou": shared / len(one | two),
        "precision": shared / len(one),
        "recall": shared / len(two),
    }[name]


@st.composite
def mask_pairs(draw):
    shape = draw(shapes(max_side=5))
    rng = np.random.default_rng(draw(seeds))
    shares = [draw(st.sampled_from((0.0, 0.1, 0.5, 1.0))) for _ in range(2)]
    pair = [torch.from_numpy(rng.random((3, *shape)) < share) for share in shares]
    return [shuffled_memory(mask, rng) for mask in pair]


@pytest.mark.parametrize("metric", HARD)
@given(pair=mask_pairs())
def test_hard_metrics_equal_their_definition_over_sets_of_voxels(metric, pair):
    pred, ref = pair
    expected = [definition(metric.__name__, p, r) for p, r in zip(pred.numpy(), ref.numpy(), strict=True)]
    assert metric(pred, ref, spatial_axes=pred.ndim - 1).tolist() == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("metric", HARD)
def test_a_batch_gives_one_value_per_item_and_region(metric):
    rng = np.random.default_rng(0)
    pred, ref = (torch.from_numpy(rng.random((2, 3, 4, 5, 6)) < 0.4) for _ in range(2))
    expected = torch.stack([metric(p, r, spatial_axes=3) for p, r in zip(pred, ref, strict=True)])
    assert torch.equal(metric(pred, ref), expected)
    flat = torch.stack([metric(p, r) for p, r in zip(pred[..., 0], ref[..., 0], strict=True)])
    assert torch.equal(metric(pred[..., 0], ref[..., 0], spatial_axes=2), flat)


@pytest.mark.parametrize(
    "metric",
    [
        *HARD,
        *(soft_dice, soft_iou, mean_squared_error),
        *(absolute_volume_difference, relative_volume_difference, lesion_detection),
    ],
)
def test_four_axes_are_never_guessed(metric):
    masks = torch.ones(2, 2, 3, 4, dtype=torch.bool)
    with pytest.raises(ShapeError, match=r"shape \(2, 2, 3, 4\) may be .* spatial_axes=3 .* spatial_axes=2"):
        metric(masks, masks)
    volumes, batch = (metric(masks, masks, spatial_axes=axes) for axes in (3, 2))
    if metric is lesion_detection:
        volumes, batch = volumes.f1(), batch.f1()
    assert (volumes.shape, batch.shape) == ((2,), (2, 2))
    assert metric(masks[0], masks[0]) is not None
    assert metric(masks[None], masks[None]) is not None


@pytest.mark.parametrize(
    ("pred", "ref", "expected"),
    [
        ("empty", "empty", {"dice": 1, "iou": 1, "precision": 1, "recall": 1, "specificity": 1}),
        ("full", "empty", {"dice": 0, "iou": 0, "precision": 0, "recall": 0, "specificity": 0}),
        ("empty", "full", {"dice": 0, "iou": 0, "precision": 0, "recall": 0, "specificity": 0}),
        ("full", "full", {"dice": 1, "iou": 1, "precision": 1, "recall": 1, "specificity": 1}),
        ("empty", "voxel", {"dice": 0, "iou": 0, "precision": 0, "recall": 0, "specificity": 1}),
        ("voxel", "voxel", {"dice": 1, "iou": 1, "precision": 1, "recall": 1, "specificity": 1}),
    ],
)
def test_empty_and_full_masks_follow_the_table_of_the_design(pred, ref, expected):
    masks = {
        "empty": torch.zeros(1, 2, 3, 4, dtype=torch.bool),
        "full": torch.ones(1, 2, 3, 4, dtype=torch.bool),
        "voxel": torch.zeros(1, 2, 3, 4, dtype=torch.bool).index_fill(3, torch.tensor([3]), value=True),
    }
    found = {metric.__name__: float(metric(masks[pred], masks[ref], spatial_axes=3)) for metric in HARD}
    assert found == expected


def test_counts_are_exact_where_float32_is_not():
    pred = torch.zeros(1, 2**24 + 3, dtype=torch.bool)
    pred[0, 1:] = True
    ref = torch.ones_like(pred)
    assert float(recall(pred, ref)) == (2**24 + 2) / (2**24 + 3)


def test_masks_of_zeros_and_ones_in_numpy_are_accepted():
    pred = np.array([[0, 1, 1]], dtype=np.uint8)[:, ::-1]
    ref = np.array([[True, False, True]])
    assert dice(pred, ref).tolist() == [0.5]
    assert iou(pred, ref).tolist() == pytest.approx([1 / 3])


@pytest.mark.parametrize("metric", HARD)
def test_fractions_are_refused_and_the_soft_metrics_are_named(metric):
    with pytest.raises(DTypeError, match=r"pred has dtype torch\.float32.*soft_dice"):
        metric(torch.full((1, 3, 3), 0.5), torch.ones(1, 3, 3, dtype=torch.bool))


def test_a_label_map_in_place_of_masks_is_refused():
    with pytest.raises(ValueRangeError, match=r"ref holds values 0 \.\. 3"):
        dice(torch.zeros(1, 4, dtype=torch.bool), torch.arange(4)[None])


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ShapeError, match=r"pred has shape \(2, 3, 4\), but ref has shape \(1, 3, 4\)"):
        dice(torch.zeros(2, 3, 4, dtype=torch.bool), torch.zeros(1, 3, 4, dtype=torch.bool))


@pytest.mark.parametrize("shape", [(5,), (1, 1, 2, 3, 4, 5)])
def test_masks_without_a_region_axis_are_refused(shape):
    empty = torch.zeros(shape, dtype=torch.bool)
    with pytest.raises(ShapeError, match="one mask per region"):
        dice(empty, empty)


@given(mask_pairs())
def test_soft_metrics_equal_the_hard_ones_on_hard_masks(pair):
    pred, ref = pair
    axes = {"spatial_axes": pred.ndim - 1}
    for soft, hard in ((soft_dice, dice), (soft_iou, iou)):
        torch.testing.assert_close(
            soft(pred.float(), ref, **axes), hard(pred, ref, **axes), rtol=0, atol=1e-15
        )


@given(shapes(max_side=5), seeds)
def test_soft_metrics_are_one_exactly_when_both_maps_are_equal(shape, seed):
    rng = np.random.default_rng(seed)
    maps = rng.random((2, *shape)).astype(np.float32)
    changed = maps.copy()
    changed[0, *(0 for _ in shape)] = np.float32(0.5) * maps[0, *(0 for _ in shape)]
    for metric in (soft_dice, soft_iou):
        assert metric(maps, maps.copy(), spatial_axes=len(shape)).tolist() == [1.0, 1.0]
        first, second = metric(maps, changed, spatial_axes=len(shape)).tolist()
        assert first < 1.0
        assert second == 1.0


def test_soft_metrics_on_maps_worked_out_by_hand():
    pred, ref = torch.tensor([[0.5, 0.25, 0.0]]), torch.tensor([[0.25, 0.5, 0.5]])
    # |p| + |q| = 2, |p - q| = 1.
    assert soft_dice(pred, ref).tolist() == [0.5]
    assert soft_iou(pred, ref).tolist() == pytest.approx([1 / 3])


def test_soft_metrics_of_empty_maps_follow_the_table():
    empty, some = torch.zeros(1, 2, 3), torch.full((1, 2, 3), 0.3)
    for metric in (soft_dice, soft_iou):
        assert [float(metric(*pair)) for pair in ((empty, empty), (empty, some), (some, empty))] == [1, 0, 0]


@pytest.mark.parametrize(
    ("value", "message"), [(1.5, r"pred holds values 0 \.\. 1.5"), (math.nan, "pred holds 1 NaN")]
)
def test_soft_metrics_refuse_values_outside_the_unit_interval(value, message):
    pred = torch.zeros(1, 3)
    pred[0, 1] = value
    with pytest.raises(ValueRangeError, match=message):
        soft_dice(pred, torch.zeros(1, 3))
