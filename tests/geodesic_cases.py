"""Images, seeds and masks for the geodesic tests: random, flat, steep, chequered, winding."""

import numpy as np
from hypothesis import strategies as st

from sfumato.geodesic.cpu import threads_for
from sfumato.geodesic.reference import geodesic_distance_reference
from sfumato.geodesic.task import PathCost, Sources, prepare, solve_sets
from sfumato.labels.kernels.pruning import solve_near

KINDS = ("noise", "constant", "checkerboard", "steep", "cliffs", "ramp")
LAYOUTS = ("plain", "fortran", "reversed", "strided")
SEEDINGS = ("some", "corner", "all", "none", "one")


def picture(kind, shape, channels, rng):
    if kind == "constant":
        return np.full((channels, *shape), 3.5, np.float32)
    if kind == "checkerboard":
        parity = np.indices(shape).sum(axis=0) % 2
        return np.stack([parity * (c + 1.0) for c in range(channels)]).astype(np.float32)
    if kind == "steep":
        return (rng.integers(0, 2, (channels, *shape)) * 1e6).astype(np.float32)
    if kind == "cliffs":
        steps = rng.integers(0, 2, (channels, *shape)) * 1e6
        return (rng.normal(size=(channels, *shape)) + steps).astype(np.float32)
    if kind == "ramp":
        return np.stack([np.indices(shape).sum(axis=0) * (c + 0.3) for c in range(channels)]).astype(
            np.float32
        )
    return rng.normal(size=(channels, *shape)).astype(np.float32)


def sowing(kind, shape, rng):
    seeds = np.zeros(shape, bool)
    if kind == "some":
        seeds = rng.random(shape) < 0.05
    elif kind == "all":
        seeds[:] = True
    elif kind == "corner":
        seeds[(0,) * len(shape)] = True
    elif kind == "one":
        seeds[tuple(rng.integers(0, side) for side in shape)] = True
    return seeds


def serpentine(shape):
    """A mask whose open voxels form one long winding corridor (2-D, or stacked with one hole per plane)."""
    path = np.zeros(shape, bool)
    planes = path.reshape(-1, *shape[-2:])
    for index, plane in enumerate(planes):
        if index % 2:
            plane[(0 if index % 4 == 1 else (shape[-2] - 1) // 2 * 2), 0] = True
            continue
        plane[::2] = True
        for row in range(1, shape[-2] - 1, 2):
            plane[row, -1 if row % 4 == 1 else 0] = True
    return path


def laid_out(array, layout):
    """The same values, elsewhere in memory."""
    if layout == "fortran":
        return np.asfortranarray(array)
    if layout == "reversed":
        return array[..., ::-1].copy()[..., ::-1]
    if layout == "strided":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    return array


@st.composite
def cases(draw):
    """``(image, seeds, spacing, mask, seed_cost)`` on a small grid, one long axis, NumPy, any strides."""
    axes = draw(st.sampled_from((2, 3)))
    shape = [draw(st.sampled_from((1, 2, 3, 5))) for _ in range(axes)]
    shape[draw(st.integers(0, axes - 1))] = draw(st.sampled_from((1, 4, 15, 16, 17, 33)))
    rng = np.random.default_rng(draw(st.integers(0, 2**31 - 1)))
    image = picture(draw(st.sampled_from(KINDS)), tuple(shape), draw(st.sampled_from((1, 1, 2))), rng)
    seeds = sowing(draw(st.sampled_from(SEEDINGS)), tuple(shape), rng)
    spacing = tuple(draw(st.sampled_from((0.05, 0.78, 1.0, 5.0))) for _ in range(axes))
    mask = rng.random(shape) < 0.8 if draw(st.booleans()) else None
    price = (rng.random(shape) * 3).astype(np.float32) if draw(st.booleans()) else None
    layout = draw(st.sampled_from(LAYOUTS))
    image, seeds, mask, price = (
        None if array is None else laid_out(array, layout) for array in (image, seeds, mask, price)
    )
    return image, seeds, spacing, mask, price


def check(result, image, seeds, **options):
    """Compare with the oracle: relative error at most 1e-5, infinite at the same voxels."""
    expected = geodesic_distance_reference(image, seeds, **options)
    np.testing.assert_allclose(np.asarray(result), expected, rtol=1e-5, atol=0)


def pruned_distances(image, sets, *, spacing, cost="l2", weight=1.0, margin=16.0, mask=None, threads=None):
    """Distances from each of ``K`` seed sets where they come within ``margin`` of the nearest."""
    task = prepare(image, Sources(sets, mask=mask), spacing, PathCost(cost, weight))
    result = np.full(task.starts.shape, np.inf, np.float32)
    if task.plan.is_safe:
        solve_near(task, result, margin, threads_for(threads))
    else:
        solve_sets(task, result, np.inf, threads_for(threads))
    result[~(result <= result.min(axis=0) + np.float32(margin))] = np.inf
    return result.reshape(task.shape)
