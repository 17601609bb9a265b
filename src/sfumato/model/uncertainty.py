"""Uncertainty from several predictions of one case: flips, dropout, or several trainings.

All samples are brought to the image's own grid and averaged there as they come, so that a few volumes are in
memory whatever the number of samples.
"""

from __future__ import annotations

import itertools
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sfumato.checks import require_choice
from sfumato.data import Case, Dataset, write_volume
from sfumato.errors import CheckpointError, InputError, ValueRangeError
from sfumato.model.checkpoint import load
from sfumato.model.folder import PredictionFolder
from sfumato.model.model import Model, Prediction
from sfumato.model.predict import SoftFormat, chosen_cases, describe, description, image_of, write_prediction

LOG = logging.getLogger("sfumato.model")
Kind = Literal["tta", "mcdropout", "ensemble"]
KINDS: tuple[Kind, ...] = ("tta", "mcdropout", "ensemble")
# The classes of torch.nn that drop something at random; their common base has no public name.
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


@dataclass(frozen=True)
class Sampling:
    """Where the samples of a prediction come from.

    Attributes:
        kind: ``tta``: the image flipped along every combination of the axes that training flipped
            (``augment.flip_axes``), the unflipped one included. ``mcdropout``: dropout left on.
            ``ensemble``: several trained models.
        samples: Number of predictions with dropout; the other kinds count their own.
        seed: Of the dropout. With the case's name and the sample's number it decides what is dropped, so
            that a case's result does not depend on the others.

    Raises:
        UnknownNameError: no such kind.
        ValueRangeError: fewer than two samples.
    """

    kind: Kind
    samples: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        require_choice("uncertainty", self.kind, KINDS)
        if self.samples < 2:
            raise ValueRangeError(f"samples is {self.samples}: uncertainty needs at least 2")


@dataclass(frozen=True)
class UncertainPrediction:
    """The mean of several predictions of one case, and how far they are from certain and from each other."""

    prediction: Prediction  # decoded from the mean of the samples' soft predictions
    # ``(*S)`` float32 in nats: that of the mean class probabilities, ``-sum_c p_c ln p_c``, in ``[0, ln K]``.
    # All uncertainty.
    entropy: Tensor
    # ``(*S)`` float32 in nats, in ``[0, ln(samples)]``: the entropy of the mean less the mean entropy of the
    # samples. The part on which the samples disagree; 0 where all agree.
    mutual_information: Tensor
    samples: int  # number of samples


