"""Masks and class weights as files hold them: values become labels, grids are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfumato.data.case import CaseFiles, VolumePath
from sfumato.data.readers.files import Volume, numbers, read_volume
from sfumato.errors import DTypeError, GeometryError, SfumatoError, ShapeError, ValueRangeError
from sfumato.types import Spacing

_MISPLACED_VOXELS = 0.01  # How far apart, in voxels, two grids' corners may be and count as one grid.
_PIECE = 2**20  # voxels looked at together: a large volume is not copied as a whole
_ROUNDING = 0.02  # How far a voxel's weights may be from 1: stored in 255 steps, ten classes lose as much.
_MOST_LABELS = 256


def without_colour(volume: Volume) -> np.ndarray:
    """Return the array of a mask; a grey one that is stored as a colour picture loses its channels."""
    array = volume.array
    if array.ndim > len(volume.spacing) and volume.affine is None and np.all(array == array[..., :1]):
        return array[..., 0]
    return array


def whole_values(path: VolumePath) -> set[int]:
    """Return the whole numbers that a file holds; none of a file that cannot be read."""
    try:
        array = read_volume(path).array
    except SfumatoError:
        return set()
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    return {int(value) for value in np.unique(finite) if value == int(value)}


def labels_in(cases: Iterable[CaseFiles]) -> dict[int, str]:
    """Find the labels by reading every mask; a mask that cannot be read is reported when its case is.

    Returns:
        ``0 .. K-1`` with made-up names, up to the highest value there is; masks of just 0 and 255 have two.
        Without masks, as many as the first case's weights have.
    """
    cases = tuple(cases)
    values: set[int] = set()
    paths = dict.fromkeys(path for files in cases for path in (files.mask, *files.rater_masks) if path)
    if not paths:
        values = set(range(next((_classes(files.soft[0]) for files in cases if files.soft), 0)))
    for path in paths:
        values |= whole_values(path)
    if values and values <= {0, 255}:
        values = {0, 1}
    sensible = [value for value in values if 0 <= value < _MOST_LABELS]
    return {0: "background"} | {value: f"label {value}" for value in range(1, max(sensible, default=0) + 1)}


def _classes(weights: Path) -> int:
    """Count the classes of one file of weights; 0 where it cannot be read."""
    try:
        volume = read_volume(weights)
    except SfumatoError:
        return 0
    return volume.channels if volume.array.ndim > len(volume.spacing) else 2


def read_mask(path: VolumePath, spacing: Spacing | None) -> Volume:
    """Read a mask of one value per voxel; a picture gets the declared spacing.

    Raises:
        ShapeError: The file holds several values per voxel.
    """
    volume = read_volume(path)
    array = without_colour(volume)
    if array.ndim > len(volume.spacing):
        raise ShapeError(f"{path} has shape {array.shape}: expected one label per voxel")
    return Volume(array, volume.declared(spacing), volume.affine)


def read_weights(
    paths: Sequence[Path], spacing: Spacing | None, *, num_classes: int
) -> tuple[Volume, Tensor]:
    """Read a case's class weights: their grid, and ``(K, *S)`` float32.

    Raises:
        GeometryError: The files of several classes are not on one grid.
        ShapeError, ValueRangeError: They hold another number of classes, or no class weights.
    """
    volumes = [read_volume(path) for path in paths]
    first = volumes[0]
    for path, volume in zip(paths[1:], volumes[1:], strict=True):
        difference = grid_difference(first, volume)
        if difference:
            raise GeometryError(f"{paths[0]} and {path} are not on one grid: {difference}")
    weights = as_weights(
        [volume.array for volume in volumes],
        shape=first.array.shape[: len(first.spacing)],
        num_classes=num_classes,
        source=" and ".join(str(path) for path in paths),
    )
    return Volume(first.array, first.declared(spacing), first.affine), torch.from_numpy(weights)


def as_weights(
    arrays: Sequence[np.ndarray], *, shape: Sequence[int], num_classes: int, source: str
) -> np.ndarray:
    """Turn what the files of one case hold into class weights.

    Args:
        arrays: One array of all classes, ``(*S, K)``; with two classes, one of the second's weight ``(*S)``;
            or one ``(*S)`` for each foreground class.
        shape: Voxels per spatial axis of the image.
        num_classes: Number of classes ``K``, background included.
        source: What to call the files in messages.

    Returns:
        ``(K, *S)``, float32, as stored: weights that rounding keeps from summing to 1 are not mended.

    Raises:
        ShapeError: the arrays hold another number of classes, or lie on another grid.
        ValueRangeError: values outside 0 .. 1, or NaN; or the weights of some voxel do not sum to 1.
    """
    shape = tuple(shape)
    for array in arrays:
        if not np.all((array >= 0) & (array <= 1)):
            raise ValueRangeError(
                f"{source} holds values {array.min():g} .. {array.max():g}: expected class weights in 0 .. 1"
            )
    first = arrays[0].astype(np.float32, copy=False)
    if len(arrays) == num_classes - 1 and all(array.size == np.prod(shape) for array in arrays):
        foreground = np.stack([array.astype(np.float32, copy=False).reshape(shape) for array in arrays])
        background = 1 - foreground.sum(axis=0)
        lowest = float(background.min(initial=0))
        if lowest < -_ROUNDING:
            raise ValueRangeError(f"{source} holds weights that sum to {1 - lowest:g} in a voxel: at most 1")
        return np.concatenate([background.clip(0)[None], foreground])
    if len(arrays) > 1 or first.size != np.prod(shape) * num_classes:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ShapeError(
            f"{source} has shape {shapes}, expected {(*shape, num_classes)}, class last, "
            f"or one file {shape} for each of {num_classes - 1} foreground classes"
        )
    weights = np.ascontiguousarray(np.moveaxis(first.reshape(*shape, num_classes), -1, 0))
    totals = weights.sum(axis=0)
    if totals.size and not np.allclose(totals, 1, rtol=0, atol=_ROUNDING):
        raise ValueRangeError(
            f"{source} holds weights that sum to {totals.min():g} .. {totals.max():g} per voxel: expected 1, "
            "background included"
        )
    return weights


def as_labels(
    array: np.ndarray,
    label_names: Mapping[int, str],
    *,
    source: str,
    label_values: Mapping[int, int] | None = None,
) -> np.ndarray:
    """Turn a mask's values into class indices, int64.

    Args:
        array: Values as stored.
        label_names: The declared labels. With two of them, a mask of just 0 and 255 means 0 and 1.
        source: What to call the mask in messages.
        label_values: Stored value to class index, where the two differ.

    Raises:
        DTypeError: fractions; how many, and an example.
        ValueRangeError: NaN or infinite values, counted; or values outside the declared labels, or the
            mapping, all of them listed.
    """
    if array.dtype.kind == "f":
        bad = array.size - int(np.isfinite(array).sum())
        if bad:
            raise ValueRangeError(
                f"{source} has {bad} NaN or infinite values of {array.size}: expected a hard mask of class "
                "indices"
            )
        fractions = array[array != np.rint(array)]
        if fractions.size:
            raise DTypeError(
                f"{source} has {fractions.size} values that are no whole numbers, such as {fractions[0]:g}: "
                "expected a hard mask of class indices"
            )
    labels = array.astype(np.int64)
    values = np.unique(labels)
    if len(label_names) == 2 and 255 in values and set(values.tolist()) <= {0, 255}:
        return labels // 255
    stored = label_values if label_values is not None else {value: value for value in label_names}
    outside = [int(value) for value in values if value not in stored]
    if outside:
        declared = ", ".join(f"{value} {label_names[label]}" for value, label in stored.items())
        more = " …" if len(outside) > 10 else ""
        listed = ", ".join(str(value) for value in outside[:10]) + more
        raise ValueRangeError(f"{source} holds values {listed} outside the declared labels ({declared})")
    if label_values is None:
        return labels
    classes = np.zeros_like(labels)
    for value, label in label_values.items():
        classes[labels == value] = label
    return classes


def small_labels(
    array: np.ndarray,
    label_names: Mapping[int, str],
    source: VolumePath,
    label_values: Mapping[int, int] | None = None,
) -> Tensor:
    """Turn a mask's values into labels of the smallest type that holds them: big volumes count bytes.

    Args:
        array: Values as stored.
        label_names: The declared labels.
        source: What to call the mask in messages.
        label_values: Stored value to label, where the two differ.

    Raises:
        DTypeError: The mask holds fractions.
        ValueRangeError: It holds labels that are not declared; they are listed.
    """
    if label_values is None and array.dtype in (np.uint8, np.bool_):
        flat = array.ravel(order="K")
        pieces = (np.unique(flat[start : start + _PIECE]) for start in range(0, len(flat), _PIECE))
        if {int(value) for piece in pieces for value in piece} <= set(label_names):
            return torch.from_numpy(np.require(array, np.uint8, ["W"]))
    labels = as_labels(array, label_names, source=str(source), label_values=label_values)
    return torch.from_numpy(labels.astype(np.uint8 if max(label_names) < 256 else np.int32))


def read_on_grid(path: Path, reference: Volume, reference_path: VolumePath) -> np.ndarray:
    """Read a prediction and check that it lies on the reference's grid.

    Returns:
        ``(*S)``, or ``(*S, channels)``.

    Raises:
        GeometryError: Shape, spacing or affine differ; both are said.
    """
    volume = read_volume(path)
    axes = len(reference.spacing)
    array, spacing = volume.array, volume.spacing
    if len(spacing) == axes + 1 and array.shape[axes] == 1:
        # A picture stored as a volume of one slice.
        array, spacing = array.squeeze(axis=axes), spacing[:axes]
    if volume.affine is None and len(spacing) == axes:
        spacing = reference.spacing
    if len(spacing) == axes + 1 and reference.affine is None:
        spacing = spacing[:axes]  # classes of a picture, read as a third axis
    difference = grid_difference(reference, Volume(array, spacing, volume.affine))
    if difference:
        raise GeometryError(f"{reference_path} and {path} are not on one grid: {difference}")
    return array


def read_soft(path: Path, reference: Volume, reference_path: VolumePath) -> Tensor:
    """Read a soft prediction as ``(channels, *S)`` float32.

    Raises:
        DTypeError, ValueRangeError: The values are whole numbers beyond 0 and 1, or not finite.
    """
    array = read_on_grid(path, reference, reference_path)
    if array.ndim == len(reference.spacing):
        array = array[..., None]
    array = array.astype(np.float32, copy=False)
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueRangeError(f"{path} holds NaN or infinite values")
    if low < -1.001 or high > 1.001:
        raise DTypeError(
            f"{path} holds values {low:g} .. {high:g}: a soft prediction lies in [0, 1], "
            "or in [-1, 1] if signed"
        )
    return torch.from_numpy(array).movedim(-1, 0)


def grid_difference(first: Volume, second: Volume) -> str:
    """Return how two grids differ in shape, spacing and affine; empty where they are one grid."""
    axes = len(first.spacing)
    shape, other = first.array.shape[:axes], second.array.shape[: len(second.spacing)]
    differences = [] if shape == other else [f"shape {shape} and {other}"]
    if len(first.spacing) != len(second.spacing) or not np.allclose(first.spacing, second.spacing, rtol=1e-3):
        differences.append(f"spacing {numbers(first.spacing)} and {numbers(second.spacing)} mm")
    if first.affine is not None and second.affine is not None:
        # Two grids are one if every corner lies at the same place; header rounding is far below that.
        corners = np.stack([np.ravel(axis) for axis in np.meshgrid(*[(0, side - 1) for side in shape])])
        homogeneous = np.concatenate(
            [corners, np.zeros((3 - axes, corners.shape[1])), np.ones_like(corners[:1])]
        )
        apart = np.linalg.norm(((first.affine - second.affine) @ homogeneous)[:3], axis=0).max()
        if apart > _MISPLACED_VOXELS * min(first.spacing):
            matrices = f"affine {_rows(first.affine)} and {_rows(second.affine)}"
            differences.append(f"{matrices}, corners up to {apart:.3g} mm apart")
    return "; ".join(differences)


def _rows(affine: np.ndarray) -> str:
    return str(np.round(affine[:3], 4).tolist())
