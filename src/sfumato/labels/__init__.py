"""Label transforms: from annotated masks to soft targets, one method a file."""

from sfumato.labels.boundary import Boundary, boundary_voxels
from sfumato.labels.dilation import dilation
from sfumato.labels.distance_sigmoid import distance_sigmoid
from sfumato.labels.geols import geols
from sfumato.labels.hard_labels import hard_labels
from sfumato.labels.interpolated import interpolated
from sfumato.labels.one_hot import one_hot
from sfumato.labels.ordinal import ordinal
from sfumato.labels.raters import average_raters, majority_vote, staple, staple_probabilities
from sfumato.labels.seeds import seed_voxels
from sfumato.labels.signed_distance import signed_distance
from sfumato.labels.sing import sing
from sfumato.labels.superpixel import superpixel
from sfumato.labels.svls import svls
from sfumato.labels.uniform import uniform
from sfumato.structures import label_regions

__all__ = [
    "Boundary",
    "average_raters",
    "boundary_voxels",
    "dilation",
    "distance_sigmoid",
    "geols",
    "hard_labels",
    "interpolated",
    "label_regions",
    "majority_vote",
    "one_hot",
    "ordinal",
    "seed_voxels",
    "signed_distance",
    "sing",
    "staple",
    "staple_probabilities",
    "superpixel",
    "svls",
    "uniform",
]
