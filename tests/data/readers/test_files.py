import errno
import gzip
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from sfumato.data.readers.files import read_volume, stem, suffix, write_volume
from sfumato.errors import (
    DTypeError,
    FileFormatError,
    GeometryError,
    MachineError,
    OutputExistsError,
    ShapeError,
    ValueRangeError,
)
from tiny_data import AFFINE, SPACING, mask, picture, write_nifti


def test_a_volume_comes_back_as_nibabel_orders_it(tmp_path):
    array = picture()
    volume = read_volume(write_nifti(tmp_path / "a.nii.gz", array))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.spacing, SPACING, rtol=1e-6)
    np.testing.assert_array_equal(volume.affine, AFFINE)


def test_simpleitk_sees_the_written_volume_at_the_same_place(tmp_path):
    array = picture()
    write_volume(tmp_path / "a.nii.gz", array, affine=AFFINE)
    image = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(), array)
    index = (4, 1, 3)
    # ITK's first two world axes point the other way than NIfTI's.
    expected = (AFFINE @ (*index, 1))[:3] * (-1, -1, 1)
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), expected, atol=1e-5)


def test_the_header_of_the_input_is_kept_to_the_bit(tmp_path):
    source = nibabel.Nifti1Image(picture(), AFFINE)
    source.header["pixdim"][1:4] = (0.5, 2.0, 2.9999993)
    source.set_qform(AFFINE, code=1)
    source.header.set_xyzt_units("mm", "sec")
    nibabel.save(source, tmp_path / "in.nii.gz")
    before = nibabel.load(tmp_path / "in.nii.gz").header
    soft = np.random.default_rng(0).random((6, 5, 4, 3)).astype(np.float32)
    volume = read_volume(tmp_path / "in.nii.gz")
    write_volume(
        tmp_path / "out.nii.gz",
        soft,
        affine=volume.affine,
        spacing=volume.spacing,
        like=tmp_path / "in.nii.gz",
    )
    after = nibabel.load(tmp_path / "out.nii.gz").header
    for key in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "srow_y", "xyzt_units"):
        np.testing.assert_array_equal(before[key], after[key])
    np.testing.assert_array_equal(before["pixdim"][:4], after["pixdim"][:4])
    np.testing.assert_array_equal(read_volume(tmp_path / "out.nii.gz").array, soft)


def test_uint8_keeps_weights_to_half_of_a_255th_in_one_byte(tmp_path):
    soft = np.linspace(0, 1, 6 * 5 * 4 * 2, dtype=np.float32).reshape(6, 5, 4, 2)
    write_volume(tmp_path / "soft.nii.gz", soft, affine=AFFINE, encoding="uint8")
    stored = nibabel.load(tmp_path / "soft.nii.gz")
    assert stored.get_data_dtype() == np.uint8
    back = read_volume(tmp_path / "soft.nii.gz").array
    np.testing.assert_allclose(back, soft, atol=0.5 / 255 + 1e-6)
    assert back.min() == 0
    assert back.max() == pytest.approx(1, abs=1e-6)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, stored.get_fdata().astype(np.float32))


