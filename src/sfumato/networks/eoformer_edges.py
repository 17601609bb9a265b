"""EoFormer's convolutions that carry fixed edge filters, folded into one kernel."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional


def sobel_filters() -> Tensor:
    """Return three filters, ``(3, 3, 3, 3)``: the derivative along each axis, smoothed along the others.

    Along its axis a filter is ``(1, 0, -1)``, along the others ``(1, 2, 1)``; its sum is 0.
    """
    across, along = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 0.0, -1.0])
    filters = []
    for axis in range(3):
        first, second, third = (along if axis == other else across for other in range(3))
        filters.append(first[:, None, None] * second[:, None] * third)
    return torch.stack(filters)


def laplace_filter() -> Tensor:
    """Return one 3x3x3 filter, ``(1, 3, 3, 3)``: -6 in the middle, 1 at the six nearest voxels, else 0."""
    laplace = torch.zeros(1, 3, 3, 3)
    laplace[0, 1, 1, 1] = -6
    for axis, step in product(range(3), (0, 2)):
        place = [1, 1, 1]
        place[axis] = step
        laplace[0, place[0], place[1], place[2]] = 1
    return laplace


class EdgeConv3d(nn.Module):
    """A 3x3x3 convolution plus edge branches: 1x1x1 convolution, fixed filter, learned scale per channel.

    All branches are linear and are summed, so they are one convolution with the kernel
    ``kernel + sum_f scale_f * mixing_f * filter_f``; it is computed in that form in training and evaluation.

    Args:
        width: Feature channels in and out.
        filters: The fixed filters, ``(F, 3, 3, 3)``, each of sum 0.
    """

    filters: Tensor

    def __init__(self, width: int, filters: Tensor) -> None:
        super().__init__()
        self.direct = nn.Conv3d(width, width, kernel_size=3, padding=1)
        bound = width**-0.5
        self.mixing = nn.Parameter(torch.empty(len(filters), width, width).uniform_(-bound, bound))
        # A small start lets the free kernel lead until the edge branches have found their direction.
        self.scale = nn.Parameter(torch.full((len(filters), width), 1e-2))
        self.register_buffer("filters", filters)

    def kernel(self) -> Tensor:
        """Return the folded kernel, ``(width, width, 3, 3, 3)``."""
        edges = torch.einsum("fo,foi,fabc->oiabc", self.scale, self.mixing, self.filters)
        return self.direct.weight + edges

    def forward(self, features: Tensor) -> Tensor:
        """Convolve ``(B, width, *S)``, keeping the shape."""
        return functional.conv3d(features, self.kernel(), self.direct.bias, padding=1)
