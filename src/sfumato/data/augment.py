"""Random changes of a training sample; image, hard masks and soft target move together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sfumato.checks import require_between, require_same_shape, require_spacing
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.structures import CLASSES, TargetKind
from sfumato.types import Spacing


@dataclass(frozen=True)
class Movement:
    """One change, with all its numbers: what :class:`Augmentation` draws, and what is then applied.

    Attributes:
        flips: Axes to reverse.
        rotation_deg: One angle in 2-D; in 3-D one about each axis, applied in the order of the axes. A
            positive angle about axis 2 turns axis 0 towards axis 1, and so on round; in 2-D likewise.
            Rotations are rotations in mm, also where voxels are no cubes.
        scale: Size of the result in relation to the original; 2 doubles it.
        translation: Shift of the content per axis, as a fraction of the side; positive: to higher indices.
        gain: Contrast: factor on each channel's distance from its mean. One value for all channels.
        shift: Brightness: added to each channel, in its standard deviations.
    """

    flips: tuple[int, ...] = ()
    rotation_deg: tuple[float, ...] = ()
    scale: float = 1.0
    translation: tuple[float, ...] = ()
    gain: float = 1.0
    shift: float = 0.0

    @property
    def _has_affine(self) -> bool:
        return self.scale != 1 or any(self.rotation_deg) or any(self.translation)

    def image(self, image: Tensor, *, spacing: Spacing) -> Tensor:
        """Move ``(C, *S)`` linearly, then change its intensities; outside is the channel's smallest value."""
        outside = image.flatten(1).amin(1) if self._has_affine else image.new_zeros(len(image))
        return self._toned(self._moved(image, spacing, outside, "bilinear"))

    def labels(self, labels: Tensor, *, spacing: Spacing) -> Tensor:
        """Move class indices, ``(*S)`` or ``(D, *S)``, to the nearest voxel; outside is background, 0."""
        layers = labels if labels.ndim > len(spacing) else labels[None]
        outside = torch.zeros(len(layers), device=labels.device)
        moved = self._moved(layers, spacing, outside, "nearest")
        return moved if labels.ndim > len(spacing) else moved[0]

    def target(self, target: Tensor, *, spacing: Spacing, kind: TargetKind = CLASSES) -> Tensor:
        """Move a soft target ``(C, *S)`` linearly and keep it what it is.

        Args:
            target: Class weights, region maps or signed maps.
            spacing: Mm per spatial axis.
            kind: ``CLASSES``: a distribution over the channels stays one; ``REGIONS``: stays in [0, 1];
                ``SIGNED``: stays in [-1, 1].
        """
        outside = torch.tensor(kind.outside(len(target)), device=target.device)
        moved = self._moved(target, spacing, outside, "bilinear")
        if not self._has_affine:
            return moved
        # Linear weights sum to 1, and so does what lies outside: a distribution stays one by itself, and a
        # target with other sums (GeoLS as its code computes it) keeps them. Only rounding is cut off.
        return kind.clamp(moved)

    def _toned(self, image: Tensor) -> Tensor:
        if self.gain == 1 and self.shift == 0:
            return image
        axes = tuple(range(1, image.ndim))
        mean = image.mean(axes, keepdim=True)
        deviation = image.std(axes, correction=0, keepdim=True)
        return (image - mean) * self.gain + mean + self.shift * deviation

    def _moved(self, layers: Tensor, spacing: Spacing, outside: Tensor, mode: str) -> Tensor:
        require_spacing(spacing, layers.shape[1:], name="sample")
        if self.flips:
            layers = layers.flip([1 + axis for axis in self.flips])
        if not self._has_affine:
            return layers
        shape, dtype = layers.shape[1:], layers.dtype
        grid = torch.nn.functional.affine_grid(
            self._matrix(shape, spacing)[None], [1, 1, *shape], align_corners=False
        ).to(layers.device)
        # grid_sample can pad with zeros only: what is outside is made zero for the while.
        outside = outside.reshape(-1, *[1] * len(shape)).to(torch.float32)
        moved = torch.nn.functional.grid_sample(
            (layers.to(torch.float32) - outside)[None], grid, mode=mode, align_corners=False
        )
        return (moved[0] + outside).to(dtype)

    def _matrix(self, shape: Sequence[int], spacing: Spacing) -> Tensor:
        """Return where each voxel comes from, in grid_sample's coordinates: -1 .. 1, last axis first."""
        axes = len(shape)
        sides = torch.tensor(shape, dtype=torch.float64)
        half_mm = torch.tensor(spacing, dtype=torch.float64) * sides / 2
        back = _rotation(self.rotation_deg, axes).T / self.scale
        linear = back * half_mm[None, :] / half_mm[:, None]
        shift = 2 * torch.tensor(self.translation or (0.0,) * axes, dtype=torch.float64)
        matrix = torch.cat([linear, -(linear @ shift)[:, None]], dim=1)
        return torch.cat([matrix[:, :axes].flip(0, 1), matrix[:, axes:].flip(0)], dim=1).float()