@pytest.mark.parametrize(("name", "low"), [("soft.nii", -1), ("soft.tif", 0)])
def test_uint8_refuses_values_outside_its_range(tmp_path, name, low):
    with pytest.raises(ValueRangeError, match=rf"values in \[{low}, 1\] only"):
        write_volume(tmp_path / name, np.array([[[low - 0.5, 1.0]]]), encoding="uint8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("top", "kind"), [(3, "uint8"), (300, "int16"), (40000, "uint16"), (70000, "int32")])
def test_labels_take_the_smallest_type_that_holds_them(tmp_path, top, kind):
    labels = np.zeros((3, 4, 2), dtype=np.int64)
    labels[1, 2, 1] = top
    write_volume(tmp_path / "labels.nii.gz", labels, affine=AFFINE)
    assert nibabel.load(tmp_path / "labels.nii.gz").get_data_dtype() == kind
    np.testing.assert_array_equal(read_volume(tmp_path / "labels.nii.gz").array, labels)


def test_the_classes_of_a_picture_are_the_fourth_axis(tmp_path):
    soft = np.random.default_rng(1).random((7, 4, 3)).astype(np.float32)
    write_volume(tmp_path / "soft.nii.gz", soft, spacing=(0.5, 2.0))
    volume = read_volume(tmp_path / "soft.nii.gz")
    np.testing.assert_array_equal(volume.array[:, :, 0], soft)
    assert volume.spacing[:2] == (0.5, 2.0)
    write_volume(tmp_path / "soft.tif", soft, spacing=(1.0, 1.0))
    np.testing.assert_array_equal(np.moveaxis(tifffile.imread(tmp_path / "soft.tif"), 0, -1), soft)


def test_a_2d_label_map_stays_2d(tmp_path):
    for name in ("labels.nii.gz", "labels.png", "labels.tif"):
        write_volume(tmp_path / name, mask((7, 4)), spacing=(1.0, 1.0))
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.array, mask((7, 4)))
        assert len(volume.spacing) == 2


