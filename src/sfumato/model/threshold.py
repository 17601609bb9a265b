"""How Dice and volume depend on the threshold of a trained model, and which threshold it is to use.

Everything here happens on each image's own grid, where predictions are written and scored: the soft
prediction is brought back from the network's grid before any threshold is applied to it. On the network's
grid, resampled and cropped, the same threshold has another Dice, and what a crop cuts off is not missed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.data import Case, Dataset, load_case
from sfumato.decode import THRESHOLDS, ThresholdSearch
from sfumato.errors import DataError
from sfumato.model.model import Model
from sfumato.recipe.dataset import read_case

LOG = logging.getLogger("sfumato.model")
EVERY = "Average"  # the mean over the structures


@dataclass(frozen=True)
class Curve:
    """One structure of one run: a value per threshold."""

    # Mean over the cases; 1 where prediction and reference are empty, 0 where only one is.
    dice: tuple[float, ...]
    # Mean relative volume difference ``(V_ref - V_pred) / V_ref``: above 0 the prediction is too small. Over
    # the cases whose reference is not empty; nan where every one is.
    rvd: tuple[float, ...]
    cases: int  # number of cases in ``dice``
    undefined: int  # cases left out of ``rvd``, their reference being empty


@dataclass(frozen=True)
class Sweep:
    """The threshold sweep of one trained model on some cases.

    Thresholds are on the scale of maps in [0, 1]; a signed map ``z`` counts as ``(z + 1) / 2``, so that its
    own decoder's 0 is 0.5 here.
    """

    run: str  # the training's name
    method: str  # what tables call it
    dataset: str  # the data set's name
    seed: int  # its seed
    fold: int  # its fold
    thresholds: tuple[float, ...]  # the candidates
    # Per structure, and their mean as ``Average`` (the only one of a single structure goes by its own name
    # too).
    curves: Mapping[str, Curve]
    chosen: float  # the threshold with the highest mean Dice on these cases; among equals the nearest to 0.5
    stored: float | None  # the one that the model decodes with; None for argmax

    def at(self, threshold: float, structure: str = EVERY) -> tuple[float, float]:
        """Return Dice and relative volume difference at the nearest candidate."""
        nearest = min(range(len(self.thresholds)), key=lambda index: abs(self.thresholds[index] - threshold))
        return self.curves[structure].dice[nearest], self.curves[structure].rvd[nearest]


class SweepCounts:
    """Sums from which a sweep is computed, one case at a time; maps are dropped after each.

    Args:
        structures: Their names, in the order of the maps.
        thresholds: The candidates, ascending, in [0, 1].
    """

    def __init__(self, structures: Sequence[str], thresholds: Sequence[float] = THRESHOLDS) -> None:
        self.thresholds = tuple(thresholds)
        # One search finds a model's tuned threshold in training; the same rule is applied here.
        self._all = ThresholdSearch(thresholds)
        self._each = {name: ThresholdSearch(thresholds) for name in structures}
        self._rvd = {name: torch.zeros(len(self.thresholds), dtype=torch.float64) for name in structures}
        self._defined = dict.fromkeys(structures, 0)
        self._cases = 0

    def update(self, maps: Tensor, reference: Tensor) -> None:
        """Count one case: maps ``(R, *S)`` in [0, 1] and boolean masks of the same shape.

        Raises:
            ShapeError: the shapes differ.
        """
        self._all.update(maps, reference)
        self._cases += 1
        for name, values, truth in zip(self._each, maps, reference, strict=True):
            self._each[name].update(values[None], truth[None])
            volume = int(truth.sum())
            if volume:
                self._rvd[name] += 1 - voxels_above(values, self.thresholds) / volume
                self._defined[name] += 1

    def best(self) -> float:
        """Return the threshold with the highest mean Dice over cases and structures.

        Raises:
            InputError: no case was counted.
        """
        return self._all.best()

    def curves(self) -> dict[str, Curve]:
        """Return the curve of every structure, and their average.

        Raises:
            InputError: no case was counted.
        """
        curves = {}
        for name, search in self._each.items():
            curves[name] = self._curve(search, self._rvd[name], self._defined[name], self._cases)
        total, defined = torch.stack(list(self._rvd.values())).sum(0), sum(self._defined.values())
        return curves | {EVERY: self._curve(self._all, total, defined, self._cases * len(curves))}

    def _curve(self, search: ThresholdSearch, rvd: Tensor, defined: int, masks: int) -> Curve:
        mean_rvd = (rvd / defined).tolist() if defined else [math.nan] * len(rvd)
        return Curve(tuple(search.mean_dice().values()), tuple(mean_rvd), self._cases, masks - defined)


def voxels_above(values: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Count the voxels above each of the ascending thresholds; those equal to one are not above it.

    Returns:
        One number per threshold, float64, exact up to 2^53.
    """
    edges = torch.tensor(tuple(thresholds), dtype=values.dtype, device=values.device)
    bins = torch.bucketize(values.flatten().contiguous(), edges)
    counts = torch.bincount(bins, minlength=len(edges) + 1)
    return counts.flip(0).cumsum(0).flip(0)[1:].cpu().double()


