import logging
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sfumato.errors import ShapeError, UnknownNameError, ValueRangeError
from sfumato.geodesic.reference import geodesic_distance_reference
from sfumato.labels import boundary_voxels, sing
from strategies import label_maps

RULES = ("canny", "inner", "outer", "both")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def slow_sing(mask, image, edges, spacing, *, lam=0.5, margin=0.5):
    """Equations 3 to 5 voxel by voxel; ``image`` is scaled already."""
    geodesic = geodesic_distance_reference(image, edges, spacing=spacing, cost="l1", weight=lam)
    spatial = geodesic_distance_reference(image, edges, spacing=spacing, cost="l1", weight=0.0)
    beta = max(spatial[voxel] for voxel in np.ndindex(*mask.shape) if mask[voxel])
    band = [voxel for voxel in np.ndindex(*mask.shape) if spatial[voxel] <= beta * (1 + 1e-5)]
    tau = max(geodesic[voxel] for voxel in band)
    out = np.full(mask.shape, -1.0)
    for voxel in band:
        ratio = geodesic[voxel] / tau if tau > 0 else 0.0
        out[voxel] = (1 if mask[voxel] else -1) * ((1 - margin) * ratio + margin)
    return torch.from_numpy(out).float()


def zscored(image):
    axes = tuple(range(1, image.ndim))
    values = image.double().numpy()
    return (values - values.mean(axes, keepdims=True)) / values.std(axes, keepdims=True)


