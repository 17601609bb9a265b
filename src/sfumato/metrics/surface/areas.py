"""The size of the surface in a 2x2x2 (in 2-D: 2x2) block of voxels, for every filling of the block.

The surface runs through the midpoints of the block's edges that join an inside to an outside voxel, as
in marching cubes. Where a face is ambiguous, the side with fewer voxels is the one that is cut off, so
that a filling and its complement have the same surface.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Corner = tuple[int, ...]
# A shape of voxels that hang together along edges of the block, and the axis that tells its direction.
Piece = tuple[str, int]


@lru_cache(maxsize=256)
def surface_sizes(spacing: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return the surface inside a block of voxels for each of its 256 (in 2-D: 16) fillings.

    Bit ``b`` of a filling is the voxel at the ``b``-th corner of ``itertools.product((0, 1), repeat=axes)``.

    Args:
        spacing: Millimetres between voxel centres, two or three values.

    Returns:
        Areas in square millimetres, ``(256)``; for two axes, lengths in millimetres, ``(16)``. An empty
        and a full block hold no surface: 0. The array is cached and read-only.

    References:
        Lorensen and Cline (1987), Marching cubes: a high resolution 3D surface construction algorithm,
        10.1145/37401.37422; Nikolov et al. (2018), Deep learning to achieve clinically applicable
        segmentation of head and neck anatomy for radiotherapy, arXiv:1809.04430
    """
    pieces, counts = _pieces_of_every_filling(len(spacing))
    size_of = _length if len(spacing) == 2 else _area
    sizes: npt.NDArray[np.float64] = counts @ np.array([size_of(piece, spacing) for piece in pieces])
    sizes.flags.writeable = False
    return sizes


@lru_cache(maxsize=2)
def _pieces_of_every_filling(axes: int) -> tuple[tuple[Piece, ...], npt.NDArray[np.float64]]:
    """List the pieces there are, and how many of each every filling has, ``(fillings, pieces)``."""
    corners = tuple(itertools.product((0, 1), repeat=axes))
    of_fillings: list[list[Piece]] = []
    for filling in range(2 ** len(corners)):
        inside = {corner for bit, corner in enumerate(corners) if filling >> bit & 1}
        fewer = min(inside, set(corners) - inside, key=len)
        of_fillings.append([_piece(joined) for joined in _joined(fewer)])
    pieces = tuple(sorted(set(itertools.chain(*of_fillings))))
    counts = np.array([[float(filling.count(piece)) for piece in pieces] for filling in of_fillings])
    return pieces, counts


def _joined(corners: set[Corner]) -> list[list[Corner]]:
    """Split a set of corners into those that hang together along edges of the block."""
    left, groups = set(corners), []
    while left:
        group = [left.pop()]
        for corner in group:
            neighbours = {other for other in left if _edges_apart(corner, other) == 1}
            left -= neighbours
            group.extend(neighbours)
        groups.append(group)
    return groups


def _edges_apart(first: Corner, second: Corner) -> int:
    return sum(a != b for a, b in zip(first, second, strict=True))


def _piece(group: list[Corner]) -> Piece:
    """Name the shape of a group of one to four corners, and its axis (0 where it has none)."""
    axes = range(len(group[0]))
    # How many corners of the group have their neighbour along the axis in the group too.
    along = [len(group) - len({corner[:axis] + corner[axis + 1 :] for corner in group}) for axis in axes]
    if len(group) == 1:
        return "corner", 0
    if len(group) == 2:
        return "edge", along.index(1)
    if 0 in along:
        return "bent edge" if len(group) == 3 else "face", along.index(0)
    if max(sum(_edges_apart(corner, other) == 1 for other in group) for corner in group) == 3:
        return "corner and its neighbours", 0
    inner = [corner for corner in group if sum(_edges_apart(corner, other) == 1 for other in group) == 2]
    return "path", next(axis for axis in axes if inner[0][axis] != inner[1][axis])


def _length(piece: Piece, spacing: tuple[float, ...]) -> float:
    """Return the length of the contour that cuts a piece from the rest of a 2x2 block."""
    shape, axis = piece
    return 0.5 * math.hypot(*spacing) if shape == "corner" else spacing[axis]


def _area(piece: Piece, spacing: tuple[float, ...]) -> float:
    """Return the area of the surface that cuts a piece from the rest of a 2x2x2 block."""
    shape, axis = piece
    faces = tuple(math.prod(spacing) / side for side in spacing)
    if shape == "corner":  # a triangle
        return _patch(faces, (0.125, 0.125, 0.125))
    if shape == "edge":  # a rectangle along it
        return _patch(faces, tuple(0.0 if other == axis else 0.5 for other in range(3)))
    if shape == "face":  # the mid-plane
        return faces[axis]
    if shape == "bent edge":  # half of the mid-plane, and a slope beside its diagonal
        return 0.5 * faces[axis] + _patch(faces, (0.375, 0.375, 0.375))
    if shape == "corner and its neighbours":  # a flat hexagon
        return _patch(faces, (0.75, 0.75, 0.75))
    # The path's hexagon is folded: a flat part in the middle, and two wings along the middle edge.
    wings = [
        tuple(0.25 * (side in (axis, other)) for side in range(3)) for other in range(3) if other != axis
    ]
    return _patch(faces, (0.5, 0.5, 0.5)) + sum(_patch(faces, wing) for wing in wings)


def _patch(faces: tuple[float, ...], shares: tuple[float, ...]) -> float:
    """Return the area of a flat patch whose shadows along the axes are these shares of the block's faces."""
    return math.hypot(*(share * face for share, face in zip(shares, faces, strict=True)))
