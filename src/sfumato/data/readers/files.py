"""One file: NIfTI volumes, PNG, TIFF and JPEG pictures, read whole and written atomically."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import nibabel
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from sfumato.checks import require_spacing
from sfumato.data.case import SliceStack, VolumePath
from sfumato.errors import (
    DataError,
    DTypeError,
    FileFormatError,
    GeometryError,
    SfumatoError,
    ShapeError,
    ValueRangeError,
)
from sfumato.output import atomic_output
from sfumato.types import Spacing

NIFTI = (".nii.gz", ".nii")
PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
SUFFIXES = NIFTI + PICTURES

_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI's codes for metre, millimetre, micrometre
_SPACING_TOLERANCE = 0.01
_PIECE = 2**24  # bytes read together; a multiple of every number's size


class Volume(NamedTuple):
    """What a file holds.

    Attributes:
        array: Values in stored axis order, ``(*S)``, or ``(*S, channels)`` with the channels last.
        spacing: Millimetres per spatial axis; its length says how many axes are spatial.
        affine: Voxel index to millimetres, 4 x 4, or ``None`` for pictures.
    """

    array: np.ndarray
    spacing: Spacing
    affine: np.ndarray | None

    @property
    def channels(self) -> int:
        """Number of channels, or of classes, behind the spatial axes; 1 where there is no such axis."""
        return self.array.shape[-1] if self.array.ndim > len(self.spacing) else 1

    def declared(self, spacing: Spacing | None) -> Spacing:
        """Return the spacing that a data set declares for pictures, which state none; else the file's own."""
        if self.affine is not None or spacing is None or len(spacing) != len(self.spacing):
            return self.spacing
        return spacing


def suffix(path: Path) -> str:
    """Return the ending that says the format, ``.nii.gz`` included; empty for an unknown one."""
    name = path.name.lower()
    return next((known for known in SUFFIXES if name.endswith(known)), "")


def stem(path: Path) -> str:
    """Return the file name without its ending, ``.nii.gz`` taken as one."""
    ending = suffix(path)
    return path.name[: -len(ending)] if ending else path.stem


