import numpy as np
import pytest

from sfumato.data import load_case, open_dataset
from sfumato.errors import DataError, FileFormatError, UnknownNameError
from tiny_data import mask, picture, write_nifti, write_nnunet


def test_the_layout_is_found_by_what_lies_there(tmp_path):
    write_nnunet(tmp_path / "raw")
    assert open_dataset(tmp_path / "raw").root == tmp_path / "raw"
    assert open_dataset(str(tmp_path / "raw")).name == "raw"
    assert open_dataset(tmp_path / "raw" / "imagesTr", layout="images").names == ("a", "b", "c")
    assert open_dataset("sample:cells").num_classes == 2


def test_what_is_no_data_set_is_said_with_what_was_expected(tmp_path):
    with pytest.raises(FileFormatError, match="does not exist: expected a folder, a CSV manifest"):
        open_dataset(tmp_path / "gone")
    with pytest.raises(FileFormatError, match=r"is empty: expected imagesTr and labelsTr \(nnU-Net\)"):
        open_dataset(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileFormatError, match="holds no known layout"):
        open_dataset(tmp_path)
    with pytest.raises(FileFormatError, match="neither an image nor a CSV manifest"):
        open_dataset(tmp_path / "notes.txt")
    with pytest.raises(FileFormatError, match="has no folder imagesTr"):
        open_dataset(tmp_path, layout="nnunet")


def test_unknown_samples_and_kinds_are_met_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="Did you mean 'hippocampus'"):
        open_dataset("sample:hipocampus")
    with pytest.raises(UnknownNameError, match="Did you mean 'nnunet'"):
        open_dataset("x", layout="nnUnet")


def test_undeclared_labels_are_found_past_broken_masks(tmp_path):
    write_nnunet(tmp_path, description=False)
    (tmp_path / "labelsTr" / "a.nii.gz").write_bytes(b"broken")
    write_nifti(tmp_path / "labelsTr" / "b.nii.gz", mask(value=2).astype(np.float32) + 0.5)
    assert list(open_dataset(tmp_path).label_names) == [0, 1]
    write_nifti(tmp_path / "labelsTr" / "b.nii.gz", mask(value=255))
    write_nifti(tmp_path / "labelsTr" / "c.nii.gz", mask(value=255))
    assert list(open_dataset(tmp_path).label_names) == [0, 1]


def test_problems_are_raised_together(tmp_path):
    write_nnunet(tmp_path)
    write_nifti(tmp_path / "imagesTr" / "z_0000.nii.gz", picture())
    (tmp_path / "labelsTr" / "a.nii.gz").unlink()
    with pytest.raises(DataError, match="2 problems"):
        open_dataset(tmp_path)


def test_a_folder_without_masks_is_one_problem_that_says_the_way_out(tmp_path):
    write_nnunet(tmp_path)
    for path in (tmp_path / "labelsTr").iterdir():
        path.unlink()
    (tmp_path / "labelsTr").rmdir()
    with pytest.raises(
        DataError, match=r"has no folder labelsTr: for images without masks give .*imagesTr"
    ) as caught:
        open_dataset(tmp_path)
    assert len(caught.value.problems) == 1
    assert open_dataset(tmp_path / "imagesTr").names == ("a", "b", "c")


def test_one_image_is_a_data_set(tmp_path):
    path = write_nifti(tmp_path / "scan_0000.nii.gz", picture())
    dataset = open_dataset(path)
    assert dataset.names == ("scan",)
    np.testing.assert_array_equal(load_case(dataset.cases[0], dataset).image[0].numpy(), picture())


@pytest.mark.parametrize(
    ("given", "kind", "names"),
    [
        ("folder", "auto", ("a", "b", "c")),
        ("folder", "nnunet-test", ("t",)),
        ("folder/some.csv", "auto", ("one",)),
        ("folder/some.csv", "csv", ("one",)),
        ("folder/imagesTr/a_0000.nii.gz", "images", ("a",)),
        ("sample:cells", "auto", None),
        ("cells", "sample", None),
    ],
)
def test_what_was_opened_opens_again_from_anywhere(tmp_path, monkeypatch, given, kind, names):
    folder = write_nnunet(tmp_path / "folder")
    write_nifti(folder / "imagesTs" / "t_0000.nii.gz", picture())
    (folder / "some.csv").write_text("case,image\none,imagesTr/a_0000.nii.gz\n")
    monkeypatch.chdir(tmp_path)
    first = open_dataset(given, layout=kind)
    monkeypatch.chdir(folder)
    second = open_dataset(first.source, layout=first.layout)
    assert second.names == first.names == (names or first.names)
    assert (second.source, second.layout) == (first.source, first.layout)