def tuned_threshold(
    model: Model,
    dataset: Dataset,
    names: Sequence[str],
    *,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> ThresholdSearch:
    """Predict the named cases and search the threshold with the highest mean Dice on the images' own grids.

    Each case is predicted by :meth:`~sfumato.model.Model.soft_prediction`, as it will be when it is
    scored, and compared with its own, untouched mask: of several raters with their consensus, or with the one
    rater's whom the recipe names. One case is in memory at a time. A structure that is predicted 0 everywhere
    is named in a warning.

    Args:
        model: The trained model, of a method whose decoder is tuned.
        dataset: Where the cases lie.
        names: Which cases: those of training and validation.
        progress: Wraps the names.

    Returns:
        The search; its ``best()`` is the threshold, its ``mean_dice()`` the curve.

    Raises:
        DataError: a case without a mask.

    References:
        Gros, Lemay and Cohen-Adad (2021), SoftSeg, doi:10.1016/j.media.2021.102038, sections 2.4.2 and 3.2:
        predictions are resampled to the native resolution, then binarised.
    """
    files, search = {entry.name: entry for entry in dataset.cases}, ThresholdSearch()
    structures = model.structures.names
    empty = set(structures)
    for name in progress(names):
        maps, masks = _maps_and_masks(model, read_case(model.recipe, dataset, files[name]))
        search.update(maps, masks)
        empty -= {structure for structure, values in zip(structures, maps, strict=True) if values.any()}
    for structure in sorted(empty):
        LOG.warning(
            "%s is predicted 0 everywhere in all %d cases: no threshold finds it", structure, len(names)
        )
    return search


def threshold_sweep(
    model: Model,
    dataset: Dataset,
    names: Sequence[str],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> Sweep:
    """Predict the named cases and score every threshold on the images' own grids.

    Each structure is thresholded by itself, whatever the other structures say there: of methods whose
    classes exclude each other this is the foreground probability's sweep, not their argmax.

    Args:
        model: The trained model.
        dataset: Where the cases lie.
        names: Which cases; one without a mask is left out.
        thresholds: The candidates.
        progress: Wraps the names.

    Raises:
        DataError: an unknown case, or none with a mask.
    """
    files = {entry.name: entry for entry in dataset.cases}
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError([f"{dataset.name} has no case {name!r}" for name in missing])
    counts, seen = SweepCounts(model.structures.names, thresholds), 0
    for name in progress(names):
        case = load_case(files[name], dataset)
        if case.labels is None:
            LOG.warning("%s has no mask: it is left out", name)
            continue
        counts.update(*_maps_and_masks(model, case))
        seen += 1
    if not seen:
        raise DataError([f"no case with a mask to sweep the threshold of {model.run_name} on"])
    recipe = model.recipe
    return Sweep(
        run=model.run_name,
        dataset=dataset.name,
        method=recipe.title,
        seed=recipe.seed,
        fold=recipe.split.fold,
        thresholds=tuple(thresholds),
        curves=counts.curves(),
        chosen=counts.best(),
        stored=_stored(model),
    )


def _maps_and_masks(model: Model, case: Case) -> tuple[Tensor, Tensor]:
    """Return the case's predicted maps in [0, 1] and its masks, both ``(R, *S)`` on the image's own grid."""
    if case.labels is None:
        raise DataError([f"case {case.name} has no mask to score a threshold on"])
    return model.maps(model.soft_prediction(case)), model.structures.masks(case.labels)


def _stored(model: Model) -> float | None:
    if model.method.decoder_row.threshold is None:
        return None
    # "half" and "zero" are the middle of their range, as is a tuned decoder that was never tuned.
    return 0.5 if model.threshold is None else model.threshold
