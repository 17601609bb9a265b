"""Every label by its printed name: what it takes from a case, and which options it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.checks import require_choice, require_labels
from sfumato.errors import InputError, ValueRangeError
from sfumato.labels.dilation import dilation
from sfumato.labels.distance_sigmoid import distance_sigmoid
from sfumato.labels.geols import geols
from sfumato.labels.interpolated import interpolated
from sfumato.labels.one_hot import one_hot
from sfumato.labels.ordinal import ordinal
from sfumato.labels.raters import average_raters, majority_vote, staple
from sfumato.labels.regions import label_regions, region_weights
from sfumato.labels.signed_distance import signed_distance
from sfumato.labels.sing import sing
from sfumato.labels.superpixel import superpixel
from sfumato.labels.svls import svls
from sfumato.labels.uniform import uniform
from sfumato.types import ArrayLike, Spacing

RegionValues = Mapping[str, Sequence[int]]
Options = Mapping[str, Any]


@dataclass(frozen=True)
class TargetCase:
    """What a target is made from.

    Attributes:
        labels: Class indices, ``(*S)``.
        image: ``(C, *S)``, or ``None`` for labels that do not look at it.
        num_classes: Number of classes ``K``, background included.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        per_rater: ``(D, *S)``, or ``None`` where there is one rater.
        regions: Label values per region name; ``None`` takes one region per foreground label.
        generator: Source of random seeds.
        soft: Class weights ``(K, *S)`` that the target is made of in place of ``labels``, for the labels that
            are :data:`MADE_OF_WEIGHTS`; ``None`` otherwise.
    """

    labels: Tensor
    image: ArrayLike | None
    num_classes: int
    spacing: Spacing
    per_rater: Tensor | None
    regions: RegionValues | None
    generator: torch.Generator | None
    soft: Tensor | None = None

    def raters(self) -> Tensor:
        """Labels per rater; the labels alone are one rater's."""
        return self.labels[None] if self.per_rater is None else self.per_rater

    def masks(self) -> Tensor:
        """Region masks, ``(R, *S)`` boolean."""
        # A label beyond num_classes must not vanish into the background.
        require_labels(self.labels, self.num_classes)
        return label_regions(self.labels, values=region_values(self.num_classes, self.regions))

    def maps(self) -> Tensor:
        """The regions as they are: their masks, or their weights ``(R, *S)`` where there are weights."""
        if self.soft is None:
            return self.masks()
        return region_weights(self.soft, values=region_values(self.num_classes, self.regions))

    def intensities(self) -> ArrayLike:
        """The image.

        Raises:
            InputError: there is none.
        """
        if self.image is None:
            raise InputError("this method needs the image to build its target: give one")
        return self.image


def region_values(num_classes: int, regions: RegionValues | None) -> list[Sequence[int]]:
    """Label values of each region, in order.

    Raises:
        ValueRangeError: there is no region.
    """
    values = [(index,) for index in range(1, num_classes)] if regions is None else list(regions.values())
    if not values:
        raise ValueRangeError("there is no region: give at least one foreground label or one named region")
    return [tuple(each) for each in values]


def _one_hot(case: TargetCase, _: Options) -> Tensor:
    if case.soft is not None:
        return case.soft.to(torch.float32)
    return one_hot(case.labels, num_classes=case.num_classes)


def _uniform(case: TargetCase, options: Options) -> Tensor:
    return uniform(case.labels, num_classes=case.num_classes, **options)


def _ordinal(case: TargetCase, options: Options) -> Tensor:
    return ordinal(case.labels, num_classes=case.num_classes, **options)


def _svls(case: TargetCase, options: Options) -> Tensor:
    return _svls_of(case.labels, case, options)


def _mean_one_hot(case: TargetCase, options: Options) -> Tensor:
    if case.soft is not None:
        return _one_hot(case, options)
    each = [one_hot(labels, num_classes=case.num_classes) for labels in case.raters()]
    return average_raters(torch.stack(each))


def _mean_svls(case: TargetCase, options: Options) -> Tensor:
    return average_raters(torch.stack([_svls_of(labels, case, options) for labels in case.raters()]))


def _majority(case: TargetCase, _: Options) -> Tensor:
    fused = majority_vote(case.raters(), num_classes=case.num_classes)
    return one_hot(fused, num_classes=case.num_classes)


def _staple(case: TargetCase, options: Options) -> Tensor:
    fused = staple(case.raters(), num_classes=case.num_classes, **options)
    return one_hot(fused, num_classes=case.num_classes)


def _svls_of(labels: Tensor, case: TargetCase, options: Options) -> Tensor:
    require_choice("unit", options["unit"], ("voxel", "mm"))
    spacing = case.spacing if options["unit"] == "mm" else None
    return svls(
        labels, num_classes=case.num_classes, sigma=options["sigma"], size=options["size"], spacing=spacing
    )


def _geodesic(case: TargetCase, options: Options) -> Tensor:
    return geols(
        case.labels,
        case.intensities(),
        num_classes=case.num_classes,
        spacing=case.spacing,
        generator=case.generator,
        **options,
    )


def _uniform_regions(case: TargetCase, options: Options) -> Tensor:
    return torch.stack([uniform(mask.long(), num_classes=2, **options)[1] for mask in case.masks()])


def _geodesic_regions(case: TargetCase, options: Options) -> Tensor:
    # Every region against what is outside it: two classes, whatever overlaps it.
    maps = [
        geols(
            mask.long(),
            case.intensities(),
            num_classes=2,
            spacing=case.spacing,
            generator=case.generator,
            **options,
        )
        for mask in case.masks()
    ]
    return torch.stack([each[1] for each in maps])


def _dilation(case: TargetCase, options: Options) -> Tensor:
    return dilation(case.masks(), **options)


def _superpixel(case: TargetCase, options: Options) -> Tensor:
    return superpixel(case.masks(), case.intensities(), spacing=case.spacing, **options)


def _signed_distance(case: TargetCase, _: Options) -> Tensor:
    return signed_distance(case.masks(), spacing=case.spacing)


def _distance_sigmoid(case: TargetCase, options: Options) -> Tensor:
    return distance_sigmoid(case.masks(), spacing=case.spacing, **options)


def _sing(case: TargetCase, options: Options) -> Tensor:
    return sing(case.masks(), case.intensities(), spacing=case.spacing, **options)


def _mask(case: TargetCase, _: Options) -> Tensor:
    return interpolated(case.maps())


TARGETS: dict[str, Callable[[TargetCase, Options], Tensor]] = {
    "one-hot": _one_hot,
    "uniform": _uniform,
    "ordinal": _ordinal,
    "SVLS": _svls,
    "mean one-hot": _mean_one_hot,
    "mean SVLS": _mean_svls,
    "majority vote": _majority,
    "STAPLE": _staple,
    "geodesic": _geodesic,
    "region mask": _mask,
    "uniform per region": _uniform_regions,
    "geodesic per region": _geodesic_regions,
    "dilation": _dilation,
    "superpixel": _superpixel,
    "signed distance": _signed_distance,
    "distance sigmoid": _distance_sigmoid,
    "SiNG": _sing,
    "interpolated mask": _mask,
    "binarised mask": _mask,
}

# Labels that are nothing but the mask itself: of class weights they are the weights, moved before anything is
# rounded. The others start from the shape of a hard mask.
MADE_OF_WEIGHTS = frozenset({"one-hot", "mean one-hot", "region mask", "interpolated mask", "binarised mask"})
