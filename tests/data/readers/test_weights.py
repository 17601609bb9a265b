"""Class weights on disk: one file, or one per class, in every layout that has them."""

import numpy as np
import pytest

from sfumato.data import check_dataset, load_case, open_dataset
from sfumato.data.readers.masks import as_weights
from sfumato.errors import DataError, GeometryError, ShapeError, ValueRangeError
from tiny_data import AFFINE, picture, write_nifti
from weight_cases import write_weights

SHAPE = (2, 3)


def weights(classes, seed=0):
    drawn = np.random.default_rng(seed).dirichlet(np.ones(classes), SHAPE)
    return np.moveaxis(drawn, -1, 0).astype(np.float32)


def read(*arrays, classes):
    return as_weights(arrays, shape=SHAPE, num_classes=classes, source="f")


def test_all_classes_in_one_file_come_class_first():
    expected = weights(3)
    np.testing.assert_array_equal(read(np.moveaxis(expected, 0, -1), classes=3), expected)


def test_one_file_per_class_leaves_the_background_what_remains():
    _, first, second = weights(3)
    found = read(first, second, classes=3)
    np.testing.assert_array_equal(found[1:], np.stack([first, second]))
    np.testing.assert_allclose(found[0], 1 - (first + second), atol=1e-7)
    assert found.min() >= 0


def test_two_classes_may_come_as_the_second_alone():
    weight = weights(2)[1]
    np.testing.assert_array_equal(read(weight, classes=2), np.stack([1 - weight, weight]))


def test_weights_in_255_steps_are_taken_as_they_are():
    stored = np.round(weights(4) * 255) / np.float32(255)
    assert not np.array_equal(stored.sum(0), np.ones(SHAPE))
    found = read(np.moveaxis(stored, 0, -1), classes=4)
    np.testing.assert_array_equal(found, stored.astype(np.float32))


def test_rounding_never_leaves_the_background_below_nothing():
    over = np.full(SHAPE, 0.501, np.float32)
    assert (read(over, over, classes=3)[0] == 0).all()


@pytest.mark.parametrize(
    ("arrays", "classes", "error", "said"),
    [
        ([np.full(SHAPE, 1.5)], 2, ValueRangeError, "f holds values 1.5 .. 1.5: expected class weights in 0"),
        ([np.full(SHAPE, np.nan)], 2, ValueRangeError, "expected class weights in 0"),
        ([np.full((*SHAPE, 3), 0.2)], 3, ValueRangeError, "sum to 0.6 .. 0.6 per voxel: expected 1"),
        ([np.full(SHAPE, 0.6)] * 2, 3, ValueRangeError, "f holds weights that sum to 1.2 in a voxel"),
        (
            [np.zeros((*SHAPE, 2))],
            3,
            ShapeError,
            r"shape \(2, 3, 2\), expected \(2, 3, 3\), class last, or one",
        ),
        ([np.zeros(SHAPE)] * 3, 3, ShapeError, "for each of 2 foreground classes"),
    ],
)
def test_what_is_no_class_weight_is_named(arrays, classes, error, said):
    with pytest.raises(error, match=said):
        read(*arrays, classes=classes)


def test_a_case_without_a_mask_has_the_class_that_weighs_most(tmp_path):
    root, answers = write_weights(tmp_path, count=1, classes=3)
    data = open_dataset(root)
    case = load_case(data.cases[0], data)
    truth = answers["sub-00"].soft
    np.testing.assert_array_equal(case.soft, truth)
    np.testing.assert_array_equal(case.labels, truth.argmax(0))
    assert case.labels_from_soft


def test_a_mask_beside_the_weights_stays_the_mask(tmp_path):
    root, answers = write_weights(tmp_path, count=1, masks=True)
    data = open_dataset(root)
    case = load_case(data.cases[0], data)
    assert not case.labels_from_soft
    assert not case.labels[:6].any()
    np.testing.assert_array_equal(case.labels[6:], answers["sub-00"].labels[6:])
    np.testing.assert_array_equal(case.soft, answers["sub-00"].soft)


def test_weights_on_another_grid_are_a_problem(tmp_path):
    root, answers = write_weights(tmp_path, count=1)
    (path,) = root.glob("derivatives/**/*probseg.nii.gz")
    write_nifti(path, answers["sub-00"].soft[1].numpy(), AFFINE)
    data = open_dataset(root)
    with pytest.raises(GeometryError, match="are not on one grid"):
        load_case(data.cases[0], data)


def test_weights_of_a_class_per_file_are_named_by_their_labels(tmp_path):
    root, answers = write_weights(tmp_path, count=1, classes=3, one_file=False)
    (root / "derivatives" / "manual" / "dseg.tsv").unlink()
    data = open_dataset(root)
    assert dict(data.label_names) == {0: "background", 1: "core", 2: "rim"}
    case = load_case(data.cases[0], data)
    np.testing.assert_allclose(case.soft, answers["sub-00"].soft, atol=1e-6)
    np.testing.assert_array_equal(case.soft[1:], answers["sub-00"].soft[1:])


def test_the_table_of_labels_orders_the_classes_files(tmp_path):
    root, answers = write_weights(tmp_path, count=1, classes=3, one_file=False)
    table = root / "derivatives" / "manual" / "dseg.tsv"
    table.write_text("index\tname\n0\tbackground\n1\trim\n2\tcore\n")
    data = open_dataset(root)
    case = load_case(data.cases[0], data)
    np.testing.assert_array_equal(case.soft[1:], answers["sub-00"].soft[1:].flip(0))


def test_a_class_without_its_file_is_a_problem(tmp_path):
    root, _ = write_weights(tmp_path, count=2, classes=3, one_file=False)
    derived = root / "derivatives" / "manual" / "sub-01" / "anat"
    derived.joinpath("sub-01_label-rim_probseg.nii.gz").rename(derived / "sub-01_label-wall_probseg.nii.gz")
    with pytest.raises(DataError, match="case sub-01: several files are the class weights") as caught:
        open_dataset(root)
    assert "or one for each of label-core, label-rim" in str(caught.value)


def test_weights_of_one_class_twice_are_a_problem(tmp_path):
    root, answers = write_weights(tmp_path, count=1)
    derived = root / "derivatives" / "manual" / "sub-00" / "anat"
    write_nifti(derived / "sub-00_desc-b_label-core_probseg.nii.gz", answers["sub-00"].soft[1].numpy())
    (problem,) = check_dataset(root)[:1]
    assert "several files are the class weights" in problem


@pytest.mark.parametrize("classes", [2, 3])
def test_a_manifest_of_weights_alone_counts_their_classes(tmp_path, classes):
    write_nifti(tmp_path / "i.nii.gz", picture())
    drawn = np.random.default_rng(0).dirichlet(np.ones(classes), (6, 5, 4)).astype(np.float32)
    write_nifti(tmp_path / "s.nii.gz", drawn if classes > 2 else drawn[..., 1])
    (tmp_path / "manifest.csv").write_text("case,image,soft\na,i.nii.gz,s.nii.gz\n")
    data = open_dataset(tmp_path)
    assert list(data.label_names) == list(range(classes))
    assert load_case(data.cases[0], data).soft.shape == (classes, 6, 5, 4)
