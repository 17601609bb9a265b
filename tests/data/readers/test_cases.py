import nibabel
import numpy as np
import pytest
from PIL import Image

from sfumato.data import CaseFiles, Dataset, load_case
from sfumato.data.readers.files import Volume
from sfumato.data.readers.masks import as_labels, grid_difference
from sfumato.errors import DataError, DTypeError, FileFormatError, GeometryError, ShapeError, ValueRangeError
from tiny_data import AFFINE, SPACING, mask, picture, write_nifti

LABELS = {0: "background", 1: "tail", 2: "head"}


def _dataset(root, channels=1):
    names = tuple(f"c{number}" for number in range(channels))
    return Dataset("tiny", (), LABELS, names, root)


def _files(root, *, images=("i.nii.gz",), mask_name="m.nii.gz", raters=()):
    return CaseFiles("x", tuple(root / n for n in images), root / mask_name, tuple(root / n for n in raters))


@pytest.fixture
def folder(tmp_path):
    write_nifti(tmp_path / "i.nii.gz", picture())
    write_nifti(tmp_path / "m.nii.gz", mask(value=2))
    return tmp_path


def test_a_clean_case_has_float_image_and_whole_labels(folder):
    case = load_case(_files(folder), _dataset(folder))
    assert case.image.dtype.is_floating_point
    assert case.labels.dtype.itemsize == 8
    assert case.shape == (6, 5, 4)
    np.testing.assert_array_equal(case.labels.numpy(), mask(value=2))


def _moved(offset=0.0, tilt=0.0):
    affine = AFFINE.copy()
    affine[0, 3] += offset
    affine[1, 0] += tilt
    return affine


@pytest.mark.parametrize(
    ("array", "affine", "message"),
    [
        (np.zeros((6, 5, 3), np.uint8), AFFINE, r"shape \(6, 5, 4\) and \(6, 5, 3\)"),
        (mask(), _moved(offset=0.4), r"affine .* and .*, corners up to 0\.4 mm apart"),
        (mask(), _moved(tilt=0.05), r"affine .* and .*, corners up to 0\.25 mm apart"),
        (mask(), AFFINE @ np.diag([1, 1.5, 1, 1]), r"spacing \(0\.5, 2, 3\) and \(0\.5, 3, 3\) mm; affine"),
        (mask()[..., 0], AFFINE, r"shape \(6, 5, 4\) and \(6, 5\)"),
    ],
)
def test_image_and_mask_on_two_grids_are_both_named(folder, array, affine, message):
    write_nifti(folder / "m.nii.gz", array, affine)
    with pytest.raises(GeometryError, match=message) as caught:
        load_case(_files(folder), _dataset(folder))
    assert "i.nii.gz" in str(caught.value)
    assert "m.nii.gz" in str(caught.value)


def test_rounding_in_the_header_is_no_other_grid(folder):
    write_nifti(folder / "m.nii.gz", mask(), _moved(offset=1e-4, tilt=1e-5))
    load_case(_files(folder), _dataset(folder))


def test_channels_and_raters_are_compared_too(folder):
    write_nifti(folder / "i2.nii.gz", picture(), _moved(offset=5))
    write_nifti(folder / "r.nii.gz", mask(), _moved(offset=5))
    with pytest.raises(DataError) as caught:
        load_case(_files(folder, images=("i.nii.gz", "i2.nii.gz"), raters=("r.nii.gz",)), _dataset(folder, 2))
    assert len(caught.value.problems) == 2


def test_values_outside_the_labels_are_listed(folder):
    array = mask(value=2)
    array[0, 0] = (5, 7, 0, 0)
    write_nifti(folder / "m.nii.gz", array)
    with pytest.raises(ValueRangeError, match=r"values 5, 7 outside the declared labels \(0 background, 1"):
        load_case(_files(folder), _dataset(folder))


def test_fractions_in_a_hard_mask_are_counted(folder):
    array = mask().astype(np.float32)
    array[0, 0, :3] = (0.25, 0.5, 1.75)
    write_nifti(folder / "m.nii.gz", array)
    with pytest.raises(DTypeError, match=r"3 values that are no whole numbers, such as 0\.25"):
        load_case(_files(folder), _dataset(folder))


@pytest.mark.parametrize("values", [(np.inf, 0, 0), (np.nan, 0.5, -np.inf), (np.nan, np.inf, -np.inf)])
def test_nan_and_infinity_in_a_mask_are_counted(folder, values):
    array = mask().astype(np.float32)
    array[0, 0, :3] = values
    write_nifti(folder / "m.nii.gz", array)
    bad = 3 - int(np.isfinite(values).sum())
    with pytest.raises(
        ValueRangeError, match=rf"m\.nii\.gz has {bad} NaN or infinite values of 120: expected"
    ):
        load_case(_files(folder), _dataset(folder))


def test_whole_numbers_stored_as_floats_are_labels(folder):
    write_nifti(folder / "m.nii.gz", mask(value=2).astype(np.float64))
    assert load_case(_files(folder), _dataset(folder)).labels.max() == 2


def test_nan_and_infinity_in_an_image_are_counted(folder):
    array = picture()
    array[0, 0, :3] = (np.nan, np.inf, -np.inf)
    write_nifti(folder / "i.nii.gz", array)
    with pytest.raises(ValueRangeError, match="holds 3 NaN or infinite values of 120"):
        load_case(_files(folder), _dataset(folder))