def read_volume(path: VolumePath) -> Volume:
    """Read a whole file, or stack of pictures, checked to its last byte.

    Args:
        path: A ``.nii``, ``.nii.gz``, ``.png``, ``.tif``, ``.tiff``, ``.jpg`` or ``.bmp`` file; or a
            stack of pictures, which becomes one volume.

    Returns:
        Array, spacing in mm and affine. NIfTI: as nibabel orders the axes; the header's scaling is
        applied; lengths in metres or micrometres become millimetres in ``spacing``. Pictures:
        ``(rows, columns)``, colour last; spacing 1 and no affine, as they state none. A stack:
        ``(rows, columns, slices)``, colour last.

    Raises:
        FileFormatError: missing, empty, truncated, or not of the format that its name says.
        GeometryError: the header contradicts itself about the spacing.
        DataError: everything that is wrong with the slices of a stack.
    """
    if isinstance(path, SliceStack):
        return _read_stack(path)
    path = Path(path)
    ending = suffix(path)
    if not path.exists():
        raise FileFormatError(f"{path} does not exist")
    if not ending:
        raise FileFormatError(f"{path} is of no known format: expected one of {', '.join(SUFFIXES)}")
    if path.is_dir() or path.stat().st_size == 0:
        raise FileFormatError(
            f"{path} is {'a folder' if path.is_dir() else 'empty'}: expected a {ending} file"
        )
    if ending in NIFTI:
        return _read_nifti(path)
    return _read_tiff(path) if ending in (".tif", ".tiff") else _read_picture(path)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a NIfTI file, decompressed on the way."""
    with path.open("rb") as file:
        if suffix(path) != ".nii.gz":
            yield file
            return
        if file.read(2) != b"\x1f\x8b":
            raise FileFormatError(f"{path} ends in .gz but is not gzip-compressed")
        file.seek(0)
        try:
            with gzip.open(file) as stream:
                yield cast("BinaryIO", stream)
        except (EOFError, OSError, zlib.error) as error:
            raise FileFormatError(f"{path} is truncated or damaged: {error}") from error


def _nifti_values(path: Path, proxy: Any) -> np.ndarray:  # noqa: ANN401 - nibabel is untyped
    """Read the values piece by piece into their array, so that the file is never in memory beside them.

    Scaled values are computed in double precision and kept as float32: a quarter of the bytes of a map stored
    as uint8 would otherwise become eight per voxel.
    """
    scale, intercept = float(proxy.slope), float(proxy.inter)
    scaled = (scale, intercept) != (1.0, 0.0)
    array = np.empty(proxy.shape, np.float32 if scaled else proxy.dtype, order="F")
    flat, done = array.reshape(-1, order="F"), 0
    with _opened(path) as stream:
        stream.read(proxy.offset)
        while done < len(flat):
            raw = stream.read(min(_PIECE, (len(flat) - done) * proxy.dtype.itemsize))
            piece = np.frombuffer(raw, proxy.dtype, count=len(raw) // proxy.dtype.itemsize)
            if not len(piece):
                raise EOFError(f"{done} of {len(flat)} values are there")
            flat[done : done + len(piece)] = piece * np.float64(scale) + intercept if scaled else piece
            done += len(piece)
        # The checksum stands behind the last byte.
        while stream.read(_PIECE):
            pass
    return array


def _read_nifti(path: Path) -> Volume:
    with _opened(path) as stream:
        start = stream.read(4)
    second = start in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")  # a header of 540 bytes, either byte order
    kind: Any = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    try:
        image = kind.from_filename(path)
        stored = image.dataobj.dtype
        readable = not stored.names and stored.kind in "iufb"
        array = _nifti_values(path, image.dataobj) if readable else np.empty(0, stored)
    except FileFormatError:
        raise
    except (EOFError, zlib.error) as error:
        raise FileFormatError(f"{path} is truncated or damaged: {error}") from error
    except Exception as error:
        # nibabel raises a dozen unrelated types for a damaged header; each means the same to the caller.
        raise FileFormatError(
            f"{path} is not a readable NIfTI file: {' '.join(str(error).split())}"
        ) from error
    if not readable:
        raise FileFormatError(f"{path} holds values of type {stored}: expected one real number per voxel")
    # A fourth axis of length one is only how some programs store a single volume.
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3, 4):
        raise FileFormatError(f"{path} has {array.ndim} axes {array.shape}: expected 2, 3 or 4")
    axes = min(array.ndim, 3)
    zooms = tuple(float(value) for value in image.header.get_zooms()[:axes])
    affine = np.asarray(image.affine, dtype=np.float64)
    _require_consistent(path, zooms, affine)
    unit = _MM_PER_UNIT.get(int(image.header["xyzt_units"]) & 7, 1.0)
    return Volume(array, tuple(value * unit for value in zooms), affine)


def _require_consistent(path: Path, zooms: tuple[float, ...], affine: np.ndarray) -> None:
    lengths = np.linalg.norm(affine[:3, : len(zooms)], axis=0)
    if not np.all(np.isfinite(affine)) or min(zooms) <= 0:
        raise GeometryError(
            f"{path} has spacing {zooms} and affine {affine.tolist()}: expected finite, above 0"
        )
    if np.any(np.abs(lengths - zooms) > _SPACING_TOLERANCE * np.asarray(zooms)):
        raise GeometryError(
            f"{path} contradicts itself: pixdim says spacing {numbers(zooms)}, "
            f"its affine says {numbers(lengths)} mm: correct the header"
        )


def numbers(values: Any) -> str:  # noqa: ANN401 - any sequence of numbers
    """Print numbers as short as they are: ``(1, 0.5)``."""
    return "(" + ", ".join(f"{float(value):g}" for value in values) + ")"


def _read_picture(path: Path) -> Volume:
    try:
        with Image.open(path) as picture:
            picture.load()
            # Opacity is no intensity. A palette picture stays its indices: label maps are stored so.
            opaque = {"LA": "L", "RGBA": "RGB"}.get(picture.mode)
            array = np.array(picture.convert(opaque) if opaque else picture)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise FileFormatError(f"{path} is truncated or not a picture: {error}") from error
    return Volume(array.astype(np.uint8) if array.dtype == bool else array, (1.0, 1.0), None)


def _read_tiff(path: Path) -> Volume:
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            axes, array = series.axes, series.asarray()
    except Exception as error:
        # tifffile raises struct, index, zlib and its own errors for damaged files.
        raise FileFormatError(f"{path} is truncated or not a TIFF file: {error}") from error
    for channel_axis in "SC":
        if channel_axis in axes:
            array = np.moveaxis(array, axes.index(channel_axis), -1)
            spatial = array.ndim - 1
            break
    else:
        spatial = array.ndim
    if spatial not in (2, 3):
        raise FileFormatError(f"{path} has axes {axes} {array.shape}: expected a 2-D picture or a 3-D stack")
    return Volume(array, (1.0,) * spatial, None)


def _read_stack(stack: SliceStack) -> Volume:
    read: list[tuple[Path, np.ndarray]] = []
    problems = [] if stack.paths else ["a stack has no slices: expected one picture or more"]
    for path in stack.paths:
        try:
            volume = read_volume(path)
        except SfumatoError as error:
            problems.append(str(error))
            continue
        if len(volume.spacing) != 2:
            problems.append(f"{path} has shape {volume.array.shape}: expected a 2-D picture as a slice")
        else:
            read.append((path, volume.array))
    # The odd one out is named, be it the first.
    usual = Counter(array.shape for _, array in read).most_common(1)
    problems += [
        f"{path} has shape {array.shape}, but most slices of its stack have {shape}"
        for shape, _ in usual
        for path, array in read
        if array.shape != shape
    ]
    if problems:
        raise DataError(problems)
    return Volume(np.stack([array for _, array in read], axis=2), (1.0, 1.0, 1.0), None)


def write_volume(
    path: Path,
    array: np.ndarray,
    *,
    affine: np.ndarray | None = None,
    spacing: Spacing | None = None,
    like: Path | None = None,
    encoding: Literal["exact", "uint8"] = "exact",
    overwrite: bool = False,
) -> None:
    """Write a label map, an image or soft maps; the file appears whole or not at all.

    Args:
        path: ``.nii.gz`` or ``.nii``; ``.tif`` or ``.png`` for pictures.
        array: ``(*S)`` or, channels or classes last, ``(*S, K)``. Whole numbers keep the smallest type
            that holds them, fractions become float32.
        affine: Voxel index to mm, stored as given. ``None``: a diagonal of ``spacing``.
        spacing: Mm per spatial axis; its length says how many axes are spatial. ``None``: three, or two
            for a 2-D array, taken from ``affine`` or 1 mm.
        like: A NIfTI file whose header (spacing, codes and units) is kept to the bit.
        encoding: ``exact``, or ``uint8``: a quarter of the space, values in [0, 1] to the nearest 1/255, or
            in [-1, 1], where one is negative, to the nearest 2/255 (NIfTI only: its header keeps the scale).
        overwrite: May an existing file be replaced?

    A 2-D picture with classes is stored as ``(rows, columns, 1, K)`` in NIfTI, so that the fourth axis
    is the class as in 3-D, and as ``K`` pages in TIFF.

    Raises:
        OutputExistsError: the file is there and ``overwrite`` is false.
        MachineError: the disk is full; the temporary file is removed.
        ShapeError, ValueRangeError, DTypeError: the array does not fit the format.
    """
    path, array = Path(path), np.asarray(array)
    ending = suffix(path)
    axes = len(spacing) if spacing is not None else min(array.ndim, 3)
    if axes not in (2, 3) or array.ndim not in (axes, axes + 1):
        raise ShapeError(
            f"array for {path} has shape {array.shape}: expected 2 or 3 spatial axes, then classes"
        )
    if spacing is not None:
        require_spacing(spacing, array.shape[:axes], name="array")
    stored = _encoded(array, encoding, path)
    with atomic_output(path, overwrite=overwrite) as temporary:
        if ending in NIFTI:
            image = _nifti_image(stored, axes, affine, spacing, like)
            if encoding == "uint8":
                image.header.set_slope_inter(*_scale(array))
            nibabel.save(image, temporary)
        elif ending in (".tif", ".tiff"):
            _save_tiff(temporary, stored, axes)
        elif ending == ".png":
            _save_png(temporary, stored)
        else:
            raise FileFormatError(f"{path}: can write {', '.join(NIFTI)}, .tif and .png only")


def _scale(array: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of uint8 maps: over [0, 1], or over [-1, 1] where one value is negative."""
    return (2 / 255, -1.0) if array.min(initial=0) < 0 else (1 / 255, 0.0)


