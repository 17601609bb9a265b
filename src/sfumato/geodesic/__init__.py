"""Distances through an image: exact, in mm, two and three dimensions, one or many seed sets."""

from sfumato.geodesic.boundary import inner_boundary
from sfumato.geodesic.distance import euclidean_distance, geodesic_distance, signed_geodesic_distance
from sfumato.geodesic.engine.costs import COSTS

__all__ = ["COSTS", "euclidean_distance", "geodesic_distance", "inner_boundary", "signed_geodesic_distance"]