def test_a_4d_file_is_refused_as_image_and_as_mask(folder):
    write_nifti(folder / "i.nii.gz", np.stack([picture()] * 2, axis=-1))
    with pytest.raises(ShapeError, match=r"i\.nii\.gz is 4-D \(6, 5, 4, 2\), expected 3-D"):
        load_case(_files(folder), _dataset(folder))
    write_nifti(folder / "i.nii.gz", picture())
    write_nifti(folder / "m.nii.gz", np.stack([mask()] * 2, axis=-1))
    with pytest.raises(ShapeError, match=r"m\.nii\.gz is 4-D \(6, 5, 4, 2\)"):
        load_case(_files(folder), _dataset(folder))


def test_a_wrong_number_of_channels_is_named(folder):
    with pytest.raises(ShapeError, match="has 1 channels, but the data set has 2: c0, c1"):
        load_case(_files(folder), _dataset(folder, 2))


def test_one_error_keeps_its_kind_and_several_are_listed(folder):
    with pytest.raises(FileFormatError, match=r"case x: .*gone\.nii\.gz does not exist"):
        load_case(_files(folder, mask_name="gone.nii.gz"), _dataset(folder))
    array = picture()
    array[0] = np.nan
    write_nifti(folder / "i.nii.gz", array)
    with pytest.raises(DataError, match="2 problems") as caught:
        load_case(_files(folder, mask_name="gone.nii.gz"), _dataset(folder))
    assert "20 NaN" in caught.value.problems[0]
    assert "gone" in caught.value.problems[1]


def test_a_picture_mask_of_0_and_255_is_binary_where_there_are_two_classes():
    binary = mask((4, 5), 255)
    np.testing.assert_array_equal(as_labels(binary, {0: "b", 1: "f"}, source="m"), mask((4, 5)))
    np.testing.assert_array_equal(as_labels(np.zeros((2, 2)), {0: "b", 1: "f"}, source="m"), np.zeros((2, 2)))
    np.testing.assert_array_equal(
        as_labels(np.full((2, 2), 255), {0: "b", 1: "f"}, source="m"), np.ones((2, 2))
    )
    with pytest.raises(ValueRangeError, match="holds values 255 outside"):
        as_labels(binary, LABELS, source="m")
    with pytest.raises(ValueRangeError, match="holds values 128, 255 outside"):
        as_labels(np.array([0, 128, 255]), {0: "b", 1: "f"}, source="m")
    with pytest.raises(ValueRangeError, match=r"holds values -1, 300 outside"):
        as_labels(np.array([-1, 0, 300]), LABELS, source="m")


def test_a_grey_mask_stored_in_colour_is_read_and_a_coloured_one_refused(tmp_path):
    Image.fromarray(mask((7, 8), 50)).save(tmp_path / "i.png")
    Image.fromarray(np.dstack([mask((7, 8), 2)] * 3)).save(tmp_path / "m.png")
    files = _files(tmp_path, images=("i.png",), mask_name="m.png")
    np.testing.assert_array_equal(load_case(files, _dataset(tmp_path)).labels.numpy(), mask((7, 8), 2))
    coloured = np.dstack([mask((7, 8), value) for value in (0, 1, 2)])
    Image.fromarray(coloured).save(tmp_path / "m.png")
    with pytest.raises(ShapeError, match="expected one value per voxel"):
        load_case(files, _dataset(tmp_path))


def test_one_voxel_and_one_slice_are_cases(tmp_path):
    for shape in ((1, 1, 1), (5, 4, 1)):
        write_nifti(tmp_path / "i.nii.gz", picture(shape=shape))
        write_nifti(tmp_path / "m.nii.gz", np.ones(shape, np.uint8))
        assert load_case(_files(tmp_path), _dataset(tmp_path)).shape == shape


def test_a_2d_nifti_has_two_axes(tmp_path):
    write_nifti(tmp_path / "i.nii.gz", picture(shape=(6, 5)))
    write_nifti(tmp_path / "m.nii.gz", mask((6, 5)))
    case = load_case(_files(tmp_path), _dataset(tmp_path))
    assert case.shape == (6, 5)
    np.testing.assert_allclose(case.spacing, SPACING[:2])


def test_big_endian_files_are_read(tmp_path):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">f4")
    nibabel.save(nibabel.Nifti1Image(picture().astype(">f4"), AFFINE, header=header), tmp_path / "i.nii.gz")
    write_nifti(tmp_path / "m.nii.gz", mask())
    case = load_case(_files(tmp_path), _dataset(tmp_path))
    np.testing.assert_array_equal(case.image[0].numpy(), picture())


def test_grids_without_an_affine_differ_by_shape_and_spacing_alone():
    first = Volume(np.zeros((3, 4)), (1.0, 1.0), None)
    assert grid_difference(first, Volume(np.zeros((3, 4, 3)), (1.0, 1.0), None)) == ""
    assert grid_difference(first, Volume(np.zeros((4, 3)), (1.0, 1.0), None)) == "shape (3, 4) and (4, 3)"
    assert "spacing" in grid_difference(first, Volume(np.zeros((3, 4)), (1.0, 2.0), None))