def blob(shape):
    region = torch.zeros(shape, dtype=torch.bool)
    region[tuple(slice(1, 1 + (side + 1) // 2) for side in shape)] = True
    return region


@pytest.mark.parametrize(("shape", "spacing"), [((8, 11), (1.0, 0.5)), ((6, 7, 5), (0.7, 1.0, 2.5))])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("lam", "margin"), [(0.5, 0.5), (1.0, 0.2), (0.3, 0.0)])
def test_it_is_equations_3_to_5(shape, spacing, rule, lam, margin):
    region = blob(shape)
    image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(2))
    edges = boundary_voxels(region, rule=rule).voxels
    expected = slow_sing(region.numpy(), zscored(image), edges.numpy(), spacing, lam=lam, margin=margin)
    found = sing(region[None], image, spacing=spacing, lam=lam, margin=margin, boundary=rule)[0]
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


@settings(max_examples=60)
@given(
    label_maps(max_side=6),
    st.sampled_from(RULES),
    st.sampled_from((0.1, 0.5)),
    st.sampled_from(("paper", "reference")),
)
def test_thresholding_at_zero_gives_the_region_back_exactly(case, rule, margin, preset):
    labels, num_classes, spacing = case
    regions = torch.stack([labels == k for k in range(num_classes)])
    image = torch.randn(2, *labels.shape, generator=torch.Generator().manual_seed(0))
    image[:, 0] = 0
    maps = sing(regions, image, spacing=spacing, boundary=rule, margin=margin, preset=preset)
    assert torch.isfinite(maps).all()
    assert torch.equal(maps > 0, regions)
    assert maps.abs().max() <= 1 + 1e-6
    assert maps.abs().min() >= margin - 1e-6
    for region, each in zip(regions, maps, strict=True):
        if not region.any():
            assert (each == -1).all()


def test_without_a_margin_the_boundary_itself_is_zero():
    region = blob((7, 8))
    maps = sing(region[None], torch.randn(7, 8), spacing=(1.0, 1.0), margin=0.0, boundary="inner")[0]
    edges = boundary_voxels(region, rule="inner").voxels
    assert (maps[edges] == 0).all()
    assert (maps[region & ~edges] > 0).all()


def test_beyond_the_band_it_is_exactly_minus_one():
    region = torch.zeros(20, 21, dtype=torch.bool)
    region[8:13, 8:13] = True
    maps = sing(region[None], torch.randn(20, 21), spacing=(1.0, 1.0), boundary="inner")[0]
    assert (maps[:6] == -1).all()
    assert ((maps[6:8, 8:13] > -1) & (maps[6:8, 8:13] <= -0.5)).any()


def test_the_band_holds_its_ties_however_the_sums_were_rounded(monkeypatch):
    # On a grid many voxels lie exactly at the band's edge; other orders of summation differ by rounding.
    region = torch.zeros(21, 23, dtype=torch.bool)
    region[7:14, 6:15] = True
    image = torch.randn(21, 23)
    exact = sing(region[None], image, spacing=(0.7, 0.9), boundary="inner")
    module = sys.modules["sfumato.labels.sing"]
    distance = module.geodesic_distance

    def rounded(*arguments, **options):
        lengths = distance(*arguments, **options)
        return lengths * (1 + 1e-6 * (torch.rand(lengths.shape) - 0.5))

    monkeypatch.setattr(module, "geodesic_distance", rounded)
    other = sing(region[None], image, spacing=(0.7, 0.9), boundary="inner")
    torch.testing.assert_close(exact, other, atol=1e-5, rtol=0)
    assert 0.2 < (exact > -1).float().mean() < 0.8


def test_one_voxel_alone_has_the_margin_and_the_rest_is_minus_one():
    region = torch.zeros(5, 6, dtype=torch.bool)
    region[2, 3] = True
    maps = sing(region[None], torch.randn(5, 6), spacing=(1.0, 2.0), boundary="inner")[0]
    assert maps[2, 3] == 0.5
    assert (maps[~region] == -1).all()


@pytest.mark.parametrize("rule", ["canny", "outer"])
def test_a_full_region_is_measured_from_the_image_border_and_the_fallback_is_logged(rule, caplog):
    image = torch.randn(6, 7)
    region = torch.ones(1, 6, 7, dtype=torch.bool)
    with caplog.at_level(logging.INFO, logger="sfumato.labels.sing"):
        maps = sing(region, image, spacing=(1.0, 1.0), boundary=rule)
    assert f"region 0 has no {rule} boundary" in caplog.text
    assert torch.equal(maps, sing(region, image, spacing=(1.0, 1.0), boundary="inner"))
    assert (maps[0, 0] == 0.5).all()
    assert maps.max() == 1


def test_regions_do_not_disturb_each_other():
    regions = torch.stack([blob((7, 8)), torch.zeros(7, 8, dtype=torch.bool), ~blob((7, 8))])
    image = torch.randn(7, 8)
    together = sing(regions, image, spacing=(1.0, 1.0))
    apart = torch.cat([sing(regions[i : i + 1], image, spacing=(1.0, 1.0)) for i in range(3)])
    assert torch.equal(together, apart)


def test_the_foreground_mask_sets_what_lies_outside_the_body_to_minus_one():
    region = blob((8, 9))
    image = torch.randn(8, 9)
    body = torch.ones(8, 9, dtype=torch.bool)
    body[:, 6:] = False
    maps = sing(region[None], image, spacing=(1.0, 1.0), boundary="inner", foreground=body)[0]
    free = sing(region[None], image, spacing=(1.0, 1.0), boundary="inner")[0]
    assert (maps[:, 6:] == -1).all()
    assert (free[:, 6:] > -1).any()


def test_nonzero_takes_the_voxels_where_the_image_is_not_zero_as_the_body():
    region, image = blob((8, 9)), torch.randn(8, 9)
    image[:, 6:] = 0
    options = {"spacing": (1.0, 1.0), "intensity": "raw"}
    one = sing(region[None], image, foreground="nonzero", **options)
    assert torch.equal(one, sing(region[None], image, foreground=image != 0, **options))
    with pytest.raises(UnknownNameError, match="Did you mean 'nonzero'"):
        sing(region[None], image, foreground="non-zero", **options)


def test_the_reference_preset_is_the_released_arithmetic():
    region = blob((8, 9))
    image = torch.rand(2, 8, 9, generator=torch.Generator().manual_seed(5)) * 30 + 1
    image[0, :, 7:] = 0
    image[1, 0, :] = 0
    image[0, 3, 3] = 0  # in the region, and farther along the intensities than all the rest of it
    edges = boundary_voxels(region).voxels.numpy()
    expected = np.zeros((8, 9))
    for channel in image.double().numpy():
        length = geodesic_distance_reference(channel, edges, spacing=(1.0, 2.0), cost="l1", weight=0.5)
        far = max(length[v] for v in np.ndindex(8, 9) if region[v] and channel[v] != 0)
        for v in np.ndindex(8, 9):
            ratio = 1.0 if channel[v] == 0 else min(length[v] / far, 1.0)
            expected[v] += (1 if region[v] else -1) * (0.5 * ratio + 0.5) / 2
    found = sing(region[None], image, spacing=(1.0, 2.0), preset="reference")[0]
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), atol=2e-6, rtol=0)


