"""Distances through an image: exact, in mm, two and three dimensions, one or many seed sets."""

from sfumato.geodesic.distance import (
    euclidean_distance,
    geodesic_distance,
    inner_boundary,
    signed_geodesic_distance,
)
from sfumato.geodesic.engine.costs import COSTS
from sfumato.geodesic.mixing import voted_labels
from sfumato.geodesic.nearness import nearness_labels
from sfumato.geodesic.pruning import pruned_distances
from sfumato.geodesic.scales import zscored

__all__ = [
    "COSTS",
    "euclidean_distance",
    "geodesic_distance",
    "inner_boundary",
    "nearness_labels",
    "pruned_distances",
    "signed_geodesic_distance",
    "voted_labels",
    "zscored",
]
