"""A network as recipes know it, and the checks that every network shares."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.instancenorm import _InstanceNorm

from sfumato.errors import InputError, ShapeError, ValueRangeError

# A builder's parameters that are not options of a recipe.
GIVEN = ("in_channels", "out_channels", "axes", "image_size")


@dataclass(frozen=True)
class Network:
    """One network, as recipes know it.

    Attributes:
        name: What a recipe calls it.
        builder: Makes the module from ``in_channels``, ``out_channels``, its own options, ``axes`` where
            ``axes`` below holds several, and ``image_size`` where ``fixed_size`` is set.
        axes: The numbers of spatial axes for which the network exists.
        divisor: Every side is a multiple of this; or the name of the option that holds one entry per level,
            each level halving the grid, but the first only where ``first_halves`` is set.
        fixed_size: Layers depend on the image size.
        norm_at_bottom: The coarsest grid, one voxel per ``divisor``, is scaled by its own mean and variance.
        first_halves: The first level sees half the image's grid already.
    """

    name: str
    builder: Callable[..., nn.Module]
    axes: tuple[int, ...]
    divisor: int | str
    fixed_size: bool = False
    norm_at_bottom: bool = False
    first_halves: bool = False

    @property
    def options(self) -> Mapping[str, object]:
        """The options by name, with their defaults."""
        parameters = inspect.signature(self.builder).parameters
        return {name: part.default for name, part in parameters.items() if name not in GIVEN}

    def divisor_with(self, options: Mapping[str, object]) -> int:
        """Return the number that every side must be a multiple of, with these options."""
        if isinstance(self.divisor, int):
            return self.divisor
        levels = options.get(self.divisor, self.options[self.divisor])
        if not isinstance(levels, Sequence) or isinstance(levels, str):
            raise InputError(f"{self.divisor} is {levels!r}: give one number per level")
        return int(2 ** (len(levels) if self.first_halves else len(levels) - 1))


@dataclass(frozen=True)
class InputCheck:
    """A forward hook that refuses input which does not suit the network, before a layer stumbles over it.

    Raises:
        ShapeError: wrong number of axes, channels, or voxels; the message names both.
    """

    name: str  # the network's name, for messages
    channels: int  # image channels that the network was built for
    axes: int  # spatial axes that it was built for
    divisor: int  # every side is a multiple of this
    fixed_size: tuple[int, ...] | None  # the only size it takes, or None
    norm_at_bottom: bool  # the coarsest grid is scaled by its own mean and variance

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Raise where the first of the module's ``inputs`` does not suit it."""
        shape = tuple(inputs[0].shape)
        if len(shape) != self.axes + 2:
            raise ShapeError(
                f"network {self.name!r} was built for {self.axes} spatial axes: it takes "
                f"(batch, channels, {self.axes} sides), found shape {shape}"
            )
        if shape[1] != self.channels:
            raise ShapeError(
                f"network {self.name!r} was built for {self.channels} channels, found {shape[1]} "
                f"in shape {shape}"
            )
        sides = shape[2:]
        if self.fixed_size is not None and sides != self.fixed_size:
            raise ShapeError(
                f"network {self.name!r} was built for images of {self.fixed_size} voxels and its layers "
                f"depend on that size, found {sides}: cut or pad to it, or build it with this image_size"
            )
        if any(side % self.divisor for side in sides):
            raise ShapeError(
                f"network {self.name!r} needs sides that are multiples of {self.divisor}, found {sides}"
            )
        self.require_bottom(module, sides)

    def require_bottom(self, module: nn.Module, sides: tuple[int, ...]) -> None:
        """Raise where the coarsest grid is one voxel and ``module`` scales it by its own variance."""
        if not self.norm_at_bottom or any(side > self.divisor for side in sides):
            return
        if any(isinstance(part, _InstanceNorm) for part in module.modules()):
            raise ShapeError(
                f"network {self.name!r} shrinks {sides} voxels to a single one, which instance normalisation "
                f"cannot scale: at least one side must be {2 * self.divisor} or more"
            )


def require_dropout(name: str, value: float) -> None:
    """Raise unless ``value`` is a probability in ``[0, 1)``."""
    if not 0 <= value < 1:
        raise ValueRangeError(f"{name} is {value}: it must lie in [0, 1)")


def require_count(name: str, value: int) -> None:
    """Raise unless ``value`` is a whole number above 0."""
    if not isinstance(value, int) or value < 1:
        raise ValueRangeError(f"{name} is {value}: give a whole number above 0")


def require_levels(
    name: str, values: Sequence[int], *, least: int = 2, most: int | None = None, what: str = "one per level"
) -> None:
    """Raise unless ``values`` holds at least ``least`` and at most ``most`` whole numbers above 0."""
    whole = all(isinstance(value, int) and value > 0 for value in values)
    if len(values) < least or not whole or (most is not None and len(values) > most):
        count = str(least) if most == least else f"at least {least}"
        raise ValueRangeError(f"{name} is {tuple(values)}: give {count} whole numbers above 0, {what}")


def require_heads(name: str, width: int, heads: int) -> None:
    """Raise unless ``width`` channels divide evenly among ``heads`` attention heads."""
    if heads < 1 or width % heads:
        raise ValueRangeError(f"{name} is {width}, which {heads} attention heads cannot share evenly")