class SampleMean:
    """The mean of samples and its uncertainty, one sample at a time.

    Entropies are those of class probabilities (:meth:`sfumato.methods.Method.probabilities`). Overlapping
    regions have no distribution over classes: there the entropies of the regions, each against the rest, are
    summed, as if the regions were independent; they then reach ``R ln 2``.

    Args:
        model: The model; its method says how a prediction is read.
    """

    def __init__(self, model: Model) -> None:
        self.method = model.method
        self.overlapping = model.structures.overlap and not self.method.kind.joint
        self.samples = 0
        self._soft: Tensor | None = None
        self._probs: Tensor | None = None
        self._entropy: Tensor | None = None

    def update(self, soft: Tensor) -> None:
        """Add one activated prediction ``(channels, *S)``."""
        probs = self._distribution(soft)
        self._soft = _added(self._soft, soft)
        self._probs = _added(self._probs, probs)
        self._entropy = _added(self._entropy, entropy(probs))
        self.samples += 1

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the mean soft prediction, its entropy and the mutual information, all float32.

        Raises:
            InputError: there is no sample.
        """
        if self._soft is None or self._probs is None or self._entropy is None:
            raise InputError("there is no sample: uncertainty needs at least one prediction")
        total = entropy(self._probs / self.samples)
        # Rounding can put the mean of equal entropies a hair above the entropy of their mean.
        information = (total - self._entropy / self.samples).clamp_min(0.0)
        return (self._soft / self.samples).float(), total.float(), information.float()

    def _distribution(self, soft: Tensor) -> Tensor:
        """Return ``(1, K, *S)`` probabilities; of overlapping regions, each and its rest, ``(R, 2, *S)``."""
        if not self.overlapping:
            return self.method.probabilities(soft, batched=False).double()[None]
        inside = self.method.kind.to_unit(soft).double().clamp(0, 1)
        return torch.stack((1 - inside, inside), dim=1)


def entropy(probs: Tensor) -> Tensor:
    """Compute the entropy in nats of distributions ``(N, K, *S)`` over axis 1, summed over the first.

    Returns:
        ``(*S)``, at least 0; a certain voxel has 0.
    """
    terms: Tensor = torch.special.entr(probs)
    return terms.sum(dim=(0, 1)).clamp_min(0.0)


def _added(total: Tensor | None, value: Tensor) -> Tensor:
    # A copy: the sum is changed in place, the caller's array is not.
    return value.to(torch.float64, copy=True) if total is None else total.add_(value)


def predict_uncertain(models: Sequence[Model], case: Case, sampling: Sampling) -> UncertainPrediction:
    """Predict one case several times; the mean is decoded as a single prediction would be.

    Args:
        models: One trained model; for an ensemble two or more. A tuned threshold is the mean of theirs.
        case: The case.
        sampling: Where the samples come from.

    Raises:
        InputError, CheckpointError: the models cannot be sampled in this way; see :func:`require_sampling`.
    """
    require_sampling(models, sampling)
    mean = SampleMean(models[0])
    for soft in _samples(models, case, sampling):
        mean.update(soft)
    soft, total, information = mean.compute()
    prediction = models[0].decode(case, soft, threshold=mean_threshold(models))
    return UncertainPrediction(prediction, total, information, mean.samples)


def require_sampling(models: Sequence[Model], sampling: Sampling) -> None:
    """Raise unless the models can be sampled as asked.

    Raises:
        InputError: ``ensemble`` with fewer than two models, another kind with several; ``tta`` where
            training flipped no axis; ``mcdropout`` where the network has no dropout.
        CheckpointError: the members of an ensemble differ in method, classes, regions or channels.
    """
    if (sampling.kind == "ensemble") != (len(models) > 1):
        wanted = "two or more checkpoints" if sampling.kind == "ensemble" else "exactly one checkpoint"
        raise InputError(f"uncertainty {sampling.kind} takes {wanted}, found {len(models)}")
    first = models[0]
    if sampling.kind == "tta" and not first.recipe.augment.flip_axes:
        raise InputError(
            "uncertainty tta flips along the axes that training flipped, but the recipe's augment.flip_axes "
            "is empty: the network never saw a flipped image; use ensemble, or train with flips"
        )
    if sampling.kind == "mcdropout" and not _dropouts(first):
        raise InputError(
            f"uncertainty mcdropout needs dropout, but network {first.recipe.network.name!r} was trained "
            "without: set a dropout above 0 in the recipe's network.options, or use tta or ensemble"
        )
    for number, other in enumerate(models[1:], start=2):
        for name, mine, its in (
            ("method", first.method.name, other.method.name),
            ("label names", dict(first.structures.label_names), dict(other.structures.label_names)),
            ("regions", first.structures.regions, other.structures.regions),
            ("number of channels", first.task.in_channels, other.task.in_channels),
        ):
            if mine != its:
                raise CheckpointError(
                    f"members of an ensemble must agree: {name} of the first is {mine}, of number {number} "
                    f"{its}"
                )


def mean_threshold(models: Sequence[Model]) -> float | None:
    """Return the mean of the models' tuned thresholds; None where they have none."""
    values = [model.threshold for model in models if model.threshold is not None]
    return sum(values) / len(values) if values else None


def _samples(models: Sequence[Model], case: Case, sampling: Sampling) -> Iterator[Tensor]:
    first = models[0]
    if sampling.kind == "ensemble":
        yield from (model.soft_prediction(case) for model in models)
    elif sampling.kind == "tta":
        # The flipped axes are the network's; a network of slices sees two of the volume's three.
        axes = [first.recipe.network_axes[axis] for axis in sorted(first.recipe.augment.flip_axes)]
        for count in range(len(axes) + 1):
            for chosen in itertools.combinations(axes, count):
                yield first.soft_prediction(case, logits=_flipped(first, chosen))
    else:
        for number in range(sampling.samples):
            yield first.soft_prediction(case, logits=_dropped(first, case.name, number, sampling.seed))