@dataclass(frozen=True)
class Augmentation:
    """Ranges of random changes; with all at zero the input comes back bit for bit.

    Attributes:
        flip_axes: Axes that are flipped, each with probability one half.
        probability: Probability of the spatial part (rotation, scale, translation), and of the intensity
            part, each by itself.
        rotation_deg: Largest angle; in 3-D one angle is drawn for each of the three axes. Or, in 3-D, one
            largest angle per axis: ``(0, 0, 10)`` turns about the last, within slices that are stored there.
        scale: Largest relative change of size: 0.1 is 10 % up or down.
        translation_fraction: Largest shift per axis, as a fraction of the side.
        intensity_scale: Largest relative change of contrast.
        intensity_shift: Largest change of brightness, in standard deviations of the channel.
    """

    flip_axes: tuple[int, ...] = ()
    probability: float = 1.0
    rotation_deg: float | tuple[float, float, float] = 0.0
    scale: float = 0.0
    translation_fraction: float = 0.0
    intensity_scale: float = 0.0
    intensity_shift: float = 0.0

    # A recipe embeds this class and reads it from a file.
    __pydantic_config__: ClassVar = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        require_between("probability", self.probability, 0, 1)
        if not 0 <= self.scale < 1 or not 0 <= self.intensity_scale < 1:
            raise ValueRangeError(
                f"scale is {self.scale} and intensity_scale {self.intensity_scale}: both must lie in [0, 1)"
            )
        for name in ("translation_fraction", "intensity_shift"):
            require_between(name, getattr(self, name), 0, math.inf)
        for angle in self._largest_angles(3):
            require_between("rotation_deg", angle, 0, math.inf)

    @property
    def is_affine(self) -> bool:
        """Can it rotate, scale or shift?"""
        return any(self._largest_angles(3)) or self.scale > 0 or self.translation_fraction > 0

    def require_axes(self, axes: int) -> None:
        """Raise unless ``flip_axes`` and ``rotation_deg`` are for so many spatial axes."""
        if any(axis not in range(axes) for axis in self.flip_axes):
            raise ShapeError(f"flip_axes {self.flip_axes} must lie in 0 .. {axes - 1}")
        self._largest_angles(axes)

    def _largest_angles(self, axes: int) -> tuple[float, ...]:
        """Return one per angle that is drawn."""
        if not isinstance(self.rotation_deg, tuple):
            return (self.rotation_deg,) * (1 if axes == 2 else 3)
        if len(self.rotation_deg) != 3 or axes != 3:
            raise ShapeError(
                f"rotation_deg is {self.rotation_deg} for {axes} axes: give one angle, or in 3-D one per axis"
            )
        return self.rotation_deg

    def draw(self, axes: int, *, generator: torch.Generator | None = None) -> Movement:
        """Draw a change for a sample with ``axes`` spatial axes, from a CPU generator.

        Raises:
            ShapeError: an angle per axis is given, but ``axes`` is not 3.
        """
        # Every number is drawn whether it is used or not: a seed then means the same sample whatever is on.
        flips, chances = torch.rand(3, generator=generator), torch.rand(2, generator=generator)
        angles, shifts = (2 * torch.rand(2, 3, generator=generator, dtype=torch.float64) - 1).tolist()
        size, gain, tone = (2 * torch.rand(3, generator=generator, dtype=torch.float64) - 1).tolist()
        spatial, intensity = (chances < self.probability).tolist()
        turned = zip(self._largest_angles(axes), angles, strict=False)
        return Movement(
            flips=tuple(axis for axis in self.flip_axes if flips[axis] < 0.5),
            rotation_deg=tuple(largest * angle for largest, angle in turned) if spatial else (),
            scale=1 + self.scale * size if spatial else 1.0,
            translation=tuple(self.translation_fraction * shift for shift in shifts[:axes])
            if spatial
            else (),
            gain=1 + self.intensity_scale * gain if intensity else 1.0,
            shift=self.intensity_shift * tone if intensity else 0.0,
        )

    def apply(
        self,
        image: Tensor,
        labels: Tensor | None = None,
        target: Tensor | None = None,
        *,
        spacing: Spacing,
        kind: TargetKind = CLASSES,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Draw one change and move everything by it.

        Args:
            image: ``(C, *S)``.
            labels: Class indices, ``(*S)``, or ``(D, *S)`` for several raters.
            target: The soft target ``(K, *S)``, ``None`` if it is made afterwards.
            spacing: Mm per spatial axis.
            kind: What the target is; see :meth:`Movement.target`.
            generator: Where the numbers come from (on the CPU); ``None``: torch's global one.

        Returns:
            Image, labels and target, of the same shapes and types.

        Raises:
            ShapeError: the three do not have one grid, or ``spacing``, ``flip_axes`` or ``rotation_deg`` do
                not fit it.
        """
        axes = len(spacing)
        require_spacing(spacing, image.shape[1:])
        for name, other in (("labels", labels), ("target", target)):
            if other is not None:
                require_same_shape(f"the grid of {name}", other.shape[-axes:], "the image's", image.shape[1:])
        self.require_axes(axes)
        movement = self.draw(axes, generator=generator)
        return (
            movement.image(image, spacing=spacing),
            None if labels is None else movement.labels(labels, spacing=spacing),
            None if target is None else movement.target(target, spacing=spacing, kind=kind),
        )


def _rotation(angles_deg: Sequence[float], axes: int) -> Tensor:
    """Return the rotation that turns axis ``a`` towards axis ``b`` by each angle, in their order."""
    planes = ((0, 1),) if axes == 2 else ((1, 2), (2, 0), (0, 1))
    if len(angles_deg) not in (0, len(planes)):
        raise ShapeError(f"rotation_deg has {len(angles_deg)} values: give {len(planes)} for {axes} axes")
    matrix = torch.eye(axes, dtype=torch.float64)
    for (first, second), angle in zip(planes, angles_deg, strict=False):
        radians = math.radians(angle)
        turn = torch.eye(axes, dtype=torch.float64)
        turn[first, first] = turn[second, second] = math.cos(radians)
        turn[second, first], turn[first, second] = math.sin(radians), -math.sin(radians)
        matrix = turn @ matrix
    return matrix
