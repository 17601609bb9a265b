import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import DTypeError, ShapeError, UnknownNameError, ValueRangeError
from sfumato.evaluation import (
    METRICS,
    CaseReference,
    Origin,
    ScoringOptions,
    SoftPrediction,
    evaluate_case,
)
from sfumato.metrics import (
    CalibrationBins,
    dice,
    expected_calibration_error,
    hausdorff,
    iou,
    lesion_detection,
    mean_squared_error,
    precision,
    recall,
    relative_volume_difference,
    soft_dice,
    surface_dice,
    surface_distances,
    thresholded_adaptive_calibration_error,
    volume_ml,
)
from sfumato.structures import CLASSES, REGIONS, Structures
from strategies import label_maps, seeds, shuffled_memory

ORIGIN = Origin(run="ce-seed1-fold0", method="ce", dataset="made", seed=1, fold=0, case="one")
MASK_METRICS = tuple(name for name, metric in METRICS.items() if metric.needs == "masks")
EVERY_MASK_METRIC = ScoringOptions(metrics=MASK_METRICS)


def reference(labels, structures, spacing, *, classes=None, **more):
    """A case's reference, of structures by name and labels."""
    classes = classes or max(label for values in structures.values() for label in values) + 1
    return CaseReference(Structures.numbered(classes, structures), spacing, ORIGIN, labels, **more)


def values(rows):
    return {(row.structure, row.metric): row.value for row in rows}


def statuses(rows):
    return {row.metric: row.status for row in rows}


@given(label_maps(max_side=6), seeds)
@settings(max_examples=25)
def test_rows_hold_what_the_metrics_give_one_by_one(case, seed):
    ref, num_classes, spacing = case
    rng = np.random.default_rng(seed)
    pred = shuffled_memory(torch.from_numpy(rng.integers(0, num_classes, tuple(ref.shape))), rng)
    structures = {f"label {k}": (k,) for k in range(1, num_classes)} | {"whole": tuple(range(1, num_classes))}
    rows = evaluate_case(pred, reference(ref, structures, spacing), options=EVERY_MASK_METRIC)
    found = values(rows)
    for name, labels in structures.items():
        one, two = (torch.isin(array, torch.tensor(labels))[None] for array in (pred, ref))
        surfaces = surface_distances(one, two, spacing=spacing)
        axes = {"spatial_axes": len(spacing)}
        lesions = lesion_detection(one, two, **axes)
        expected = {
            "dice": dice(one, two, **axes),
            "iou": iou(one, two, **axes),
            "precision": precision(one, two, **axes),
            "recall": recall(one, two, **axes),
            "rvd": relative_volume_difference(one, two, **axes),
            "avd": relative_volume_difference(one, two, **axes).abs(),
            "hd95": hausdorff(one, two, spacing=spacing, percentile=95),
            "hd": hausdorff(one, two, spacing=spacing, percentile=100),
            "assd": surfaces.assd(),
            "masd": surfaces.masd(),
            "surface_dice": surface_dice(one, two, spacing=spacing, tolerance_mm=2.0),
            "volume": volume_ml(one, spacing=spacing),
            "volume_ref": volume_ml(two, spacing=spacing),
            "lesion_tpr": lesions.true_positive_rate(),
            "lesion_f1": lesions.f1(),
        }
        for metric, value in expected.items():
            assert found[name, metric] == pytest.approx(float(value), nan_ok=True, abs=1e-12), metric
    assert all(row.unit == METRICS[row.metric].unit for row in rows)
    assert {(row.run, row.method, row.dataset, row.seed, row.fold, row.case) for row in rows} == {
        ("ce-seed1-fold0", "ce", "made", 1, 0, "one")
    }


