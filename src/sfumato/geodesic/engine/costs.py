"""What one move costs: the three costs as vector code, and again one voxel at a time.

Both forms do the same operations in the same order and precision, float32 or float64, so that every scheme
built on them finds the same bits. ``plan`` moves constant factors out of the inner loop, exactly: with
``weight = scale * 2^power`` the image is multiplied by ``2^power`` (no rounding) and all distances come out
divided by ``scale``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from sfumato.geodesic.engine.simd import (
    LanesType,
    absolute,
    add,
    divide,
    fetch,
    load,
    multiply,
    root,
    splat,
    subtract,
)
from sfumato.types import Array

# ruff: noqa: ANN001, ANN201, ANN202  # Compiled code: its types are Numba's, and annotations confuse it.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"


COSTS = ("l1", "l2", "geodistk")
EPSILON = 1e-5  # what GeodisTK adds to |step|, so that flat areas still cost something
_SAFE = 1e17  # squares of larger numbers, and of smaller than its inverse, leave float32


class Sum(NamedTuple):
    """``length + |step|``."""

    length_weight: float
    step_weight: float


class Norm(NamedTuple):
    """``sqrt(length^2 + step^2)``; the lengths come squared."""

    length_weight: float
    step_weight: float


class Product(NamedTuple):
    """``length * (|step| + epsilon)``."""

    length_weight: float
    step_weight: float


class Ratio(NamedTuple):
    """``length * q / (length_weight * q + step_weight)`` with ``q = |step| + epsilon``."""

    length_weight: float
    step_weight: float


CostForm = Sum | Norm | Product | Ratio


@dataclass(frozen=True)
class CostPlan:
    """A cost made ready for the kernels: the inner loop's form, the image's factor and the distances'."""

    cost: CostForm  # weights in Python's numbers; ``weights_in`` gives them the kernels' type
    power: int  # the image is multiplied by 2^power
    scale: float  # distances are multiplied by scale
    uses_image: bool
    is_safe: bool  # float32 holds all intermediate values
    length: float  # factor of a move's length in mm


def plan(cost: str, weight: float, spacing: Sequence[float], span: float, channels: int) -> CostPlan:
    """Choose the form for ``cost``, and say whether float32 suffices.

    Args:
        cost: ``"l1"``, ``"l2"`` or ``"geodistk"``.
        weight: Its gamma or lambda.
        spacing: Millimetres per axis.
        span: Largest difference within a channel of the image.
        channels: Number of channels.
    """
    short, long = min(spacing), math.hypot(*spacing)
    if weight == 0 or (cost == "l1" and weight * span == 0):
        length = 1.0 - weight if cost == "l1" else 1.0
        safe = 1 / _SAFE < length * short <= long < _SAFE or length == 0
        return CostPlan(Sum(1.0, 1.0), 0, 1.0, uses_image=False, is_safe=safe, length=length)
    mantissa, power = (1.0, 0) if cost == "geodistk" else math.frexp(weight)
    size = math.ldexp(span, power) * math.sqrt(channels)
    if cost == "l1":
        length = (1 - weight) / mantissa
        safe = (length == 0 or 1 / _SAFE < length * short <= length * long < _SAFE) and size < 1e38
        return CostPlan(Sum(1.0, 1.0), power, mantissa, uses_image=True, is_safe=safe, length=length)
    safe = size < _SAFE and 1 / _SAFE < short / mantissa <= long / mantissa < _SAFE
    if cost == "l2":
        return CostPlan(Norm(1.0, 1.0), power, mantissa, uses_image=True, is_safe=safe, length=1 / mantissa)
    form: CostForm = Product(1.0, 1.0)
    if weight < 1:
        form = Ratio(1 - weight, weight)
    return CostPlan(form, 0, 1.0, uses_image=True, is_safe=safe and weight > 1 / _SAFE, length=1.0)


