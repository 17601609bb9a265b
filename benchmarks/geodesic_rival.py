"""Runs in a rival's own environment: reads one job per line, prints its seconds.

A job is a line of JSON: ``{"rival": …, "image": FILE, "seeds": FILE, "spacing": […], "weight": …,
"iterations": …, "threads": …, "out": FILE or null, "recipe": …}``. Only the rival's call is timed, on arrays
that are already in its own form.
"""

import json
import sys
import time

import numpy as np

# ruff: noqa: ANN001, ANN201, ANN202  # Arrays of either library pass through.


def fastgeodis(job):
    """One map per seed set, as the package's own examples call it."""
    import FastGeodis
    import torch

    torch.set_num_threads(job["threads"])
    image = torch.from_numpy(np.load(job["image"]))[None, None]
    seeds = [torch.from_numpy(1 - one.astype(np.float32))[None, None] for one in np.load(job["seeds"])]
    spacing, iterations, weight = job["spacing"], job["iterations"], job["weight"]

    def transform(one, lam):
        if image.ndim == 4:
            return FastGeodis.generalised_geodesic2d(image, one, 1e10, lam, iterations)
        return FastGeodis.generalised_geodesic3d(image, one, spacing, 1e10, lam, iterations)

    return finish(
        job,
        seeds,
        lambda one: transform(one, weight),
        lambda one: transform(one, 0.0),
        torch,
    )


def geodistk(job):
    """One map per seed set by the raster scan that the published labels come from."""
    import GeodisTK

    image = np.load(job["image"])
    seeds = [one.astype(np.uint8) for one in np.load(job["seeds"])]

    def transform(one):
        return GeodisTK.geodesic3d_raster_scan(image, one, job["spacing"], job["weight"], job["iterations"])

    return finish(job, seeds, transform, None, np)


def finish(job, seeds, transform, flat, library):
    """Time the recipe: the plain maps, the signed band of SiNGR, or the released smoothing of GeoLS."""
    recipe = job.get("recipe", "maps")
    masks = np.load(job["masks"]) if job.get("masks") else None
    start = time.perf_counter()
    maps = [transform(one) for one in seeds]
    if recipe == "sing":
        result = []
        for one, seed, mask in zip(maps, seeds, masks, strict=True):
            inside = library.from_numpy(mask)[None, None]
            length = flat(seed)
            band = length <= length[inside].max() * (1 + 1e-5)
            size = 0.5 * one / one[band].max() + 0.5
            result.append(library.where(band, library.where(inside, size, -size), -1.0))
        maps = result
    elif recipe == "geols":
        parts = []
        for one in maps:
            near = library.exp(-one / one.mean())
            parts.append((near - near.min()) / (near.max() - near.min()))
        background = 1 - sum(parts) / len(parts)
        maps = [0.1 * part for part in (background, *parts)]
    seconds = time.perf_counter() - start
    if job.get("out"):
        np.save(job["out"], np.stack([np.asarray(one).squeeze() for one in maps]))
    return seconds


def main():
    """Answer every line."""
    for line in sys.stdin:
        job = json.loads(line)
        sys.stdout.write(f"{globals()[job['rival']](job)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
