"""From files to a :class:`Case`: read, compare the grids, check the values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sfumato.data.case import Case, CaseFiles, Dataset, SliceStack, VolumePath
from sfumato.data.readers.files import Volume, read_volume
from sfumato.data.readers.masks import as_labels, as_weights, grid_difference, without_colour
from sfumato.errors import (
    DataError,
    FileFormatError,
    GeometryError,
    SfumatoError,
    ShapeError,
    ValueRangeError,
)
from sfumato.labels import hard_labels, majority_vote
from sfumato.types import Spacing


def load_case(files: CaseFiles, dataset: Dataset) -> Case:
    """Read one case and check that its files fit together.

    Args:
        files: Which files.
        dataset: The data set that declares labels and channels.

    Returns:
        The case. ``labels`` is the mask; where there is none, or it is one of the raters' own, the majority
        vote of the raters (:func:`~sfumato.labels.majority_vote`). Masks that hold just 0 and 255 become 0
        and 1 where the data set has two classes. Of a case with class weights only, ``labels`` is the class
        with the largest weight (:func:`~sfumato.labels.hard_labels`), and ``labels_from_soft`` says so.

    Raises:
        FileFormatError: a file is missing, truncated, or not what its name says.
        GeometryError: image and mask differ in shape, spacing or affine; both are named.
        ShapeError: a 4-D file where 3-D is expected, or the wrong number of channels.
        ValueRangeError: NaN or infinite intensities, or mask values outside the declared labels.
        DTypeError: a mask with fractions.
        DataError: several of these at once, all of them listed.
    """
    case, errors = inspect_case(files, dataset)
    if len(errors) == 1:
        raise errors[0]
    if case is None:
        raise DataError([str(error) for error in errors])
    return case


def inspect_case(files: CaseFiles, dataset: Dataset) -> tuple[Case | None, list[SfumatoError]]:
    """Read one case and list everything that is wrong with it; the case is ``None`` if anything is."""
    reading = _Reading(files.name, dataset)
    channels = [array for path in files.images for array in reading.channels(path)]
    if not files.images:
        reading.errors.append(FileFormatError(f"case {files.name} has no image"))
    elif not reading.errors and len(channels) != len(dataset.channel_names):
        reading.errors.append(
            ShapeError(
                f"case {files.name} has {len(channels)} channels, but the data set has "
                f"{len(dataset.channel_names)}: {', '.join(dataset.channel_names)}"
            )
        )
    # One rater's mask is no reference for the others: the vote of all of them is.
    mask = reading.labels(files.mask) if files.mask and files.mask not in files.rater_masks else None
    raters = [one for path in files.rater_masks if (one := reading.labels(path)) is not None]
    soft = reading.weights(files.soft) if files.soft else None
    if reading.errors or reading.grid is None:
        return None, reading.errors
    per_rater = torch.from_numpy(np.stack(raters)) if raters else None
    labels: Tensor | None = None if mask is None else torch.from_numpy(mask)
    if labels is None and per_rater is not None:
        labels = majority_vote(per_rater, num_classes=dataset.num_classes)
    hardened = labels is None and soft is not None
    return Case(
        name=files.name,
        image=torch.from_numpy(np.stack(channels)),
        labels=hard_labels(soft) if hardened and soft is not None else labels,
        labels_per_rater=per_rater,
        spacing=reading.spacing,
        affine=reading.grid.affine,
        soft=soft,
        labels_from_soft=hardened,
    ), []


class _Reading:
    """The files of one case as they come in: the first image's grid binds the others."""

    def __init__(self, name: str, dataset: Dataset) -> None:
        self.name, self.dataset = name, dataset
        self.errors: list[SfumatoError] = []
        self.grid: Volume | None = None
        self.grid_path: VolumePath | None = None

    @property
    def spacing(self) -> Spacing:
        """Mm per axis: the file's, or the declared one for pictures."""
        return () if self.grid is None else self.grid.declared(self.dataset.spacing)

    def _note(self, error: type[SfumatoError], text: str) -> None:
        self.errors.append(error(f"case {self.name}: {text}"))

    def _open(self, path: VolumePath) -> Volume | None:
        try:
            volume = read_volume(path)
        except DataError as error:
            for problem in error.problems:
                self._note(FileFormatError, problem)
            return None
        except SfumatoError as error:
            self._note(type(error), str(error))
            return None
        if self.grid is None:
            self.grid, self.grid_path = volume, path
        return volume

    def _fits(self, path: VolumePath, volume: Volume) -> bool:
        difference = self.grid and grid_difference(self.grid, volume)
        if difference:
            self._note(GeometryError, f"{self.grid_path} and {path} are not on one grid: {difference}")
        return not difference

    def channels(self, path: VolumePath) -> list[np.ndarray]:
        """Read an image file: one float32 array per channel, none if it is wrong."""
        volume = self._open(path)
        if volume is None:
            return []
        array, axes = volume.array, len(volume.spacing)
        if array.ndim > axes and volume.affine is not None:
            self._note(
                ShapeError, f"{path} is 4-D {array.shape}, expected 3-D: split it into one file per channel"
            )
            return []
        fits = self._fits(path, volume)
        array = array.astype(np.float32)
        finite = [self._finite(*pair) for pair in self._files(path, array)]
        if not fits or not all(finite):
            return []
        return [array] if array.ndim == axes else list(np.ascontiguousarray(np.moveaxis(array, -1, 0)))

    def labels(self, path: VolumePath) -> np.ndarray | None:
        """Read a hard mask as int64, or ``None`` if it is wrong."""
        volume = self._open(path)
        if volume is None:
            return None
        array = without_colour(volume)
        if array.ndim > len(volume.spacing):
            self._note(
                ShapeError, f"mask {path} is {array.ndim}-D {array.shape}, expected one value per voxel"
            )
            return None
        fits = self._fits(path, volume)
        labels = [self._classes(*pair) for pair in self._files(path, array)]
        whole = [part for part in labels if part is not None]
        if not fits or len(whole) < len(labels):
            return None
        return np.stack(whole, axis=-1) if isinstance(path, SliceStack) else whole[0]

    @staticmethod
    def _files(path: VolumePath, array: np.ndarray) -> list[tuple[Path, np.ndarray]]:
        """Return every file's own part of what was read: a wrong value of a stack is named with its slice."""
        if isinstance(path, SliceStack):
            return list(zip(path.paths, np.moveaxis(array, 2, 0), strict=True))
        return [(path, array)]

    def _finite(self, path: Path, array: np.ndarray) -> bool:
        bad = array.size - int(np.isfinite(array).sum())
        if bad:
            self._note(
                ValueRangeError,
                f"{path} holds {bad} NaN or infinite values of {array.size}: remove them first",
            )
        return not bad

    def _classes(self, path: Path, array: np.ndarray) -> np.ndarray | None:
        """Return a mask's class indices, or ``None`` where its values are wrong."""
        try:
            return as_labels(
                array,
                self.dataset.label_names,
                source=f"case {self.name}: mask {path}",
                label_values=self.dataset.label_values,
            )
        except SfumatoError as error:
            self.errors.append(error)
            return None

    def weights(self, paths: Sequence[Path]) -> Tensor | None:
        """Read class weights ``(K, *S)`` float32, or ``None`` if they are wrong."""
        volumes = [self._open(path) for path in paths]
        opened = [volume for volume in volumes if volume is not None]
        if len(opened) < len(volumes) or self.grid is None:
            return None
        for path, volume in zip(paths, opened, strict=True):
            # A picture's classes may come as NIfTI, where they lie behind a third axis of one slice.
            if len(volume.spacing) == len(self.grid.spacing) and not self._fits(path, volume):
                return None
        names = " and ".join(str(path) for path in paths)
        try:
            weights = as_weights(
                [volume.array for volume in opened],
                shape=self.grid.array.shape[: len(self.grid.spacing)],
                num_classes=self.dataset.num_classes,
                source=f"case {self.name}: soft reference {names}",
            )
        except SfumatoError as error:
            self.errors.append(error)
            return None
        return torch.from_numpy(weights)
