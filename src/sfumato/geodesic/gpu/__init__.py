"""Geodesic distances on the GPU, in Triton, which comes with torch's CUDA builds.

Triton compiles the kernels itself; only its small launcher takes the system's C compiler, once. Where Triton
or that compiler is missing, tensors on a GPU are computed on the CPU. Triton is imported only when a tensor
on a GPU comes, so a CPU-only installation never needs it.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import shutil

from torch import Tensor

LOG = logging.getLogger(__name__)


def takes(image: object) -> bool:
    """Tell whether the kernels run where ``image`` lies; elsewhere the CPU engine computes."""
    return isinstance(image, Tensor) and image.is_cuda and works()


@functools.cache
def works() -> bool:
    """Tell whether Triton and the C compiler for its launcher are there."""
    if importlib.util.find_spec("triton") is None:
        LOG.warning("Triton is not installed: geodesic distances of GPU tensors are computed on the CPU")
        return False
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        LOG.warning(
            "no C compiler (CC, gcc or clang) for Triton's launcher: geodesic distances of GPU tensors are "
            "computed on the CPU"
        )
        return False
    return True
