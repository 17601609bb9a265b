import numpy as np
import pytest
from PIL import Image

from sfumato.data import check_dataset, inspect_dataset, open_dataset
from tiny_data import AFFINE, mask, picture, write_nifti, write_nnunet


def test_a_clean_folder_has_no_problems_and_is_counted(tmp_path):
    write_nnunet(tmp_path, channels=2)
    found = inspect_dataset(tmp_path)
    assert found.problems == []
    assert found.warnings == []
    assert found.voxels == {0: 3 * 104, 1: 3 * 16}
    assert found.cases_with_label == {0: 3, 1: 3}
    assert found.spacings == {(0.5, 2.0, 3.0): 3}
    assert found.shapes == {(6, 5, 4): 3}
    assert found.raters == {0: 3}
    assert check_dataset(open_dataset(tmp_path)) == []


def _spoil(root):
    """One folder with every fault that a case can have."""
    write_nnunet(root, cases=[f"c{number:02d}" for number in range(14)], channels=2)
    images, masks = root / "imagesTr", root / "labelsTr"
    (images / "c00_0000.nii.gz").write_bytes((images / "c00_0000.nii.gz").read_bytes()[:-30])
    (images / "c01_0000.nii.gz").write_bytes(b"plain")
    write_nifti(masks / "c02.nii.gz", np.zeros((6, 5, 3), np.uint8))
    moved = AFFINE.copy()
    moved[2, 3] += 9
    write_nifti(masks / "c03.nii.gz", mask(), moved)
    write_nifti(masks / "c04.nii.gz", mask(), AFFINE @ np.diag([2, 1, 1, 1]))
    write_nifti(masks / "c05.nii.gz", mask(value=7))
    write_nifti(masks / "c06.nii.gz", mask().astype(np.float32) * 0.5)
    array = picture()
    array[0, 0, 0] = np.nan
    write_nifti(images / "c07_0001.nii.gz", array)
    write_nifti(images / "c08_0000.nii.gz", np.stack([picture()] * 2, -1))
    (images / "c09_0001.nii.gz").unlink()
    (masks / "c10.nii.gz").unlink()
    write_nifti(images / "c11_0000.nii", picture())
    (images / "c12_0000.nii.gz").unlink()
    (images / "c12_0001.nii.gz").unlink()
    (root / "dataset.json").write_text(
        '{"labels": {"0": "background", "1": "tumour"}, "modality": ["a", "b"]}'
    )


EXPECTED = [
    ("c00", "truncated or damaged"),
    ("c01", "not gzip-compressed"),
    ("c02", "shape (6, 5, 4) and (6, 5, 3)"),
    ("c03", "affine"),
    ("c04", "spacing (0.5, 2, 3) and (1, 2, 3) mm"),
    ("c05", "values 7 outside the declared labels"),
    ("c06", "no whole numbers"),
    ("c07", "1 NaN or infinite"),
    ("c08", "4-D"),
    ("c09", "channel file"),
    ("c10", "is missing"),
    ("c11", "two files of one name"),
    ("c12", "has no image"),
]


def test_every_fault_of_a_folder_is_listed_in_one_pass(tmp_path):
    _spoil(tmp_path)
    problems = check_dataset(tmp_path)
    for name, text in EXPECTED:
        assert any(name in problem and text in problem for problem in problems), (name, text)
    assert len(problems) == len(EXPECTED)
    assert not any("c13" in problem for problem in problems)
    assert all("\n" not in problem for problem in problems)


def test_a_folder_that_cannot_be_listed_is_one_problem(tmp_path):
    (problem,) = check_dataset(tmp_path)
    assert "is empty" in problem
    (problem,) = check_dataset(tmp_path / "gone")
    assert "does not exist" in problem
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "dataset.json").write_text("{")
    (problem,) = check_dataset(tmp_path)
    assert "not readable JSON" in problem