def weights_in(cost: CostForm, dtype: Any) -> CostForm:  # noqa: ANN401  # NumPy's type of a number
    """Return the cost with weights of the type that its distances have."""
    return type(cost)(dtype(cost.length_weight), dtype(cost.step_weight))


def lengths(ready: CostPlan, spacing: Sequence[float], dtype: Any = np.float32) -> Array:  # noqa: ANN401
    """Return the length of the move ``(a, b, c)`` of 0 and 1 at ``[a, b, c]``, as the kernels take it."""
    a, b, c = (np.arange(2) * step for step in spacing)
    squared = a[:, None, None] ** 2 + b[:, None] ** 2 + c**2
    if isinstance(ready.cost, Norm):
        return np.asarray(squared * ready.length**2, dtype=dtype)
    return np.asarray(np.sqrt(squared) * ready.length, dtype=dtype)


def shortest(ready: CostPlan, of: Array) -> float:
    """Return what a move costs at least, from its ``lengths``."""
    length = float(min(of[0, 0, 1], of[0, 1, 0], of[1, 0, 0]))
    if isinstance(ready.cost, Norm):
        return math.sqrt(length)
    if isinstance(ready.cost, Product):
        return length * EPSILON
    if isinstance(ready.cost, Ratio):
        return float(length * EPSILON / (ready.cost.length_weight * EPSILON + ready.cost.step_weight))
    return length


def edge(cost, images, i, j, length):
    """Return the costs of sixteen moves, from voxels ``j ..`` to ``i ..``; in compiled code only."""


def is_cheap(cost):
    """Tell whether a move's cost takes neither a root nor a quotient; in compiled code only."""


def least_edge(cost, length):
    """Return what moves of these lengths cost where the image stays; in compiled code only."""


def edge_of_one(cost, images, i, j, length):
    """Return the cost of the one move from ``j`` to ``i``; in compiled code only."""


def fetch_images(images, i):
    """Have block ``i`` of every channel brought into the cache; in compiled code only."""


def _step(channel, i, j):
    """Return the differences of sixteen pairs of voxels."""


def _step_of_one(channel, i, j):
    """Subtract as ``_step``, for one pair of voxels."""


def _absolute_sum(images, i, j):
    """Sum over the channels of ``|step|``."""


def _square_sum(images, i, j):
    """Sum over the channels of ``step^2``."""


def _absolute_sum_of_one(images, i, j):
    """Sum as ``_absolute_sum``, for one voxel."""


def _square_sum_of_one(images, i, j):
    """Sum as ``_square_sum``, for one voxel."""


# The two parts of a value (Dekker 1971, doi:10.1007/BF01397083) are subtracted by themselves: where the two
# differences cancel, the first is exact.
@overload(_step)
def _step_code(channel, i, j):
    if isinstance(channel, types.Array):
        return lambda channel, i, j: subtract(load(channel, i), load(channel, j))
    return lambda channel, i, j: add(
        subtract(load(channel[0], i), load(channel[0], j)), subtract(load(channel[1], i), load(channel[1], j))
    )


@overload(_step_of_one)
def _step_of_one_code(channel, i, j):
    if isinstance(channel, types.Array):
        return lambda channel, i, j: channel[i] - channel[j]
    return lambda channel, i, j: (channel[0][i] - channel[0][j]) + (channel[1][i] - channel[1][j])


# The channels are a tuple, so their number is part of its type: each number of channels is compiled
# by itself, and these sums unroll by taking the tuple apart.
@overload(_absolute_sum)
def _absolute_sum_code(images, i, j):
    if len(images) == 1:
        return lambda images, i, j: absolute(_step(images[0], i, j))
    return lambda images, i, j: add(_absolute_sum(images[:-1], i, j), absolute(_step(images[-1], i, j)))


@overload(_square_sum)
def _square_sum_code(images, i, j):
    if len(images) == 1:

        def single(images, i, j):
            step = _step(images[0], i, j)
            return multiply(step, step)

        return single

    def several(images, i, j):
        step = _step(images[-1], i, j)
        return add(_square_sum(images[:-1], i, j), multiply(step, step))

    return several