@pytest.mark.parametrize(
    ("predicted", "referenced", "overlap", "hd95", "surface", "rvd", "reason"),
    [
        (0, 0, 1.0, 0.0, 1.0, math.nan, "both_empty"),
        (4, 0, 0.0, math.nan, 0.0, math.nan, "empty_reference"),
        (0, 4, 0.0, math.nan, 0.0, 1.0, "empty_prediction"),
    ],
)
def test_the_table_of_empty_cases(predicted, referenced, overlap, hd95, surface, rvd, reason):
    pred, ref = (torch.zeros(3, 4, 5, dtype=torch.uint8) for _ in range(2))
    pred.view(-1)[:predicted] = 1
    ref.view(-1)[:referenced] = 1
    rows = evaluate_case(pred, reference(ref, {"s": (1,)}, (1.0, 2.0, 3.0)), options=EVERY_MASK_METRIC)
    found = {metric: value for (_, metric), value in values(rows).items()}
    for metric in ("dice", "iou", "precision", "recall"):
        assert found[metric] == overlap
    for metric, expected in (("hd95", hd95), ("surface_dice", surface), ("rvd", rvd)):
        assert found[metric] == pytest.approx(expected, nan_ok=True)
    for metric, status in statuses(rows).items():
        assert status == (reason if math.isnan(found[metric]) else "ok")


@pytest.mark.parametrize("kind", ["one voxel", "one slice", "touching the border", "full"])
def test_thin_and_full_masks_have_every_value(kind):
    ref = torch.zeros(3, 4, 5, dtype=torch.int64)
    where = {"one voxel": (1, 2, 3), "one slice": (1,), "touching the border": (slice(2), 0), "full": ()}
    ref[where[kind]] = 1
    rows = evaluate_case(ref, reference(ref, {"s": (1,)}, (1.0, 1.0, 2.0)))
    assert all(row.status == "ok" for row in rows)
    assert {row.metric: row.value for row in rows}["hd95"] == 0


def test_the_image_diagonal_can_stand_in_for_a_missing_surface():
    ref = torch.ones(3, 4, dtype=torch.int64)
    chosen = ScoringOptions(metrics=("hd95", "assd", "surface_dice"), missing="diagonal")
    rows = evaluate_case(ref * 0, reference(ref, {"s": (1,)}, (2.0, 2.0)), options=chosen)
    assert [row.value for row in rows] == pytest.approx([10.0, 10.0, 0.0])
    assert {row.status for row in rows} == {"ok"}


REASONS = {
    (False, False): "both_empty",
    (False, True): "empty_prediction",
    (True, False): "empty_reference",
}
KINDS = ("random", "sparse", "empty", "full", "voxel", "border", "slab")


