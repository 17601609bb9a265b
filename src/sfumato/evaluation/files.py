"""What ``sfumato evaluate`` reads: predictions, references, and how they belong together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato.checks import require_choice
from sfumato.data import open_dataset
from sfumato.data.case import Dataset, VolumePath
from sfumato.data.readers.cases import as_labels, grid_difference
from sfumato.data.readers.description import read_description
from sfumato.data.readers.files import Volume, read_volume, stem, suffix
from sfumato.data.readers.layouts import layout_of, wrapped_layout
from sfumato.data.readers.weights import as_weights
from sfumato.errors import DTypeError, FileFormatError, GeometryError, InputError, ShapeError, ValueRangeError
from sfumato.types import Spacing

KINDS = ("classes", "regions", "signed")
DESCRIPTION = "prediction.json"

_PIECE = 2**20  # voxels looked at together: a large volume is not copied as a whole


@dataclass(frozen=True)
class ReferenceFiles:
    """The reference of one case: a consensus, raters, or both; class weights where there is neither."""

    mask: VolumePath | None
    raters: tuple[tuple[str, Path], ...] = ()
    weights: tuple[Path, ...] = ()

    @property
    def hard(self) -> bool:
        """Whether there is a mask of anyone."""
        return self.mask is not None or bool(self.raters)


@dataclass(frozen=True)
class References:
    """What the predictions are compared with."""

    name: str
    cases: Mapping[str, ReferenceFiles]
    label_names: Mapping[int, str] | None  # None: not declared anywhere
    regions: Mapping[str, tuple[int, ...]] | None
    spacing: Spacing | None  # for pictures, which state none
    label_values: Mapping[int, int] | None  # stored value to label, where they differ
    complete: bool  # every case must have a prediction; a data set also holds training cases


@dataclass(frozen=True)
class PredictionFiles:
    """The predictions of one model: a folder, or one file."""

    hard: Mapping[str, Path]
    soft: Mapping[str, Path]
    description: Mapping[str, Any]  # of prediction.json; empty for other people's predictions

    @property
    def regions(self) -> dict[str, tuple[int, ...]] | None:
        """The regions that the predictions say they were made for, one channel each; None: they say none."""
        regions = self.description.get("regions")
        return {name: tuple(labels) for name, labels in regions.items()} if regions else None

    @property
    def tolerance_mm(self) -> float | None:
        """The tolerance of the surface Dice that the training was evaluated with; None: they say none."""
        return self.description.get("tolerance_mm")


def find_references(path: str, kind: str = "auto") -> References:
    """List the reference masks: a data set of any layout, a folder of masks, or one mask.

    Args:
        path: Where they are.
        kind: The data set's layout, as in :func:`sfumato.data.open_dataset`; ``auto`` also takes masks.

    Raises:
        FileFormatError: There is nothing at ``path``, or no mask in it.
        DataError: The data set has problems; all of them are listed.
    """
    place = Path(path)
    if kind != "auto" or path.startswith("sample:") or place.suffix.lower() == ".csv" or _is_data(place):
        return _of_dataset(open_dataset(path, layout=kind))
    masks = _volumes(place, "reference")
    description = read_description(place if place.is_dir() else place.parent)
    if description.label_names is None:
        description = read_description(place.resolve().parent)
    return References(
        name=description.name or (place.resolve().name if place.is_dir() else stem(place)),
        cases={name: ReferenceFiles(mask) for name, mask in masks.items()},
        label_names=description.label_names,
        regions=description.regions,
        spacing=description.spacing,
        label_values=None,
        complete=True,
    )


def _is_data(place: Path) -> bool:
    own = (place / "manifest.csv").exists() or (place / "imagesTr").is_dir()
    return own or (place.is_dir() and (layout_of(place) is not None or wrapped_layout(place) is not None))


def _of_dataset(dataset: Dataset) -> References:
    cases: dict[str, ReferenceFiles] = {}
    for files in dataset.cases:
        names = dataset.raters_of(files.name)
        # A mask that is one of the raters' is no consensus of them.
        consensus = None if files.mask in files.rater_masks else files.mask
        if consensus or files.rater_masks:
            cases[files.name] = ReferenceFiles(consensus, tuple(zip(names, files.rater_masks, strict=True)))
        elif files.soft:
            cases[files.name] = ReferenceFiles(None, weights=files.soft)
    return References(
        dataset.name,
        cases,
        dataset.label_names,
        dataset.regions,
        dataset.spacing,
        dataset.label_values,
        complete=False,
    )


def find_predictions(place: Path) -> PredictionFiles:
    """List ``<case>.nii.gz`` and ``<case>_soft.nii.gz`` of a folder, or of the folder of one file.

    Raises:
        FileFormatError: There is no prediction, or ``prediction.json`` is damaged.
    """
    found = _volumes(place, "prediction")
    folder = place if place.is_dir() else place.parent
    around = found if place.is_dir() else _volumes(folder, "prediction")
    hard = {name: path for name, path in found.items() if not _is_extra(name, around)}
    if not hard:
        raise FileFormatError(f"{place} holds no hard prediction: expected <case>.nii.gz")
    description = _description(folder / DESCRIPTION)
    # The predictions say that they have no graded ones: such a file was left there by others.
    left = "soft" in description and description["soft"] is None
    soft = {} if left else {name: around[f"{name}_soft"] for name in hard if f"{name}_soft" in around}
    return PredictionFiles(hard, soft, description)


def _is_extra(name: str, names: Mapping[str, Path]) -> bool:
    """Say whether a file is a graded prediction or an uncertainty map beside the hard prediction."""
    bare = name.removesuffix("_soft").split("_uncertainty-")[0]
    return bare != name and bare in names


def _description(path: Path) -> Mapping[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise FileFormatError(
            f"{path} holds a {type(content).__name__}: expected an object with method and kind"
        )
    if "kind" in content:
        require_choice(f"kind of prediction in {path}", str(content["kind"]), KINDS)
    _require_regions(content.get("regions"), path)
    tolerance_mm = content.get("tolerance_mm", 1.0)
    if not isinstance(tolerance_mm, int | float) or not tolerance_mm > 0:
        raise FileFormatError(f"{path} has tolerance_mm {tolerance_mm!r}: expected millimetres above 0")
    return content


def _require_regions(regions: object, path: Path) -> None:
    if regions is None:
        return
    groups = list(regions.values()) if isinstance(regions, dict) else [None]
    if not all(isinstance(group, list) and all(isinstance(one, int) for one in group) for group in groups):
        raise FileFormatError(f"{path} has regions {regions}: expected the labels of each, by its name")


def _volumes(place: Path, what: str) -> dict[str, Path]:
    if not place.exists():
        raise FileFormatError(f"{what} {place} does not exist: expected a file or a folder of files")
    paths = [place] if place.is_file() else sorted(place.iterdir())
    files: dict[str, Path] = {}
    for path in paths:
        if path.name.startswith(".") or not path.is_file() or not suffix(path):
            continue
        if stem(path) in files:
            raise FileFormatError(
                f"{what} {stem(path)} is there twice: {files[stem(path)].name} and {path.name} in {place}"
            )
        files[stem(path)] = path
    if not files:
        raise FileFormatError(f"{what} {place} holds no image file, such as <case>.nii.gz")
    return files


def read_reference(path: VolumePath, spacing: Spacing | None) -> Volume:
    """Read a reference mask; a picture gets the declared spacing."""
    volume = read_volume(path)
    array = volume.array
    if array.ndim > len(volume.spacing):
        if volume.affine is not None or not np.all(array == array[..., :1]):
            raise ShapeError(f"{path} has shape {array.shape}: expected one label per voxel")
        array = array[..., 0]  # a grey mask stored as a colour picture
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


def read_graded(path: Path, reference: Volume, reference_path: VolumePath) -> Tensor:
    """Read a graded prediction as ``(channels, *S)`` float32.

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
            f"{path} holds values {low:g} .. {high:g}: a graded prediction lies in [0, 1], "
            "or in [-1, 1] if signed"
        )
    return torch.from_numpy(array).movedim(-1, 0)