def _encoded(array: np.ndarray, encoding: str, path: Path) -> np.ndarray:
    if encoding == "uint8":
        lowest = -1 if suffix(path) in NIFTI else 0
        if not (np.isfinite(array).all() and array.min(initial=0) >= lowest and array.max(initial=0) <= 1):
            raise ValueRangeError(
                f"{path}: encoding uint8 holds values in [{lowest}, 1] only; use the exact encoding"
            )
        slope, low = _scale(array)
        return np.rint((array - low) / slope).astype(np.uint8)
    if array.dtype.kind in "bui":
        low, high = int(array.min(initial=0)), int(array.max(initial=0))
        for kind in (np.uint8, np.int16, np.uint16, np.int32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return array.astype(kind)
        raise ValueRangeError(f"{path}: values {low} .. {high} are beyond 32 bits")
    if array.dtype.kind != "f":
        raise DTypeError(f"{path}: cannot store values of type {array.dtype}")
    return array.astype(np.float32)


def _nifti_image(
    array: np.ndarray, axes: int, affine: np.ndarray | None, spacing: Spacing | None, like: Path | None
) -> Any:  # noqa: ANN401 - nibabel is untyped
    if axes == 2 and array.ndim == 3:
        array = array[:, :, None, :]
    kind: Any = nibabel.Nifti1Image
    if like is not None and suffix(Path(like)) in NIFTI:
        template: Any = nibabel.load(like)
        header = template.header.copy()
        header.set_data_dtype(array.dtype)
        header.set_slope_inter(None, None)
        image: Any = type(template)(array, template.affine if affine is None else affine, header=header)
    else:
        if affine is None:
            affine = np.diag([*(spacing or ()), *(1.0,) * 4][:axes] + [1.0] * (4 - axes))
        image = kind(array, affine)
        image.header.set_xyzt_units("mm")
    image.header["cal_max"] = image.header["cal_min"] = 0
    return image


def _save_tiff(path: Path, array: np.ndarray, axes: int) -> None:
    pages = np.moveaxis(array, -1, 0) if array.ndim > axes else array
    tifffile.imwrite(path, pages, photometric="minisblack", compression="zlib")


def _save_png(path: Path, array: np.ndarray) -> None:
    if array.ndim != 2 or array.dtype not in (np.uint8, np.uint16):
        raise ShapeError(
            f"a PNG holds one 2-D label map, found {array.shape} {array.dtype}: write .nii.gz or .tif"
        )
    Image.fromarray(array).save(path, format="PNG")
