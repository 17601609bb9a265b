"""Surface sizes per block of voxels: DeepMind's table, and sums done by hand."""

import itertools
import math

import numpy as np
import pytest
from surface_distance import lookup_tables

from sfumato.metrics.surface.areas import surface_sizes

SPACINGS = [(1.0, 1.0, 1.0), (1.0, 1.3, 2.1), (0.5, 7.5, 0.2), (30.0, 0.7, 0.9)]


def their_codes(kernel):
    """Where each of our fillings stands in their table."""
    corners = list(itertools.product((0, 1), repeat=kernel.ndim))
    return [
        sum(int(kernel[corner]) for bit, corner in enumerate(corners) if filling >> bit & 1)
        for filling in range(2 ** len(corners))
    ]


@pytest.mark.parametrize("spacing", SPACINGS)
def test_area_of_every_filling_equals_deepminds(spacing):
    theirs = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    codes = their_codes(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL)
    np.testing.assert_allclose(surface_sizes(spacing), theirs[codes], rtol=1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 1.3), (7.5, 0.5)])
def test_length_of_every_filling_equals_deepminds(spacing):
    theirs = lookup_tables.create_table_neighbour_code_to_contour_length(spacing)
    codes = their_codes(lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL)
    np.testing.assert_allclose(surface_sizes(spacing), theirs[codes], rtol=1e-12)


def test_area_of_a_corner_and_of_a_half_is_the_one_done_by_hand():
    areas = surface_sizes((1.0, 2.0, 4.0))
    # One corner: half the cross product of (-0.5, 1, 0) and (-0.5, 0, 2).
    assert areas[1] == pytest.approx(0.5 * math.hypot(2.0, 1.0, 0.5))
    # The corners with a 0 on the first axis are bits 0 to 3: the face of 2 mm x 4 mm.
    assert areas[0b00001111] == pytest.approx(8.0)


def test_empty_and_full_blocks_hold_no_surface():
    areas, lengths = surface_sizes((1.0, 2.0, 4.0)), surface_sizes((1.0, 2.0))
    assert areas[0] == areas[255] == lengths[0] == lengths[15] == 0
    assert (areas[1:255] > 0).all()
    assert (lengths[1:15] > 0).all()


def test_table_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        surface_sizes((1.0, 1.0))[0] = 1.0