def test_swapping_axes_with_the_spacing_swaps_the_map():
    region, image = blob((6, 7, 5)), torch.randn(1, 6, 7, 5)
    maps = sing(region[None], image, spacing=(0.5, 1.0, 2.0))
    turned = sing(
        region.permute(2, 0, 1)[None],
        image.permute(0, 3, 1, 2),
        spacing=(2.0, 0.5, 1.0),
        slice_axis=0,
    )
    torch.testing.assert_close(turned, maps.permute(0, 3, 1, 2), atol=1e-5, rtol=0)


def test_without_the_image_the_unit_of_length_changes_nothing():
    region = blob((6, 7, 5))
    image = torch.zeros(6, 7, 5)
    small = sing(region[None], image, spacing=(0.5, 1.0, 2.0), lam=0.0)
    large = sing(region[None], image, spacing=(5.0, 10.0, 20.0), lam=0.0)
    torch.testing.assert_close(small, large, atol=1e-5, rtol=0)


def test_what_does_not_fit_is_named():
    region, image = blob((5, 6))[None], torch.randn(5, 6)
    with pytest.raises(ShapeError, match=r"regions have shape \(5, 6\)"):
        sing(region[0], image, spacing=(1.0, 1.0))
    with pytest.raises(ShapeError, match="image has shape"):
        sing(region, image[:4], spacing=(1.0, 1.0))
    with pytest.raises(ValueRangeError, match="values other than 0 and 1"):
        sing(region * 0.5, image, spacing=(1.0, 1.0))
    with pytest.raises(ValueRangeError, match="margin is 1"):
        sing(region, image, spacing=(1.0, 1.0), margin=1.0)
    with pytest.raises(ValueRangeError, match="lam is"):
        sing(region, image, spacing=(1.0, 1.0), lam=math.nan)
    with pytest.raises(UnknownNameError, match="Did you mean 'canny'"):
        sing(region, image, spacing=(1.0, 1.0), boundary="cany")
    with pytest.raises(ShapeError, match="foreground has shape"):
        sing(region, image, spacing=(1.0, 1.0), foreground=torch.ones(4, 6))


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_a_small_region_in_a_large_image_is_solved_near_it_with_the_same_result(lam):
    # A cheap detour leaves the band: a dark ring around a bright, ragged core.
    region = torch.zeros(40, 46, dtype=torch.bool)
    region[17:24, 20:27] = True
    image = 5 * torch.rand(40, 46, generator=torch.Generator().manual_seed(5))
    image[12:30, 14:16] = image[12:14, 14:34] = image[28:30, 14:34] = 0
    edges = boundary_voxels(region, rule="inner").voxels
    expected = slow_sing(region.numpy(), zscored(image[None]), edges.numpy(), (1.0, 0.8), lam=lam)
    found = sing(region[None], image, spacing=(1.0, 0.8), lam=lam, boundary="inner")[0]
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)
