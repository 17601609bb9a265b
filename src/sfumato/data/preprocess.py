"""What is done to every case once: intensities, spacing, size; and the way back.

Resampling keeps the centre of the volume where it is: the voxel at ``(n - 1) / 2`` of the old grid is the
one at ``(n' - 1) / 2`` of the new, with ``n' = round(n s / s')``. So the outer faces move by less than half
a new voxel, the same on both sides, and flipping commutes with resampling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from sfumato.checks import require_choice, require_positive, require_spacing
from sfumato.data.case import Case
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.labels.intensity import unit, zscore
from sfumato.structures import CLASSES, TargetKind
from sfumato.types import Spacing

INTENSITIES = ("zscore", "zscore-nonzero", "minmax", "ct", "none")
Intensity = Literal["zscore", "zscore-nonzero", "minmax", "ct", "none"]


@dataclass(frozen=True)
class Preprocessing:
    """Clipping, intensity, spacing, then size; the axes keep their stored order and direction.

    Attributes:
        spacing: Resample to this spacing in mm. ``None`` keeps the native grid. The image is interpolated
            by a spline of order 2, a hard mask by its nearest voxel, a soft one linearly. There is no
            smoothing before a coarser grid.
        clip_percentiles: Clip every channel to these two percentiles of its own values, in percent; with
            ``zscore-nonzero`` to those of its values that are not 0. ``None`` keeps the values.
        intensity: Per channel. ``zscore``: mean 0, standard deviation 1. ``zscore-nonzero``: the same over
            the voxels that are not 0, which stay 0. ``minmax``: to [0, 1]. ``ct``: clipped to
            ``ct_window``, then to [0, 1]. A constant channel becomes 0. The spline may leave [0, 1] a
            little beside an edge.
        ct_window: Lowest and highest value, for ``ct``.
        crop_size: Centre crop or pad to this many voxels per axis; ``None`` keeps the size, and in place of
            one number that axis's.
        multiple: Then pad to a multiple of this many voxels per axis. The image is padded with the
            channel's smallest value (``zscore-nonzero``: 0), masks with background.
    """

    spacing: tuple[float, ...] | None = None
    intensity: Intensity = "zscore"
    ct_window: tuple[float, float] | None = None
    crop_size: tuple[int | None, ...] | None = None
    multiple: int | None = None
    clip_percentiles: tuple[float, float] | None = None

    # A recipe embeds this class and reads it from a file.
    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        require_choice("intensity", self.intensity, INTENSITIES)
        if (self.intensity == "ct") != (self.ct_window is not None):
            raise ValueRangeError("ct_window goes with intensity 'ct', and is None otherwise")
        if self.ct_window is not None and not self.ct_window[0] < self.ct_window[1]:
            raise ValueRangeError(f"ct_window is {self.ct_window}: the first value must be below the second")
        for size in (*(self.crop_size or ()), self.multiple):
            if size is not None:
                require_positive("crop_size and multiple", size)
        if self.clip_percentiles is not None:
            require_percentiles(*self.clip_percentiles)
        for value in self.spacing or ():
            require_positive("spacing", value)

    def require_axes(self, axes: int, subject: str) -> None:
        """Raise unless ``spacing`` and ``crop_size`` have one value per axis.

        Args:
            axes: Spatial axes of the data.
            subject: What has them, with its verb: ``the data have``.
        """
        for name, value in (("spacing", self.spacing), ("crop_size", self.crop_size)):
            if value is not None and len(value) != axes:
                raise ShapeError(f"{name} has {len(value)} values, but {subject} {axes} axes")

    def apply(self, case: Case) -> Case:
        """Prepare a case: image, masks and soft reference on the new grid, with its spacing and affine.

        Raises:
            ShapeError: ``spacing`` or ``crop_size`` does not have one value per axis of the case.
        """
        grid = self._grid(case)
        image = case.image
        if self.clip_percentiles is not None:
            image = clipped(image, self.clip_percentiles, intensity=self.intensity)
        image = normalised(image, intensity=self.intensity, ct_window=self.ct_window)
        image = grid.resampled(image, order=2)
        low = image.flatten(1).amin(1)
        raters = case.labels_per_rater
        return dataclasses.replace(
            case,
            image=grid.resized(image, torch.zeros_like(low) if self.intensity == "zscore-nonzero" else low),
            labels=None if case.labels is None else self._hard(case.labels[None], grid)[0],
            labels_per_rater=None if raters is None else self._hard(raters, grid),
            soft=None if case.soft is None else self.apply_soft(case.soft, case),
            spacing=grid.spacing,
            affine=grid.affine(case.affine),
        )

    def apply_soft(self, soft: Tensor, case: Case, *, kind: TargetKind = CLASSES) -> Tensor:
        """Bring class weights or region maps of the native grid to the prepared one, linearly.

        Args:
            soft: ``(K, *S)`` on the grid of ``case`` as it was read.
            case: The case as it was read.
            kind: What the channels are; it says what lies outside the image.

        Returns:
            ``(K, *S')``, float32. Weights that sum to 1 still do.
        """
        self._require_shape(soft, case.shape, "soft")
        grid = self._grid(case)
        return grid.resized(grid.resampled(soft.float(), order=1), _outside(kind, soft))

    def restore(self, prediction: Tensor, case: Case, *, kind: TargetKind = CLASSES) -> Tensor:
        """Bring a prediction on the prepared grid back to the native one, linearly.

        Args:
            prediction: ``(C, *S')``: probabilities or another soft output; not labels.
            case: The case as it was read.
            kind: What the channels are, as in :meth:`apply_soft`.

        Returns:
            ``(C, *S)``, float32, on the grid of ``case``.

        Raises:
            ShapeError: the prediction is not on the grid that :meth:`apply` gives for this case.
        """
        grid = self._grid(case)
        self._require_shape(prediction, grid.size, "prediction")
        return grid.restored(prediction.float(), _outside(kind, prediction))

    def _hard(self, labels: Tensor, grid: _PreparedGrid) -> Tensor:
        return grid.resized(grid.nearest(labels), labels.new_zeros(len(labels)))

    def _grid(self, case: Case) -> _PreparedGrid:
        require_spacing(case.spacing, case.shape)
        self.require_axes(len(case.shape), f"case {case.name} has")
        spacing = self.spacing or case.spacing
        same = np.allclose(spacing, case.spacing, rtol=1e-5, atol=0)
        sampled = (
            case.shape
            if same
            else tuple(
                max(1, round(side * old / new))
                for side, old, new in zip(case.shape, case.spacing, spacing, strict=True)
            )
        )
        asked = self.crop_size or sampled
        size = tuple(old if new is None else new for new, old in zip(asked, sampled, strict=True))
        if self.multiple is not None:
            size = tuple(-(-side // self.multiple) * self.multiple for side in size)
        return _PreparedGrid(case.shape, case.spacing, case.spacing if same else spacing, sampled, size)

    @staticmethod
    def _require_shape(array: Tensor, shape: Sequence[int], name: str) -> None:
        if tuple(array.shape[1:]) != tuple(shape):
            raise ShapeError(f"{name} has shape {tuple(array.shape)}: expected (channels, *{tuple(shape)})")


def _outside(kind: TargetKind, target: Tensor) -> Tensor:
    return torch.tensor(kind.outside(len(target)), device=target.device)


@dataclass(frozen=True)
class _PreparedGrid:
    """How the prepared grid lies on the native one."""

    native: tuple[int, ...]
    native_spacing: Spacing
    spacing: Spacing
    sampled: tuple[int, ...]  # after resampling
    size: tuple[int, ...]  # after cropping and padding

    @property
    def _same(self) -> bool:
        return self.spacing == self.native_spacing

    def _step_and_start(self) -> tuple[np.ndarray, np.ndarray]:
        """Return both of: native index = step * resampled index + start, per axis."""
        step = np.asarray(self.spacing) / np.asarray(self.native_spacing)
        return step, (np.asarray(self.native) - 1) / 2 - step * (np.asarray(self.sampled) - 1) / 2

    @property
    def _first(self) -> list[int]:
        """Index of the resampled grid at which the prepared one begins; negative where it is padded."""
        return [(old - new) // 2 for old, new in zip(self.sampled, self.size, strict=True)]

    def affine(self, native: np.ndarray | None) -> np.ndarray | None:
        if native is None:
            return None
        step, start = self._step_and_start()
        axes = len(step)
        change = np.eye(4)
        change[:axes, :axes] = np.diag(step)
        change[:axes, 3] = step * self._first + start
        return np.asarray(native @ change)

    def resampled(self, image: Tensor, *, order: int) -> Tensor:
        if self._same:
            return image
        step, start = self._step_and_start()
        return _interpolated(image, step, start, self.sampled, order)

    def nearest(self, labels: Tensor) -> Tensor:
        if self._same:
            return labels
        step, start = self._step_and_start()
        for axis, (scale, shift, size) in enumerate(zip(step, start, self.sampled, strict=True), start=1):
            index = np.floor(scale * np.arange(size) + shift + 0.5).astype(np.int64)
            index = index.clip(0, labels.shape[axis] - 1)
            labels = labels.index_select(axis, torch.from_numpy(index).to(labels.device))
        return labels

    def resized(self, array: Tensor, outside: Tensor) -> Tensor:
        return _moved_window(array, self._first, self.size, outside)

    def restored(self, array: Tensor, outside: Tensor) -> Tensor:
        array = _moved_window(array, [-first for first in self._first], self.sampled, outside)
        if self._same:
            return array
        step, start = self._step_and_start()
        return _interpolated(array, 1 / step, -start / step, self.native, 1)


def _interpolated(
    image: Tensor, step: np.ndarray, start: np.ndarray, size: tuple[int, ...], order: int
) -> Tensor:
    # Half a voxel at the rim lies beyond the outermost centres: the spline is continued by reflection,
    # the linear interpolation by the edge value, so that weights stay within their range.
    mode = "mirror" if order > 1 else "nearest"
    channels = [
        ndimage.affine_transform(
            channel.astype(np.float64), step, offset=start, output_shape=size, order=order, mode=mode
        ).astype(np.float32)
        for channel in image.detach().cpu().numpy()
    ]
    return torch.from_numpy(np.stack(channels)).to(image.device)


def _moved_window(array: Tensor, first: Sequence[int], size: Sequence[int], outside: Tensor) -> Tensor:
    """Cut the window that starts at ``first`` out of ``(C, *S)``; beyond the array it is ``outside``."""
    if not any(first) and tuple(array.shape[1:]) == tuple(size):
        return array
    window = outside.reshape(-1, *[1] * len(size)).expand(-1, *size).clone()
    source, target = [slice(None)], [slice(None)]
    for begin, side, old in zip(first, size, array.shape[1:], strict=True):
        low, high = max(begin, 0), min(begin + side, old)
        source.append(slice(low, high))
        target.append(slice(low - begin, high - begin))
    window[tuple(target)] = array[tuple(source)]
    return window


def require_percentiles(low: float, high: float) -> None:
    """Raise unless ``0 <= low < high <= 100``."""
    if not 0 <= low < high <= 100:
        raise ValueRangeError(
            f"clip_percentiles is ({low:g}, {high:g}): give two values in percent, 0 <= low < high <= 100"
        )


def clipped(image: Tensor, percentiles: tuple[float, float], *, intensity: Intensity = "zscore") -> Tensor:
    """Clip every channel to two percentiles of its own values.

    Args:
        image: ``(C, *S)``, float32.
        percentiles: Lower and upper, in percent. Between two values they are interpolated linearly.
        intensity: With ``zscore-nonzero`` the percentiles are those of the values that are not 0, and zeros
            stay 0.

    Returns:
        ``(C, *S)``, float32. A channel without values to count stays as it is.

    Raises:
        ValueRangeError: not ``0 <= lower < upper <= 100``.
    """
    require_percentiles(*percentiles)
    nonzero = intensity == "zscore-nonzero"
    channels = []
    for channel in image:
        counted = channel[channel != 0] if nonzero else channel
        low, high = np.percentile(counted.cpu().numpy(), percentiles) if counted.numel() else (0.0, 0.0)
        inside = channel.clamp(float(low), float(high))
        channels.append(torch.where(channel == 0, channel, inside) if nonzero else inside)
    return torch.stack(channels)


def normalised(
    image: Tensor, *, intensity: Intensity = "zscore", ct_window: tuple[float, float] | None = None
) -> Tensor:
    """Scale the intensities of every channel by itself; see :class:`Preprocessing` for the ways.

    Args:
        image: ``(C, *S)``, float32.
        intensity: ``zscore``, ``zscore-nonzero``, ``minmax``, ``ct`` or ``none``.
        ct_window: Lowest and highest value, for ``ct``.

    Returns:
        ``(C, *S)``, float32. A constant channel becomes 0.
    """
    if intensity == "none":
        return image
    # Sums over millions of voxels of raw intensities lose digits in single precision.
    flat = image.flatten(1).double()
    if intensity == "ct":
        low, high = ct_window or (0.0, 1.0)
        scaled = (flat.clamp(low, high) - low) / (high - low)
    elif intensity == "minmax":
        scaled = unit(flat)
    else:
        counted = flat != 0 if intensity == "zscore-nonzero" else torch.ones_like(flat, dtype=torch.bool)
        scaled = zscore(flat, counted)
    return scaled.float().reshape(image.shape)