@overload(_absolute_sum_of_one)
def _absolute_sum_of_one_code(images, i, j):
    if len(images) == 1:
        return lambda images, i, j: abs(_step_of_one(images[0], i, j))
    return lambda images, i, j: _absolute_sum_of_one(images[:-1], i, j) + abs(_step_of_one(images[-1], i, j))


@overload(_square_sum_of_one)
def _square_sum_of_one_code(images, i, j):
    if len(images) == 1:
        return lambda images, i, j: _step_of_one(images[0], i, j) * _step_of_one(images[0], i, j)
    return lambda images, i, j: (
        _square_sum_of_one(images[:-1], i, j)
        + _step_of_one(images[-1], i, j) * _step_of_one(images[-1], i, j)
    )


def _number(length):
    """Return NumPy's type of the numbers that ``length`` holds, once or sixteen times."""
    scalar = length.scalar if isinstance(length, LanesType) else length
    return np.float32 if scalar == types.float32 else np.float64


@overload(fetch_images)
def _fetch_images_code(images, i):
    if isinstance(images, types.Array):
        return lambda images, i: fetch(images, i)
    if len(images) == 1:
        return lambda images, i: fetch_images(images[0], i)

    def several(images, i):
        fetch_images(images[:-1], i)
        fetch_images(images[-1], i)

    return several


@overload(is_cheap)
def _is_cheap_code(cost):
    cheap = cost.instance_class in (Sum, Product)
    return lambda cost: cheap


@overload(least_edge)
def _least_edge_code(cost, length):
    form = cost.instance_class
    if form is Sum:
        return lambda cost, length: length
    if form is Norm:
        return lambda cost, length: root(length)
    number = _number(length)
    epsilon = number(EPSILON)
    if form is Product:
        return lambda cost, length: multiply(length, splat(epsilon))
    # A quotient may round down where it should grow.
    slack = number(1 - 1e-6)

    def ratio(cost, length):
        whole = add(multiply(splat(cost.length_weight), splat(epsilon)), splat(cost.step_weight))
        return divide(multiply(length, splat(epsilon * slack)), whole)

    return ratio


@overload(edge)
def _edge_code(cost, images, i, j, length):
    form = cost.instance_class
    if form is Sum:
        return lambda cost, images, i, j, length: add(length, _absolute_sum(images, i, j))
    if form is Norm:
        return lambda cost, images, i, j, length: root(add(length, _square_sum(images, i, j)))
    size = _absolute_sum if len(images) == 1 else _root_square_sum
    epsilon = _number(length)(EPSILON)
    if form is Product:
        return lambda cost, images, i, j, length: multiply(length, add(size(images, i, j), splat(epsilon)))

    def ratio(cost, images, i, j, length):
        q = add(size(images, i, j), splat(epsilon))
        return divide(
            multiply(length, q), add(multiply(splat(cost.length_weight), q), splat(cost.step_weight))
        )

    return ratio


@register_jitable
def _root_square_sum(images, i, j):
    return root(_square_sum(images, i, j))


@overload(edge_of_one)
def _edge_of_one_code(cost, images, i, j, length):
    form = cost.instance_class
    if form is Sum:
        return lambda cost, images, i, j, length: length + _absolute_sum_of_one(images, i, j)
    number = _number(length)
    epsilon = number(EPSILON)
    if form is Norm:
        return lambda cost, images, i, j, length: number(
            math.sqrt(number(length + _square_sum_of_one(images, i, j)))
        )

    @register_jitable
    def root_of_one(images, i, j):
        return number(math.sqrt(_square_sum_of_one(images, i, j)))

    size = _absolute_sum_of_one if len(images) == 1 else root_of_one
    if form is Product:
        return lambda cost, images, i, j, length: length * (size(images, i, j) + epsilon)

    def ratio(cost, images, i, j, length):
        q = size(images, i, j) + epsilon
        return length * q / (cost.length_weight * q + cost.step_weight)

    return ratio