def small_mask(rng, kind, shape):
    mask = np.zeros(shape, dtype=bool)
    if kind == "random":
        return rng.random(shape) < 0.5
    if kind == "sparse":
        return rng.random(shape) < 0.1
    if kind == "full":
        mask[:] = True
    elif kind == "voxel":
        mask[tuple(rng.integers(0, side) for side in shape)] = True
    elif kind == "border":
        mask.swapaxes(0, rng.integers(mask.ndim))[rng.choice((0, -1))] = True
    elif kind == "slab":
        mask.swapaxes(0, rng.integers(mask.ndim))[: 1 + shape[0] // 2] = True
    return mask


@pytest.mark.slow
def test_ten_thousand_small_masks_are_scored_without_a_failure_or_a_gap():
    rng = np.random.default_rng(2024)
    pairs = [(one, two) for one in KINDS for two in KINDS]
    chosen = ScoringOptions(metrics=(*MASK_METRICS, "mse", "soft_dice"), tolerance_mm=1.0)
    scored = 0
    while scored < 10_000:
        axes = int(rng.integers(2, 4))
        shape = tuple(int(side) for side in rng.choice((1, 1, 2, 3, 5), axes))
        spacing = tuple(float(mm) for mm in rng.choice((0.5, 1.0, 7.5), axes))
        masks = [[small_mask(rng, kind, shape) for kind in side] for side in zip(*pairs, strict=True)]
        pred, ref = (torch.from_numpy(np.stack(stack)) for stack in masks)
        structures = {str(number): (number + 1,) for number in range(len(pairs))}
        soft = SoftPrediction(pred.float(), REGIONS)
        rows = evaluate_case(pred, reference(ref, structures, spacing), soft=soft, options=chosen)
        filled = {
            name: (bool(p.any()), bool(r.any())) for name, p, r in zip(structures, pred, ref, strict=True)
        }
        for row in rows:
            # Only an empty mask leaves a value undefined, and the row says which one is empty.
            assert row.status == "ok" or row.status == REASONS[filled[row.structure]]
            assert math.isfinite(row.value) == (row.status == "ok")
        assert len(rows) == len(pairs) * len(chosen.metrics)
        scored += len(pairs)


def graded_case(seed=0, shape=(4, 5, 6)):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet((1.0, 1.0, 1.0), shape).astype(np.float32)
    return torch.from_numpy(probs).movedim(-1, 0), torch.from_numpy(rng.integers(0, 3, shape))


def test_graded_predictions_add_error_and_calibration():
    probs, ref = graded_case()
    structures = {"a": (1,), "both": (1, 2)}
    maps = torch.stack([probs[1], (probs[1] + probs[2]).clamp(0, 1)])
    soft = SoftPrediction(probs, CLASSES)
    rows = evaluate_case(probs.argmax(0), reference(ref, structures, (1.0,) * 3), soft=soft)
    found = values(rows)
    masks = torch.stack([ref == 1, ref > 0])
    for index, name in enumerate(structures):
        assert found[name, "mse"] == pytest.approx(
            mean_squared_error(maps, masks, spatial_axes=3)[index].item()
        )
        assert found[name, "soft_dice"] == pytest.approx(soft_dice(maps, masks, spatial_axes=3)[index].item())
    assert found["all", "ece"] == expected_calibration_error(probs, ref)
    assert found["all", "ece_foreground"] == expected_calibration_error(probs, ref, ignore_background=True)
    assert found["all", "tace"] == thresholded_adaptive_calibration_error(probs, ref)
    log_likelihood = probs.gather(0, ref[None]).double().log().mean().item()
    assert found["all", "nll"] == pytest.approx(-log_likelihood)


def test_calibration_can_be_asked_for_near_the_boundary_and_per_class():
    probs, ref = graded_case(3, shape=(9, 7, 5))
    ref = (torch.arange(9)[:, None, None] > 4).long().expand(9, 7, 5)
    chosen = ScoringOptions(metrics=("ece_boundary", "classwise_ece", "ace"), band_mm=2.0)
    place = {"structures": {"s": (1,)}, "spacing": (2.0, 1.0, 1.0), "classes": 3}
    options = {"soft": SoftPrediction(probs, CLASSES), "options": chosen}
    found = values(evaluate_case(ref, reference(ref, **place), **options))
    # Rows 4 and 5 lie within 2 mm of a voxel of the other class.
    near = expected_calibration_error(probs[:, 4:6], ref[4:6])
    assert found["all", "ece_boundary"] == pytest.approx(near, abs=1e-12)
    bins = CalibrationBins(3)
    bins.update(probs, ref)
    scores = bins.compute()
    assert found["all", "classwise_ece"] == pytest.approx(np.mean(scores.classwise_ece))
    assert found["all", "ace"] == scores.ace
    rows = evaluate_case(ref, reference(ref * 0 + 1, **place), **options)
    (lost,) = [row for row in rows if row.metric == "ece_boundary"]
    assert (lost.status, math.isnan(lost.value)) == ("no_voxel", True)
    with pytest.raises(ValueRangeError, match="band_mm is 0"):
        ScoringOptions(band_mm=0)


def test_calibration_without_foreground_says_why_it_is_undefined():
    probs = torch.stack([torch.ones(2, 3), torch.zeros(2, 3)])
    empty = torch.zeros(2, 3, dtype=torch.int64)
    none, some = (reference(labels, {"s": (1,)}, (1.0, 1.0)) for labels in (empty, empty + 1))
    soft = SoftPrediction(probs, CLASSES)
    nothing = statuses(evaluate_case(empty, none, soft=soft))
    assert (nothing["ece"], nothing["ece_foreground"], nothing["tace"]) == ("ok", "both_empty", "both_empty")
    missed = statuses(evaluate_case(empty, some, soft=soft))
    assert (missed["ece_foreground"], missed["tace"]) == ("ok", "empty_prediction")
    soft = SoftPrediction(probs * 0.5 + 0.25, CLASSES)
    invented = statuses(evaluate_case(empty, none, soft=soft))
    assert (invented["ece_foreground"], invented["tace"]) == ("empty_reference", "ok")


def test_one_slice_with_as_many_rows_as_classes_is_not_taken_for_a_batch():
    probs, ref = graded_case(shape=(3, 4))
    truth = reference(ref, {"s": (1,)}, (1.0, 1.0), classes=3)
    rows = evaluate_case(ref, truth, soft=SoftPrediction(probs, CLASSES))
    assert values(rows)["all", "ece"] == expected_calibration_error(probs[None], ref[None])


@given(st.booleans())
def test_masks_per_structure_give_the_rows_of_the_labels(in_numpy):
    _, ref = graded_case(1)
    _, pred = graded_case(2)
    structures = {"a": (1,), "b": (2,)}
    place = {"structures": structures, "spacing": (1.0, 1.0, 4.0)}
    masks = [torch.stack([array == 1, array == 2]) for array in (pred, ref)]
    if in_numpy:
        masks = [array.numpy() for array in masks]
    of_labels = repr(evaluate_case(pred, reference(ref, **place)))
    assert repr(evaluate_case(masks[0], reference(masks[1], **place))) == of_labels
    assert repr(evaluate_case(masks[0], reference(ref, **place))) == of_labels


def test_the_rater_is_named_in_a_column_of_its_own():
    ref = torch.ones(2, 3, dtype=torch.int64)
    rows = evaluate_case(ref, reference(ref, {"cell": (1,)}, (1.0, 1.0), raters={"Ada": ref}))
    assert {(row.rater, row.structure) for row in rows} == {("", "cell"), ("Ada", "cell")}
    assert {row.metric for row in rows if row.rater} == {row.metric for row in rows} & set(MASK_METRICS)


def test_wrong_settings_and_input_are_named():
    ref = torch.ones(2, 3, dtype=torch.int64)
    truth = reference(ref, {"s": (1,)}, (1.0, 1.0))
    with pytest.raises(UnknownNameError, match="Did you mean 'dice'"):
        ScoringOptions(metrics=("dise",))
    with pytest.raises(ValueRangeError, match="tolerance_mm is 0"):
        ScoringOptions(tolerance_mm=0)
    with pytest.raises(UnknownNameError, match="missing surfaces"):
        ScoringOptions(missing="zero")
    with pytest.raises(DTypeError, match="prediction has dtype"):
        evaluate_case(ref.float(), truth)
    with pytest.raises(ShapeError, match=r"prediction has shape \(2, 2\), but reference has shape \(2, 3\)"):
        evaluate_case(ref[:, :2], truth)
    with pytest.raises(ShapeError, match="spacing has 2 values, but prediction has 1 axes"):
        evaluate_case(ref[0], truth)
    with pytest.raises(ShapeError, match="one mask for each of 1 structures"):
        evaluate_case(torch.ones(2, 2, 3, dtype=torch.bool), truth)
    with pytest.raises(ShapeError, match="soft has shape"):
        evaluate_case(ref, truth, soft=SoftPrediction(torch.zeros(2, 2, 3), REGIONS))
