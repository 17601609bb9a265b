"""A trained network with everything that is needed to predict: recipe, structures, threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from sfumato.data.case import Case, Dataset
from sfumato.errors import CheckpointError
from sfumato.methods import Method
from sfumato.model.tiles import slice_logits, whole_volume_logits
from sfumato.networks import build, needs_image_size, size_divisor
from sfumato.recipe.recipe import Recipe
from sfumato.structures import Structures


@dataclass(frozen=True)
class SegmentationTask:
    """What a model was trained on, as far as predictions depend on it."""

    in_channels: int  # number of image channels
    structures: Structures  # classes and regions
    channel_names: tuple[str, ...]  # name of every image channel
    dataset: str  # the data set's name

    @classmethod
    def of(cls, dataset: Dataset, *, in_channels: int) -> Self:
        """Return the task that a data set poses to images of ``in_channels`` channels."""
        return cls(in_channels, dataset.structures, dataset.channel_names, dataset.name)

    def to_plain(self) -> dict[str, Any]:
        """Return plain data for checkpoints."""
        return {
            "in_channels": self.in_channels,
            "num_classes": self.structures.num_classes,
            **self.structures.to_plain(),
            "channel_names": list(self.channel_names),
            "dataset": self.dataset,
        }

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_plain` returns."""
        structures = Structures.from_plain(content)
        return cls(content["in_channels"], structures, tuple(content["channel_names"]), content["dataset"])


@dataclass(frozen=True)
class Prediction:
    """One case's prediction on the grid of its image file."""

    case: Case  # the case it belongs to
    soft: Tensor  # the activated prediction ``(channels, *S)`` float32, never binarised
    labels: Tensor  # class per voxel ``(*S)`` int64
    # Binary regions ``(R, *S)`` where the data set defines overlapping regions, else None.
    regions: Tensor | None


