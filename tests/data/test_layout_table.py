"""What holds for every public data set's layout."""

import gzip

import nibabel
import numpy as np
import pytest

from layout_files import WRITERS, zones
from sfumato.data import check_dataset, inspect_dataset, load_case, open_dataset
from sfumato.data.dataset import LAYOUT_NAMES
from sfumato.data.readers import masks
from sfumato.data.readers.layouts import LAYOUTS
from sfumato.errors import DataError, FileFormatError, UnknownNameError
from tiny_data import write_nifti, write_nnunet

CASES = {
    "brats2019": (3, 335),
    "brats2020": (2, 369),
    "flare2021": (2, 361),
    "kits2019": (2, 210),
    "prostatex": (2, 98),
    "lidc": (3, 887),
    "scgm": (2, 80),
    "msseg2016": (3, 15),
    "lgg": (2, 110),
    "bids": (2, None),
}
NIFTI_KINDS = [kind for kind in WRITERS if kind != "lgg"]


def test_every_layout_is_tried_here():
    assert set(WRITERS) == set(CASES) == set(LAYOUTS) < set(LAYOUT_NAMES)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_layout_is_found_from_its_folder_and_from_the_archives_root(tmp_path, kind):
    inner = WRITERS[kind](tmp_path / "archive")
    found, expected = CASES[kind]
    for place, asked in (
        (inner, "auto"),
        (tmp_path / "archive", "auto"),
        (tmp_path, "auto"),
        (inner, kind),
        (tmp_path / "archive", kind),
    ):
        dataset = open_dataset(place, layout=asked)
        assert dataset.root == inner
        assert len(dataset.cases) == found
        assert dataset.expected_cases == expected
        assert list(dataset.names) == sorted(dataset.names)


@pytest.mark.parametrize("kind", WRITERS)
def test_every_case_of_a_clean_folder_can_be_read(tmp_path, kind):
    WRITERS[kind](tmp_path)
    found = inspect_dataset(tmp_path)
    assert found.problems == []
    assert sum(found.shapes.values()) == CASES[kind][0]
    assert {0, 1} <= set(found.voxels) <= set(found.dataset.label_names)


@pytest.mark.parametrize("kind", WRITERS)
def test_opening_reads_no_volume(tmp_path, kind, monkeypatch):
    WRITERS[kind](tmp_path)

    def refuse(path):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("sfumato.data.readers.files._read_nifti", refuse)
    monkeypatch.setattr("sfumato.data.readers.files._read_tiff", refuse)
    monkeypatch.setattr(masks, "read_volume", refuse)
    assert len(open_dataset(tmp_path, layout=kind).cases) == CASES[kind][0]