def kind_of(soft: Tensor, declared: str | None, num_classes: int, num_regions: int, path: Path) -> str:
    """Say what the channels are: as declared, or by their number and sign.

    Raises:
        InputError: The number of channels fits neither the classes nor the regions.
    """
    channels = len(soft)
    wanted = {"classes": num_classes, "regions": num_regions, "signed": num_regions}
    if declared is not None:
        kind = declared
    elif channels == num_classes:
        kind = "classes"
    else:
        kind = "signed" if bool((soft < -0.001).any()) else "regions"
    if channels != wanted[kind]:
        raise InputError(
            f"{path} has {channels} channels: expected {num_classes} classes (background first), "
            f"or {num_regions} regions"
        )
    return kind


def labels_found(paths: Sequence[VolumePath]) -> dict[int, str]:
    """Name the labels that the masks hold; a file that cannot be read is reported with its case."""
    values: set[int] = {0}
    for path in paths:
        try:
            array = read_volume(path).array
        except InputError:
            continue
        whole = array if array.dtype.kind in "iub" else array[np.isfinite(array)]
        found = {int(value) for value in np.unique(whole) if value == int(value)}
        values |= {0, 1} if found == {0, 255} else found  # white on black is one label
    return {label: "background" if label == 0 else f"label {label}" for label in sorted(values)}
