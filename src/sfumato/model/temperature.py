"""The temperature of a trained model: fitted once on its validation cases, kept in its run folder."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from sfumato.checks import require_positive
from sfumato.data import Dataset, load_case
from sfumato.errors import DataError, FileFormatError
from sfumato.metrics.calibration.temperature import (
    fit_map_temperature,
    fit_temperature,
    map_logits,
    scale_maps,
    scale_probabilities,
)
from sfumato.model.model import Model
from sfumato.output import atomic_output
from sfumato.structures import TargetKind

LOG = logging.getLogger("sfumato.model")
FILE = "temperature.json"
MOST_VOXELS = 1_000_000
_PIECE = 2**21  # voxels looked at together: a large case is not copied as a whole
_LOWEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Temperature:
    """The temperature of one model, and what it was fitted on."""

    temperature: float
    nll: float  # before scaling, in nats per voxel (of overlapping regions: and region) of the fit
    nll_scaled: float  # after it
    voxels: int  # that the fit used
    cases: tuple[str, ...]


class VoxelSample:
    """A uniform random sample of the voxels of any number of cases, in bounded memory.

    Every voxel gets a random number and those with the smallest numbers are kept, so that each voxel has the
    same chance whatever the sizes and the order of the cases. Up to ``most`` voxels are all kept.

    Args:
        most: Voxels kept at most.
        seed: With the case's name, decides the random numbers.
    """

    def __init__(self, *, most: int = MOST_VOXELS, seed: int = 0) -> None:
        self.most, self.seed = most, seed
        self._keys = torch.empty(0, dtype=torch.float64)
        self._probs: Tensor | None = None
        self._labels = torch.empty(0, dtype=torch.int64)

    def update(self, name: str, probs: Tensor, labels: Tensor) -> None:
        """Offer the voxels of case ``name``: ``(K, *S)`` probabilities and ``(*S)`` labels."""
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + (self.seed << 32))
        values, reference = probs.flatten(1), labels.flatten()
        for piece in _pieces(len(reference)):
            classes = reference[piece].to(torch.int64)
            keys = torch.rand(len(classes), dtype=torch.float64, generator=generator)
            self._offer(keys, values[:, piece], classes)

    def _offer(self, keys: Tensor, probs: Tensor, labels: Tensor) -> None:
        if self._probs is not None:
            keys, labels = torch.cat((self._keys, keys)), torch.cat((self._labels, labels))
            probs = torch.cat((self._probs, probs), dim=1)
        if len(keys) > self.most:
            # In their old order, so that the sample of cases that all fit is those cases.
            kept = keys.topk(self.most, largest=False).indices.sort().values
            keys, probs, labels = keys[kept], probs[:, kept], labels[kept]
        self._keys, self._probs, self._labels = keys, probs, labels

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        """The sample: ``(K, n)`` probabilities and ``n`` labels.

        Raises:
            DataError: no voxel was offered.
        """
        if self._probs is None or not len(self._labels):
            raise DataError(["there is no labelled validation voxel to fit a temperature on"])
        return self._probs, self._labels


def validation_temperature(
    model: Model, dataset: Dataset, names: Sequence[str], *, most: int = MOST_VOXELS
) -> Temperature:
    """Fit one temperature by the negative log-likelihood of validation cases.

    A softmax method is fitted on its class probabilities. A method of regions, whether its maps come from a
    sigmoid, a NormReLU or a tanh, is fitted on the logits of its maps in [0, 1]: where the classes exclude
    each other by the joint loss of :func:`~sfumato.metrics.map_logits`, where regions may overlap
    by the binary loss of all of them (:func:`~sfumato.metrics.fit_map_temperature`). The values
    are those on the images' own grids, as they are evaluated and written. The reference is every case's
    consensus, as for the test cases' own scores, also where the recipe trains on one rater's masks. Of more
    than ``most`` voxels a uniform, seeded sample is used.

    Args:
        model: A trained model.
        dataset: Where the cases lie.
        names: The validation cases; one without a mask is left out.
        most: Voxels used at most; they are held in memory.

    Raises:
        DataError: no labelled voxel.
    """
    files = {entry.name: entry for entry in dataset.cases}
    sample, used, joint = VoxelSample(most=most, seed=model.recipe.seed), [], model.method.kind.joint
    for name in names:
        case = load_case(files[name], dataset)
        if case.labels is not None:
            soft = model.soft_prediction(case)
            sample.update(name, soft if joint else model.maps(soft), case.labels)
            used.append(name)
    values, labels = sample.batch
    if joint:
        fitted = _fit_classes(values, labels)
    elif model.structures.overlap:
        fitted = _fit_regions(values, model.structures.masks(labels))
    else:
        fitted = _fit_joint(values, labels)
    return Temperature(*fitted, len(labels), tuple(used))


def _fit_classes(probs: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Fit temperature, and NLL per voxel before and after, of ``(K, n)`` probabilities."""
    value = fit_temperature([(probs[None], labels[None])], kind="probs")
    before, after = (_nll(one, labels) for one in (probs, scale_probabilities(probs, value, axis=0)))
    return value, before, after


