"""Geodesic distances on the GPU, in Triton, which comes with torch's CUDA builds: no compiler is needed.

Triton itself is imported only when a tensor on a GPU comes, so a CPU-only installation never needs it.
"""

from __future__ import annotations

import importlib.util

from torch import Tensor


def takes(image: object) -> bool:
    """Whether the kernels run where ``image`` lies; elsewhere the CPU engine computes."""
    return isinstance(image, Tensor) and image.is_cuda and importlib.util.find_spec("triton") is not None
