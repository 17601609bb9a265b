import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from sfumato.errors import ShapeError, ValueRangeError
from sfumato.labels import signed_distance
from strategies import label_maps


def slow_distance(mask, spacing):
    """Pairwise distances between centres, positive inside."""
    voxels = list(np.ndindex(*mask.shape))
    out = np.zeros(mask.shape)
    for one, two in itertools.product(voxels, voxels):
        if mask[one] != mask[two]:
            distance = math.hypot(*((a - b) * s for a, b, s in zip(one, two, spacing, strict=True)))
            out[one] = min(out[one], distance) if out[one] else distance
    return torch.from_numpy(np.where(mask, out, -out)).float()


@settings(max_examples=25)
@given(label_maps(max_side=4))
def test_it_is_the_distance_to_the_nearest_centre_on_the_other_side(case):
    labels, _, spacing = case
    region = labels == 1
    found = signed_distance(region[None], spacing=spacing, normalise=False)[0]
    assert torch.equal(found > 0, region)
    if not region.any() or region.all():
        diagonal = math.hypot(*(side * step for side, step in zip(labels.shape, spacing, strict=True)))
        expected = torch.full(labels.shape, diagonal if region.all() else -diagonal)
    else:
        expected = slow_distance(region.numpy(), spacing)
    torch.testing.assert_close(found, expected)


@given(label_maps())
def test_normalised_maps_reach_one_on_either_side(case):
    labels, num_classes, spacing = case
    regions = torch.stack([labels == k for k in range(num_classes)])
    maps = signed_distance(regions, spacing=spacing)
    assert torch.equal(maps > 0, regions)
    for region, each in zip(regions, maps, strict=True):
        assert each.max() == (1 if region.any() else -1)
        assert each.min() == (1 if region.all() else -1)


def test_normalised_maps_do_not_depend_on_the_unit_of_length():
    region = torch.zeros(1, 5, 6, 4, dtype=torch.bool)
    region[0, 1:4, 2:5, 1:3] = True
    one = signed_distance(region, spacing=(1.0, 0.5, 2.0))
    torch.testing.assert_close(one, signed_distance(region, spacing=(10.0, 5.0, 20.0)))
    assert 0 < one[region].min() < 1


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match=r"give \(R, \*S\)"):
        signed_distance(torch.ones(3, 4, dtype=torch.bool), spacing=(1.0, 1.0))
    with pytest.raises(ValueRangeError, match="above 0 mm"):
        signed_distance(torch.ones(1, 3, 4, dtype=torch.bool), spacing=(1.0, 0.0))
