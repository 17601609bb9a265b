import numpy as np
import pytest
from PIL import Image

from sfumato.data import load_case, open_dataset
from sfumato.errors import DataError, FileFormatError
from tiny_data import mask, picture, write_nifti


def _write(root, text, files=()):
    for name in files:
        array = mask() if "mask" in name else picture(len(name))
        write_nifti(root / name, array)
    (root / "manifest.csv").write_text(text, encoding="utf-8")
    return root / "manifest.csv"


def test_channels_raters_and_groups_are_read(tmp_path):
    files = [f"{c}/{f}.nii.gz" for c in "ab" for f in ("t1", "t2", "mask1", "mask2")]
    path = _write(
        tmp_path,
        "case,image,image2,mask,mask_rater2,group\n"
        "b,b/t1.nii.gz,b/t2.nii.gz,b/mask1.nii.gz,b/mask2.nii.gz,p2\n"
        "a,a/t1.nii.gz,a/t2.nii.gz,a/mask1.nii.gz,,p1\n",
        files,
    )
    write_nifti(tmp_path / "b" / "mask2.nii.gz", np.zeros_like(mask()))
    for given in (path, tmp_path, str(path)):
        dataset = open_dataset(given)
        assert dataset.names == ("a", "b")
    assert dataset.rater_names == ("mask", "mask_rater2")
    assert [files.group for files in dataset.cases] == ["p1", "p2"]
    assert [files.drawn_by for files in dataset.cases] == [(0,), (0, 1)]
    first, second = (load_case(files, dataset) for files in dataset.cases)
    assert first.image.shape == (2, 6, 5, 4)
    assert first.labels_per_rater.shape == (1, 6, 5, 4)
    assert second.labels_per_rater.shape == (2, 6, 5, 4)
    np.testing.assert_array_equal(first.labels.numpy(), mask())
    np.testing.assert_array_equal(second.labels_per_rater[0].numpy(), mask())
    assert not second.labels_per_rater[1].any()
    # The vote of two, where background wins a tie.
    assert not second.labels.any()


def test_rater_columns_beside_a_reference_are_the_raters_by_number(tmp_path):
    names = [f"mask{number}.nii.gz" for number in range(11)]
    header = ",".join(f"mask_rater{number}" for number in range(10, 0, -1))
    row = ",".join(names[number] for number in range(10, 0, -1))
    _write(tmp_path, f"case,image,mask,{header}\na,i.nii.gz,mask0.nii.gz,{row}\n", ["i.nii.gz", *names])
    dataset = open_dataset(tmp_path)
    assert [path.name for path in dataset.cases[0].rater_masks] == names[1:]
    assert dataset.cases[0].mask.name == "mask0.nii.gz"
    assert dataset.rater_names[-1] == "mask_rater10"


@pytest.mark.parametrize("columns", ["mask_rater1", "mask", "mask,mask_rater1"])
def test_raters_vote_unless_the_reference_is_a_mask_of_its_own(tmp_path, columns):
    cells = ",".join(["m1.nii.gz"] * len(columns.split(",")))
    _write(
        tmp_path,
        f"case,image,{columns},mask_rater2,mask_rater3\na,i.nii.gz,{cells},m2.nii.gz,m3.nii.gz\n",
        ["i.nii.gz"],
    )
    votes = np.random.default_rng(3).integers(0, 2, (3, 6, 5, 4)).astype(np.uint8)
    for number, vote in enumerate(votes, start=1):
        write_nifti(tmp_path / f"m{number}.nii.gz", vote)
    dataset = open_dataset(tmp_path)
    case = load_case(dataset.cases[0], dataset)
    np.testing.assert_array_equal(case.labels.numpy(), votes.sum(0) >= 2)
    np.testing.assert_array_equal(case.labels_per_rater.numpy(), votes)