def test_a_doubled_case_of_a_manifest_is_a_problem_and_the_rest_is_read(tmp_path):
    write_nnunet(tmp_path)
    row = "imagesTr/{0}_0000.nii.gz,labelsTr/{0}.nii.gz"
    lines = ["case,image,mask", "a," + row.format("a"), "a," + row.format("b"), "c," + row.format("gone")]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    problems = check_dataset(tmp_path / "m.csv")
    assert len(problems) == 3
    assert "case a is listed twice" in problems[0]
    assert "gone_0000.nii.gz does not exist" in problems[1]
    assert "gone.nii.gz does not exist" in problems[2]


def test_what_deserves_a_look_is_a_warning(tmp_path):
    write_nnunet(
        tmp_path, description={"labels": {"0": "background", "1": "a", "2": "b"}, "channel_names": ["x"]}
    )
    write_nifti(tmp_path / "labelsTr" / "a.nii.gz", mask(value=0))
    other = AFFINE @ np.diag([2, 1, 1, 1])
    write_nifti(tmp_path / "labelsTr" / "b.nii.gz", mask(), other)
    write_nifti(tmp_path / "imagesTr" / "b_0000.nii.gz", picture(), other)
    found = inspect_dataset(tmp_path)
    assert found.problems == []
    text = "\n".join(found.warnings)
    assert "case a has background only" in text
    assert "label 2 (b) has no voxel in any case" in text
    assert "2 different spacings" in text


def test_cases_with_different_numbers_of_axes_are_a_problem(tmp_path):
    write_nnunet(tmp_path)
    write_nifti(tmp_path / "imagesTr" / "a_0000.nii.gz", picture(shape=(6, 5)))
    write_nifti(tmp_path / "labelsTr" / "a.nii.gz", mask((6, 5)))
    assert check_dataset(tmp_path) == ["the cases differ in their number of axes: 2 and 3"]


def test_a_region_of_undeclared_labels_is_a_problem(tmp_path):
    write_nnunet(
        tmp_path,
        description={"labels": {"background": 0, "a": 1}, "regions": {"r": [1, 4]}, "channel_names": ["x"]},
    )
    (problem,) = check_dataset(tmp_path)
    assert "region r is made of labels [4]" in problem


def test_progress_is_told_per_case(tmp_path):
    write_nnunet(tmp_path)
    seen = []
    inspect_dataset(tmp_path, progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("sizes", [((4, 5, 3), (4, 5)), ((4, 5), (4, 5, 3))])
def test_a_colour_picture_among_grey_ones_is_a_problem(tmp_path, sizes):
    for name, size in zip("ab", sizes, strict=True):
        Image.fromarray(np.arange(np.prod(size), dtype=np.uint8).reshape(size)).save(tmp_path / f"{name}.png")
    (problem,) = check_dataset(tmp_path)
    assert "case b has" in problem
    assert "channels, but the data set has" in problem


def test_cases_with_class_weights_only_are_noted(tmp_path):
    for name in "ab":
        write_nifti(tmp_path / f"{name}.nii.gz", picture())
        write_nifti(tmp_path / f"{name}_soft.nii.gz", mask().astype(np.float32) * 0.75)
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "lesion": 1}}')
    text = "case,image,soft\na,a.nii.gz,a_soft.nii.gz\nb,b.nii.gz,b_soft.nii.gz\n"
    (tmp_path / "manifest.csv").write_text(text)
    found = inspect_dataset(tmp_path)
    assert found.problems == []
    assert (found.weights_only, found.weights_beside) == (2, 0)
    assert found.voxels == {0: 2 * (120 - 16), 1: 2 * 16}
    (warning,) = found.warnings
    assert warning.startswith("class weights and no mask in 2 of 2 cases: methods that take soft")
    assert "takes the class that weighs most, the lowest of equals" in warning
    write_nifti(tmp_path / "m.nii.gz", mask())
    text = "case,image,mask,soft\na,a.nii.gz,m.nii.gz,a_soft.nii.gz\n"
    (tmp_path / "manifest.csv").write_text(text)
    found = inspect_dataset(tmp_path)
    assert (found.weights_only, found.weights_beside) == (0, 1)
    (warning,) = found.warnings
    assert warning.startswith("class weights beside the mask in 1 of 1 cases: SoftSeg's methods")
