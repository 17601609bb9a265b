"""Masks and soft predictions as files hold them: values become labels, grids are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfumato.data.case import VolumePath
from sfumato.data.readers.files import Volume, read_volume
from sfumato.data.readers.weights import as_weights
from sfumato.errors import DTypeError, GeometryError, SfumatoError, ShapeError, ValueRangeError
from sfumato.types import Spacing

_MISPLACED_VOXELS = 0.01  # How far apart, in voxels, two grids' corners may be and count as one grid.
_PIECE = 2**20  # voxels looked at together: a large volume is not copied as a whole


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


def read_mask(path: VolumePath, spacing: Spacing | None) -> Volume:
    """Read a mask of one value per voxel; a picture gets the declared spacing.

    Raises:
        ShapeError: The file holds several values per voxel.
    """
    volume = read_volume(path)
    array = without_colour(volume)
    if array.ndim > len(volume.spacing):
        raise ShapeError(f"{path} has shape {array.shape}: expected one label per voxel")
    if volume.affine is None and spacing is not None and len(spacing) == array.ndim:
        return Volume(array, spacing, None)
    return Volume(array, volume.spacing, volume.affine)


def read_weights(
    paths: Sequence[Path], spacing: Spacing | None, *, num_classes: int
) -> tuple[Volume, Tensor]:
    """Read a case's class weights: their grid, and ``(K, *S)`` float32.

    Raises:
        GeometryError: The files of several classes are not on one grid.
        ShapeError, ValueRangeError: They hold another number of classes, or no class weights.
    """
    volumes = [read_volume(path) for path in paths]
    first, axes = volumes[0], len(volumes[0].spacing)
    for path, volume in zip(paths[1:], volumes[1:], strict=True):
        difference = grid_difference(first, volume)
        if difference:
            raise GeometryError(f"{paths[0]} and {path} are not on one grid: {difference}")
    weights = as_weights(
        [volume.array for volume in volumes],
        shape=first.array.shape[:axes],
        num_classes=num_classes,
        source=" and ".join(str(path) for path in paths),
    )
    declared = first.affine is None and spacing is not None and len(spacing) == axes
    grid = Volume(first.array, spacing if declared and spacing else first.spacing, first.affine)
    return grid, torch.from_numpy(weights)


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
    """Say how two grids differ in shape, spacing and affine; empty where they are one grid."""
    axes = len(first.spacing)
    shape, other = first.array.shape[:axes], second.array.shape[: len(second.spacing)]
    differences = [] if shape == other else [f"shape {shape} and {other}"]
    if len(first.spacing) != len(second.spacing) or not np.allclose(first.spacing, second.spacing, rtol=1e-3):
        differences.append(f"spacing {_mm(first.spacing)} and {_mm(second.spacing)} mm")
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


def _mm(spacing: Spacing) -> str:
    return "(" + ", ".join(f"{value:g}" for value in spacing) + ")"


def _rows(affine: np.ndarray) -> str:
    return str(np.round(affine[:3], 4).tolist())