class Model:
    """A network, the recipe that it is trained by, and what it segments.

    Args:
        recipe: The complete recipe.
        task: What the data set is.
        threshold: The tuned threshold, if the recipe's decoder tunes one.

    Attributes:
        network: From ``(B, C, *S)`` to logits ``(B, K, *S)``; newly built, in evaluation mode.
    """

    def __init__(self, recipe: Recipe, task: SegmentationTask, *, threshold: float | None = None) -> None:
        self.recipe, self.task, self.threshold = recipe, task, threshold
        self.method: Method = recipe.composed
        self.network = build(
            recipe.network.name,
            in_channels=task.in_channels,
            out_channels=self.method.kind.channels(task.structures),
            image_size=recipe.patch.size,
            **recipe.network.options,
        ).eval()

    @property
    def structures(self) -> Structures:
        """What the model segments."""
        return self.task.structures

    @property
    def run_name(self) -> str:
        """The training's name in every table: ``<title>-seed<k>-fold<j>``."""
        return self.recipe.run_name

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> Self:
        """Move the network, in place."""
        self.network.to(device)
        return self

    def predict(self, case: Case) -> Prediction:
        """Predict one case: :meth:`soft_prediction`, decoded on the image's own grid.

        Args:
            case: The case; its masks are not looked at.

        Raises:
            CheckpointError: the image does not have the channels or axes that the network was trained on.
        """
        return self.decode(case, self.soft_prediction(case), threshold=self.threshold)

    def soft_prediction(self, case: Case, *, logits: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Predict one case's soft values on the image's own grid.

        The image is preprocessed as in training; the logits of all windows are joined, and those of all
        slices stacked; the activation follows on the whole volume (so NormReLU divides by the volume's
        maximum; a network of slices divides each slice by its own); the activated prediction is brought back
        to the image's own grid by linear interpolation.

        Args:
            case: The case; its masks are not looked at.
            logits: From the prepared image ``(C, *S')`` to logits ``(1, K, *S')``; by default
                :meth:`logits`.

        Returns:
            The activated prediction ``(channels, *S)`` float32, on the CPU.

        Raises:
            CheckpointError: the image does not have the channels or axes that the network was trained on.
        """
        self._require_fitting(case)
        bare = replace(case, labels=None, labels_per_rater=None, soft=None)
        settings = self.recipe.preprocess
        with torch.inference_mode():
            whole = (logits or self.logits)(settings.apply(bare).image.to(self.device))
            prediction = self.activated(whole.float()).cpu()
        return settings.restore(prediction, bare, kind=self.method.kind)

    def _require_fitting(self, case: Case) -> None:
        wanted, channels = self.task.in_channels, case.image.shape[0]
        if channels != wanted:
            raise CheckpointError(
                f"case {case.name} has {channels} channels, but the checkpoint was trained on "
                f"{wanted} ({', '.join(self.task.channel_names)})"
            )
        if len(case.spacing) != self.recipe.data_axes:
            what = "" if self.recipe.slice_axis is None else " (it cuts volumes into slices)"
            raise CheckpointError(
                f"case {case.name} is {len(case.spacing)}-D, "
                f"but the checkpoint is {self.recipe.data_axes}-D{what}"
            )

    def decode(self, case: Case, soft: Tensor, *, threshold: float | None) -> Prediction:
        """Decode a soft prediction ``(channels, *S)`` at the threshold; None takes the decoder's own."""
        labels = self.method.decode(soft, threshold=threshold)
        regions = self.hard_regions(soft, threshold=threshold) if self.structures.overlap else None
        return Prediction(case, soft, labels, regions)

    def hard_regions(self, soft: Tensor, *, threshold: float | None) -> Tensor:
        """Return the binary structures ``(R, *S)`` of one soft prediction ``(channels, *S)``."""
        if self.method.kind.joint:
            return self.structures.masks(self.method.decode(soft))
        return self.method.decode_regions(soft, threshold=threshold)

    def maps(self, soft: Tensor) -> Tensor:
        """Return one map in [0, 1] per structure, ``(R, *S)``, of a soft prediction ``(channels, *S)``."""
        return self.method.kind.maps(soft, self.structures)

    def logits(self, image: Tensor) -> Tensor:
        """Compute logits ``(1, K, *S)`` of a prepared image ``(C, *S)``, window by window where it is large.

        A network of slices computes the slices' logits, stacked.
        """
        window, overlap, axis = self.recipe.patch.size, self.recipe.overlap, self.recipe.slice_axis
        part = self.recipe.network
        divisor = window if needs_image_size(part.name) else size_divisor(part.name, part.options)
        if axis is None:
            return whole_volume_logits(self.network, image, window=window, overlap=overlap, divisor=divisor)
        return slice_logits(
            self.network,
            image,
            axis=axis,
            window=window,
            overlap=overlap,
            divisor=divisor,
            # As many as training takes, which needs more memory.
            batch_size=self.recipe.batch_size,
        )

    def activated(self, logits: Tensor) -> Tensor:
        """Activate a whole case's logits ``(1, K, *S)``: ``(K, *S)``.

        A sample is what the network saw as one: NormReLU divides a volume by its own maximum, but each slice
        of a network of slices by that slice's.
        """
        prediction = self.method.activate(self.as_samples(logits))
        axis = self.recipe.slice_axis
        return prediction[0] if axis is None else prediction.movedim(0, axis + 1)

    def as_samples(self, whole: Tensor) -> Tensor:
        """Return a whole case ``(1, K, *S)`` as the batch that the network saw: its slices, or itself."""
        axis = self.recipe.slice_axis
        return whole if axis is None else whole[0].movedim(axis + 1, 0)


def recipe_device(recipe: Recipe) -> torch.device:
    """Choose where a trained network predicts: on the GPU, unless the recipe says cpu or there is none."""
    wanted = recipe.accelerator != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if wanted else "cpu")