def _flipped(model: Model, axes: Sequence[int]) -> Callable[[Tensor], Tensor]:
    def logits(image: Tensor) -> Tensor:
        flipped = model.logits(image.flip([axis + 1 for axis in axes]))
        return flipped.flip([axis + 2 for axis in axes])

    return logits


def _dropouts(model: Model) -> list[nn.Module]:
    return [layer for layer in model.network.modules() if isinstance(layer, _DROPOUTS) and layer.p > 0]


def _dropped(model: Model, name: str, number: int, seed: int) -> Callable[[Tensor], Tensor]:
    def logits(image: Tensor) -> Tensor:
        layers = _dropouts(model)
        devices = [image.device] if image.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(zlib.crc32(f"{seed} {number} {name}".encode()))
            try:
                for layer in layers:
                    layer.train()
                return model.logits(image)
            finally:
                for layer in layers:
                    layer.eval()

    return logits


def predict_with_uncertainty(
    checkpoints: Sequence[Path],
    dataset: Dataset,
    out: Path,
    *,
    sampling: Sampling,
    soft: SoftFormat | None = None,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
    device: str = "cpu",
    trust_code: bool = False,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> list[Path]:
    """Predict every case with its uncertainty and write the results to a folder.

    Most uses need ``checkpoints``, ``dataset``, ``out`` and ``sampling``.
    Writes what :func:`sfumato.model.predict.predict` writes, decoded from the mean of the samples, and
    two float32 maps in nats, one value per voxel, on the input's grid:
    ``<case>_uncertainty-<kind>.nii.gz``, the entropy, and
    ``<case>_uncertainty-<kind>_mutual-information.nii.gz``. In ``prediction.json`` the method's name ends in
    ``+<kind>``. ``checkpoints`` holds one checkpoint or run folder, for an ensemble two or more;
    ``soft`` writes the mean soft prediction. The other arguments are those of a plain prediction.

    Returns:
        The hard predictions' paths.

    Raises:
        SfumatoError: as :func:`predict_uncertain` and a plain prediction; checked before any work.
    """
    models = [load(path, device=device, trust_code=trust_code) for path in checkpoints]
    require_sampling(models, sampling)
    chosen = chosen_cases(dataset, names)
    map_names = (f"_uncertainty-{sampling.kind}", f"_uncertainty-{sampling.kind}_mutual-information")
    folder = PredictionFolder(out, dataset.names, ("", *(["_soft"] if soft else []), *map_names))
    described = description(models[0], soft=soft, changes=_described(models, sampling, 0))
    folder.require_free(chosen, described, overwrite=overwrite)
    files = {entry.name: entry for entry in dataset.cases}
    written, count = [], 0
    for name in progress(chosen):
        case = image_of(files[name], dataset)
        sampled = predict_uncertain(models, case, sampling)
        folder.clear(name)
        for ending, values in zip(map_names, (sampled.entropy, sampled.mutual_information), strict=True):
            path = out / f"{name}{ending}.nii.gz"
            write_volume(path, values.numpy(), affine=case.affine, spacing=case.spacing, overwrite=True)
        written.append(write_prediction(sampled.prediction, models[0], out, soft=soft))
        count = sampled.samples
        LOG.info("predicted %s with %d samples", name, count)
    describe(models[0], out, soft=soft, changes=_described(models, sampling, count))
    return written


def _described(models: Sequence[Model], sampling: Sampling, samples: int) -> dict[str, object]:
    """Describe what differs from a plain prediction: its name, which tables show, and the samples."""
    first = models[0]
    entry: dict[str, object] = {"kind": sampling.kind, "samples": samples, "unit": "nats"}
    changes: dict[str, object] = {
        "method": f"{first.recipe.title}+{sampling.kind}",
        "threshold": mean_threshold(models),
        "run": f"{first.run_name}+{sampling.kind}",
        "uncertainty": entry,
    }
    if sampling.kind == "mcdropout":
        entry["seed"] = sampling.seed
    if sampling.kind == "ensemble":
        entry["members"] = [model.run_name for model in models]
        folds = {model.recipe.split.fold for model in models}
        changes |= {"seed": None, "fold": folds.pop() if len(folds) == 1 else None}
        changes["run"] = f"{first.recipe.title}+ensemble"
    return changes
