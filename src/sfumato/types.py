"""The shape vocabulary: every array's axes are named here, once, and enforced in the tests.

``C`` image channels, ``K`` classes with background first, ``R`` regions that may overlap, ``D`` raters,
``B`` items of a batch, ``*S`` spatial axes (two or three) in their stored order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped
from torch import Tensor

Spacing = tuple[float, ...]  # mm between voxel centres, one per spatial axis

# Torch tensors: what our functions return, and all that exists past ``data.readers``.
Image = Float32[Tensor, "C *S"]
Labels = Int[Tensor, "*S"]
LabelsPerRater = Int[Tensor, "D *S"]
Soft = Float32[Tensor, "K *S"]
SoftPerRater = Float32[Tensor, "D K *S"]
Regions = Bool[Tensor, "R *S"]
RegionMaps = Float32[Tensor, "R *S"]
Mask = Bool[Tensor, "*S"]
Distance = Float32[Tensor, "*S"]
Batch = Float[Tensor, "B K *S"]
PerClass = Float[Tensor, "B K"]
PerRegion = Float[Tensor, "*B R"]  # one value per region, with or without a batch axis
Scalar = Float[Tensor, ""]

# What public functions accept: torch or NumPy, of any integer or floating type.
ArrayLike = Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."]

Array = np.ndarray[Any, np.dtype[Any]]
FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