def test_lengths_in_micrometres_become_millimetres(tmp_path):
    image = nibabel.Nifti1Image(picture(), np.diag([500.0, 250.0, 100.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz").spacing, (0.5, 0.25, 0.1), rtol=1e-6)


def test_a_fourth_axis_of_one_is_no_axis(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", picture()[..., None])
    assert read_volume(tmp_path / "a.nii.gz").array.shape == (6, 5, 4)


def test_the_scaling_of_the_header_is_applied(tmp_path):
    image = nibabel.Nifti1Image(mask(), AFFINE)
    image.header.set_slope_inter(2.5, -1)
    nibabel.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz").array, mask() * 2.5 - 1)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.arange(12, dtype=np.uint8).reshape(3, 4), (3, 4)),
        (np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000, (3, 4)),
        (np.arange(36, dtype=np.uint8).reshape(3, 4, 3), (3, 4, 3)),
    ],
)
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_pictures_keep_depth_and_colour(tmp_path, stored, expected, ending):
    path = tmp_path / f"a{ending}"
    if ending == ".png":
        Image.fromarray(stored).save(path)
    else:
        tifffile.imwrite(path, stored, photometric="rgb" if stored.ndim == 3 else "minisblack")
    volume = read_volume(path)
    assert volume.array.shape == expected
    assert volume.spacing == (1.0, 1.0)
    assert volume.affine is None
    np.testing.assert_array_equal(volume.array, stored)


def test_palette_one_bit_and_opaque_pictures_keep_their_values(tmp_path):
    indices = mask((5, 6), 2)
    palette = Image.fromarray(indices, mode=None).convert("P")
    palette.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    palette.putdata(indices.ravel().tolist())
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_volume(tmp_path / "palette.png").array, indices)
    Image.fromarray(mask((5, 6)).astype(bool)).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_volume(tmp_path / "bits.png").array, mask((5, 6)))
    opaque = np.dstack([mask((5, 6))] * 3 + [np.full((5, 6), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    assert read_volume(tmp_path / "opaque.png").array.shape == (5, 6, 3)


def test_a_multi_page_tiff_is_a_volume(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", picture(shape=(4, 5, 6)), photometric="minisblack")
    volume = read_volume(tmp_path / "stack.tif")
    assert volume.array.shape == (4, 5, 6)
    assert len(volume.spacing) == 3


def _broken(path, payload):
    path.write_bytes(payload)
    return path


def test_every_way_of_being_no_image_is_said(tmp_path):
    good = write_nifti(tmp_path / "good.nii.gz", picture()).read_bytes()
    plain = gzip.decompress(good)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    cases = {
        "absent.nii.gz": (None, "absent.nii.gz does not exist"),
        "notes.txt": (b"hello", "no known format"),
        "empty.nii.gz": (b"", "is empty"),
        "cut.nii.gz": (good[:-40], "truncated or damaged"),
        "flipped.nii.gz": (bytes(flipped), "truncated or damaged"),
        "plain.nii.gz": (plain, "not gzip-compressed"),
        "cut.nii": (plain[:-40], "truncated or damaged"),
        "header.nii": (plain[:100], "not a readable NIfTI"),
        "noise.nii": (b"\x7f" * 400, "not a readable NIfTI"),
        "noise.png": (b"noise", "not a picture"),
        "noise.tif": (b"noise", "not a TIFF"),
    }
    for name, (payload, message) in cases.items():
        path = tmp_path / name if payload is None else _broken(tmp_path / name, payload)
        with pytest.raises(FileFormatError, match=message) as caught:
            read_volume(path)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(FileFormatError, match="is a folder"):
        read_volume(tmp_path / "folder.nii")


def test_a_truncated_picture_is_said(tmp_path):
    Image.fromarray(picture(shape=(40, 40)).astype(np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileFormatError, match=r"a\.png is truncated"):
        read_volume(tmp_path / "a.png")


def test_complex_values_are_refused(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", picture().astype(np.complex64))
    with pytest.raises(FileFormatError, match="expected one real number per voxel"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_header_that_contradicts_itself_is_refused(tmp_path):
    image = nibabel.Nifti1Image(picture(), AFFINE)
    nibabel.save(image, tmp_path / "a.nii")
    payload = bytearray((tmp_path / "a.nii").read_bytes())
    payload[80:84] = np.float32(0.9).tobytes()  # pixdim[1]
    (tmp_path / "a.nii").write_bytes(payload)
    with pytest.raises(GeometryError, match=r"spacing \(0.9, 2, 3\), its affine says \(0.5, 2, 3\)"):
        read_volume(tmp_path / "a.nii")


def test_an_existing_output_stays_unless_overwriting_is_allowed(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_volume(path, mask(), affine=AFFINE)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="exists already"):
        write_volume(path, mask(value=0), affine=AFFINE)
    assert path.read_bytes() == before
    write_volume(path, mask(value=0), affine=AFFINE, overwrite=True)
    assert not read_volume(path).array.any()
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]


def test_a_full_disk_is_the_machines_failure_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    write_volume(path, mask(), affine=AFFINE)
    before = path.read_bytes()

    def full(image, filename):
        Path(filename).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(filename))

    monkeypatch.setattr(nibabel, "save", full)
    with pytest.raises(MachineError, match=r"a\.nii\.gz could not be written: No space left on device"):
        write_volume(path, mask(), affine=AFFINE, overwrite=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]


def test_arrays_that_fit_no_format_are_refused(tmp_path):
    with pytest.raises(ShapeError, match="expected 2 or 3 spatial axes"):
        write_volume(tmp_path / "a.nii", np.zeros((2, 2, 2, 2, 2)), affine=AFFINE)
    with pytest.raises(ShapeError, match="one 2-D label map"):
        write_volume(tmp_path / "a.png", picture())
    with pytest.raises(FileFormatError, match="can write"):
        write_volume(tmp_path / "a.jpg", mask((3, 4)))
    with pytest.raises(DTypeError, match="cannot store"):
        write_volume(tmp_path / "a.nii", picture().astype(np.complex64))
    with pytest.raises(ValueRangeError, match="beyond 32 bits"):
        write_volume(tmp_path / "a.nii", np.full((2, 2, 2), 2**40))
    assert list(tmp_path.iterdir()) == []


def test_double_endings_count_as_one(tmp_path):
    assert suffix(tmp_path / "a.b.NII.gz") == ".nii.gz"
    assert stem(tmp_path / "a.b.nii.gz") == "a.b"
    assert suffix(tmp_path / "a.gz") == ""
    assert stem(tmp_path / "a.b.png") == "a.b"