def test_an_empty_cell_of_a_rater_moves_nobody_elses_mask(tmp_path):
    names = ["i.nii.gz", "mask1.nii.gz", "mask3.nii.gz"]
    text = "case,image,mask_rater1,mask_rater2,mask_rater3\na,i.nii.gz,mask1.nii.gz,,mask3.nii.gz\n"
    _write(tmp_path, text, names)
    dataset = open_dataset(tmp_path)
    (files,) = dataset.cases
    assert [files.mask_of(rater) for rater in range(3)] == [0, None, 1]
    assert dataset.raters_of("a") == ("mask_rater1", "mask_rater3")
    with pytest.raises(DataError, match="has no case 'b'"):
        dataset.raters_of("b")


def test_a_spreadsheets_byte_order_mark_and_blanks_do_no_harm(tmp_path):
    _write(tmp_path, "\ufeffcase , image,mask\n a , i.nii.gz ,mask.nii.gz\n", ["i.nii.gz", "mask.nii.gz"])
    assert open_dataset(tmp_path).names == ("a",)


def test_data_for_prediction_needs_no_mask_column(tmp_path):
    _write(tmp_path, "case,image\na,i.nii.gz\n", ["i.nii.gz"])
    dataset = open_dataset(tmp_path)
    case = load_case(dataset.cases[0], dataset)
    assert case.labels is None
    assert dict(dataset.label_names) == {0: "background"}


def test_a_soft_reference_comes_class_first(tmp_path):
    _write(tmp_path, "case,image,mask,soft\na,i.nii.gz,mask.nii.gz,s.nii.gz\n", ["i.nii.gz", "mask.nii.gz"])
    soft = np.random.default_rng(0).dirichlet((1, 1), (6, 5, 4)).astype(np.float32)
    write_nifti(tmp_path / "s.nii.gz", soft)
    dataset = open_dataset(tmp_path)
    np.testing.assert_array_equal(load_case(dataset.cases[0], dataset).soft.numpy(), np.moveaxis(soft, -1, 0))


def test_pictures_take_the_declared_spacing(tmp_path):
    Image.fromarray(mask((7, 8), 9)).save(tmp_path / "i.png")
    Image.fromarray(mask((7, 8), 255)).save(tmp_path / "m.png")
    (tmp_path / "dataset.json").write_text('{"spacing": [0.5, 0.25]}')
    _write(tmp_path, "case,image,mask\na,i.png,m.png\n")
    dataset = open_dataset(tmp_path)
    case = load_case(dataset.cases[0], dataset)
    assert case.spacing == (0.5, 0.25)
    assert case.affine is None
    np.testing.assert_array_equal(case.labels.numpy(), mask((7, 8)))


def test_every_fault_of_the_rows_is_listed_at_once(tmp_path):
    _write(
        tmp_path,
        "case,image,image2,mask\n"
        "a,i.nii.gz,i.nii.gz,mask.nii.gz\n"
        "a,i.nii.gz,i.nii.gz,mask.nii.gz\n"
        "b,i.nii.gz,,mask.nii.gz\n"
        "c,i.nii.gz,gone.nii.gz,\n"
        ",i.nii.gz,i.nii.gz,mask.nii.gz\n",
        ["i.nii.gz", "mask.nii.gz"],
    )
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for expected in (
        "line 3: case a is listed twice",
        "line 4: case b has no image2",
        "line 5: case c has no mask",
        "gone.nii.gz does not exist",
        "line 6: no case name",
    ):
        assert expected in problems


@pytest.mark.parametrize(
    "header", ["name,image,mask", "case,mask", "case,image,maks", "", "case,image,image"]
)
def test_wrong_columns_are_said_with_the_right_ones(tmp_path, header):
    path = _write(tmp_path, header + "\na,b,c\n")
    with pytest.raises(FileFormatError, match="expected case,image"):
        open_dataset(path)


def test_a_missing_or_unreadable_manifest_is_said(tmp_path):
    with pytest.raises(FileFormatError, match=r"manifest .* does not exist"):
        open_dataset(tmp_path, layout="csv")
    (tmp_path / "manifest.csv").write_bytes(b"case,image\n\xff\xfe\n")
    with pytest.raises(FileFormatError, match="not a readable CSV"):
        open_dataset(tmp_path)
    (tmp_path / "manifest.csv").write_text("case,image,mask\n")
    with pytest.raises(DataError, match="lists no cases"):
        open_dataset(tmp_path)