def _fit_joint(maps: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """Fit the same on ``(R, n)`` maps that exclude each other."""
    logits = map_logits(maps)
    value = fit_temperature([(logits[None], labels[None])])
    before, after = (_nll((logits / divisor).softmax(dim=0), labels) for divisor in (1.0, value))
    return value, before, after


def _fit_regions(maps: Tensor, masks: Tensor) -> tuple[float, float, float]:
    """Fit the same on ``(R, n)`` maps of regions that may overlap; the NLL is per voxel and region."""
    value = fit_map_temperature([(maps, masks)])
    before, after = (
        float(-torch.where(masks, scaled, 1 - scaled).log().mean())
        for scaled in (scale_maps(maps.double(), 1.0), scale_maps(maps.double(), value))
    )
    return value, before, after


def scaled_case(model: Model, soft: Tensor, temperature: float) -> Tensor:
    """Temperature-scale the soft prediction ``(channels, *S)`` of one case, of any size.

    The scaling is done in double precision, piece by piece, so that only its result is as large as the case.

    Args:
        model: The model; its maps exclude each other unless the data set's regions may overlap.
        soft: Its activated prediction: class probabilities, maps in [0, 1], or signed maps.
        temperature: Of the model.

    Returns:
        Class probabilities ``(K, *S)``, background first; of regions that may overlap, maps ``(R, *S)`` in
        [0, 1]. Of a softmax method every voxel keeps its largest class.
    """
    values, kind = soft.flatten(1), model.method.kind
    pieces = [
        _scaled(values[:, piece], temperature, kind, exclusive=not model.structures.overlap)
        for piece in _pieces(values.shape[1])
    ]
    return torch.cat(pieces, dim=1).reshape(-1, *soft.shape[1:])


def _scaled(values: Tensor, temperature: float, kind: TargetKind, *, exclusive: bool) -> Tensor:
    if kind.joint:
        return scale_probabilities(values, temperature, axis=0)
    maps = kind.to_unit(values.double() if kind.low else values).clamp(0, 1)
    if exclusive:
        return (map_logits(maps) / temperature).softmax(dim=0).to(values.dtype)
    return scale_maps(maps, temperature).to(values.dtype)


def _pieces(count: int) -> Iterator[slice]:
    return (slice(start, start + _PIECE) for start in range(0, count, _PIECE))


def run_temperature(folder: Path, model: Model, dataset: Dataset, names: Iterable[str]) -> Temperature | None:
    """Read the run's temperature, or fit it on its validation cases and write it to ``temperature.json``.

    Returns:
        None for a run whose validation cases have no mask.

    Raises:
        FileFormatError: the file is there and damaged.
    """
    path = folder / FILE
    if path.exists():
        return read_temperature(path)
    try:
        fitted = validation_temperature(model, dataset, list(names))
    except DataError as error:
        LOG.warning("not temperature-scaled: %s", error)
        return None
    with atomic_output(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(asdict(fitted), indent=2) + "\n", "utf-8")
    LOG.info(
        "temperature %.3f: validation NLL %.4f -> %.4f", fitted.temperature, fitted.nll, fitted.nll_scaled
    )
    return fitted


def read_temperature(path: Path) -> Temperature:
    """Read a ``temperature.json``.

    Raises:
        FileFormatError: no such file, or it is damaged.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        stored = Temperature(**{**content, "cases": tuple(content["cases"])})
        require_positive("temperature", stored.temperature)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FileFormatError(f"{path} is damaged: {error}; remove it to fit it again") from error
    return stored


def _nll(probs: Tensor, labels: Tensor) -> float:
    true = probs.gather(0, labels[None])[0].double()
    return float(-true.clamp_min(_LOWEST).log().mean())