def _unzipped(root):
    for path in list(root.rglob("*.nii.gz")):
        path.with_name(path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize("kind", NIFTI_KINDS)
def test_uncompressed_files_are_read_alike(tmp_path, kind):
    WRITERS[kind](tmp_path / "a")
    before = open_dataset(tmp_path / "a")
    cases = [load_case(files, before) for files in before.cases]
    _unzipped(tmp_path / "a")
    after = open_dataset(tmp_path / "a")
    assert after.names == before.names
    for case, files in zip(cases, after.cases, strict=True):
        again = load_case(files, after)
        np.testing.assert_array_equal(again.image, case.image)
        np.testing.assert_array_equal(again.labels, case.labels)


@pytest.mark.parametrize("kind", ["brats2019", "flare2021", "kits2019", "lidc", "scgm", "msseg2016"])
def test_a_file_that_lies_there_both_ways_is_a_problem(tmp_path, kind):
    WRITERS[kind](tmp_path)
    path = sorted(tmp_path.rglob("*.nii.gz"))[0]
    path.with_name(path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
    (problem,) = check_dataset(tmp_path)
    assert path.name in problem
    assert "expected one of them" in problem


def _masks(dataset):
    return [files.mask or files.rater_masks[0] for files in dataset.cases]


@pytest.mark.parametrize("kind", NIFTI_KINDS)
def test_a_missing_a_truncated_and_a_wrong_file_are_all_listed_at_once(tmp_path, kind):
    WRITERS[kind](tmp_path)
    dataset = open_dataset(tmp_path)
    first, last = dataset.cases[0], dataset.cases[-1]
    image, mask, wrong = first.images[0], _masks(dataset)[0], _masks(dataset)[-1]
    mask.unlink()
    image.write_bytes(image.read_bytes()[:-40])
    write_nifti(wrong, zones(9))
    found = inspect_dataset(tmp_path)
    missing, *others = found.problems
    assert len(others) == 2
    assert first.name in missing
    assert mask.name.split(".")[0] in missing
    assert "is missing" in missing
    assert any(first.name in problem and str(image) in problem for problem in others)
    assert any(last.name in problem and str(wrong) in problem and "values 9" in problem for problem in others)
    with pytest.raises(DataError, match=r"is missing"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("kind", NIFTI_KINDS)
def test_a_missing_image_is_named_once(tmp_path, kind):
    WRITERS[kind](tmp_path)
    image = open_dataset(tmp_path).cases[0].images[0]
    image.unlink()
    problems = check_dataset(tmp_path, layout=kind)
    assert len(problems) == 1
    # nnU-Net's layout lists cases by their images: what is left is a mask without one.
    assert ("has no image" if kind == "prostatex" else image.name.removesuffix(".gz")) in problems[0]


@pytest.mark.parametrize("kind", WRITERS)
def test_another_data_set_than_the_forced_one_is_met_with_what_was_expected(tmp_path, kind):
    other = "kits2019" if kind != "kits2019" else "scgm"
    inner = WRITERS[other](tmp_path)
    with pytest.raises(FileFormatError) as caught:
        open_dataset(inner, layout=kind)
    for text in (LAYOUTS[kind].title, LAYOUTS[kind].expects, f"--dataset {other}"):
        assert text in str(caught.value)


def test_a_folder_of_nothing_known_is_met_with_what_lies_there(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileFormatError, match=r"does not hold KiTS 2019: expected folders case_.*notes\.txt"):
        open_dataset(tmp_path, layout="kits2019")
    with pytest.raises(FileFormatError, match="it is a file"):
        open_dataset(tmp_path / "notes.txt", layout="kits2019")
    with pytest.raises(UnknownNameError, match="Did you mean 'kits2019'"):
        open_dataset(tmp_path, layout="kits19")
    with pytest.raises(FileFormatError, match="or the folder of BraTS 2019, BraTS 2020"):
        open_dataset(tmp_path)


def test_two_data_sets_side_by_side_are_not_guessed_at(tmp_path):
    WRITERS["brats2019"](tmp_path / "a")
    WRITERS["brats2020"](tmp_path / "a")
    WRITERS["scgm"](tmp_path / "b" / "training")
    WRITERS["scgm"](tmp_path / "b" / "more")
    with pytest.raises(FileFormatError, match=r"holds 2 data sets: .*BraTS 2020.*BraTS 2019.*: give one"):
        open_dataset(tmp_path / "a")
    assert open_dataset(tmp_path / "a", layout="brats2020").name == "BraTS 2020"
    with pytest.raises(FileFormatError, match="holds 2 data sets"):
        open_dataset(tmp_path / "b", layout="scgm")


def test_a_folder_of_many_folders_is_not_searched(tmp_path):
    for number in range(21):
        (tmp_path / f"p{number}").mkdir()
    WRITERS["scgm"](tmp_path / "p3")
    with pytest.raises(FileFormatError, match="holds no known layout"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path / "p3").name == "SCGM"


def test_users_own_layouts_come_before_a_search_of_their_subfolders(tmp_path):
    write_nnunet(tmp_path)
    WRITERS["kits2019"](tmp_path / "source")
    assert open_dataset(tmp_path).names == ("a", "b", "c")
    (tmp_path / "manifest.csv").write_text("case,image,mask\nx,imagesTr/a_0000.nii.gz,labelsTr/a.nii.gz\n")
    assert open_dataset(tmp_path).names == ("x",)


def test_the_notes_of_other_programs_are_passed_over(tmp_path):
    for kind in ("scgm", "flare2021", "lgg"):
        inner = WRITERS[kind](tmp_path / kind)
        before = open_dataset(inner).names
        for path in list(inner.rglob("*.nii.gz")) + list(inner.rglob("*.tif")):
            path.with_name(f"._{path.name}").write_bytes(b"x")
        (inner / ".DS_Store").write_bytes(b"x")
        assert open_dataset(inner).names == before
        assert check_dataset(inner) == []


def test_stored_affines_and_spacings_are_kept(tmp_path):
    inner = WRITERS["kits2019"](tmp_path)
    dataset = open_dataset(inner)
    case = load_case(dataset.cases[0], dataset)
    stored = nibabel.load(inner / "case_00000" / "imaging.nii.gz")
    np.testing.assert_array_equal(case.affine, stored.affine)
    assert case.spacing == pytest.approx((0.5, 2.0, 3.0))
