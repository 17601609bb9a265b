"""What a network predicts on one validation slice as it learns, kept for a picture of its progress.

The slice is cut from the first validation case that has foreground, where the reference has most of it:
across the recipe's own axis for a network of slices, else across the coarsest one. Of several structures the
one with most voxels there is kept. Gros et al. (2021) show grey matter in this way, figure 2.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from sfumato.errors import CheckpointError
from sfumato.model.model import Model
from sfumato.output import atomic_output
from sfumato.training.cases import Cases
from sfumato.training.module import SegmentationModule

FILE = "snapshots.npz"


@dataclass(frozen=True, eq=False)
class ShownSlice:
    """One slice of a validation case, and what the network must be shown to predict it.

    Attributes:
        case: The case's name.
        image: What the network is shown, ``(C, *S)``: the whole case, or a volume of the one slice.
        axis: The spatial axis that the slice is perpendicular to; None for a picture.
        index: Number of the slice in ``image``.
        number: Number of the slice in the case.
        structure: Number of the structure.
        reference: Its mask on the slice, two axes, boolean.
        spacing: mm per axis of the slice.
    """

    case: str
    image: Tensor
    axis: int | None
    index: int
    number: int
    structure: int
    reference: Tensor
    spacing: tuple[float, ...]

    def cut(self, whole: Tensor) -> Tensor:
        """Cut the slice of an array that lies on the grid of ``image``, ``(*S)``."""
        return whole if self.axis is None else whole.select(self.axis, self.index)


def shown_slice(model: Model, cases: Cases) -> ShownSlice:
    """Choose the slice whose predictions are kept.

    Args:
        model: Says what the structures are, and how the network sees a volume.
        cases: The validation cases, at least one. Where none has foreground it is the middle of the first.
    """
    with_foreground = (case for case in cases if model.structures.masks(case.labels).any())
    case = next(with_foreground, cases[0])
    masks = model.structures.masks(case.labels)
    if masks.ndim == 3:
        structure = int(masks.flatten(1).sum(1).argmax())
        return ShownSlice(case.name, case.image, None, 0, 0, structure, masks[structure], case.spacing)
    own = model.recipe.slice_axis
    sliced, coarsest = own is not None, max(range(3), key=lambda axis: (case.spacing[axis], axis))
    axis = coarsest if own is None else own
    counts = masks.any(0).movedim(axis, 0).flatten(1).sum(1)
    number = int(counts.argmax()) if counts.any() else len(counts) // 2
    on_slice = masks.select(axis + 1, number)
    structure = int(on_slice.flatten(1).sum(1).argmax())
    # A network of slices needs no other slice; what it says of a volume depends on the whole of it.
    image = case.image.narrow(axis + 1, number, 1) if sliced else case.image
    spacing = tuple(value for place, value in enumerate(case.spacing) if place != axis)
    index = 0 if sliced else number
    return ShownSlice(case.name, image, axis, index, number, structure, on_slice[structure], spacing)


def is_kept(epoch: int) -> bool:
    """Tell whether the prediction after this many epochs is kept: 1, 2, 5, 10, 20, 50, 100 and so on."""
    return str(epoch).rstrip("0") in ("1", "2", "5")


class Snapshots(Callback):
    """Keep the prediction of one slice after some epochs and the last, in :data:`FILE`.

    Early stopping must have decided before the epoch's end whether it is the last. A resumed run keeps what
    the run had before it was interrupted; what came after the checkpoint is predicted anew.

    Args:
        path: The file, rewritten whole with every prediction.
        shown: The slice.
        epochs: Epochs in all.
    """

    def __init__(self, path: Path, shown: ShownSlice, *, epochs: int) -> None:
        self.path, self.shown, self.epochs = path, shown, epochs
        self._predictions: dict[int, np.ndarray] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read what the run has kept up to the checkpoint that it goes on from."""
        if self.path.exists():
            kept = _read(self.path)
            self._predictions = {epoch: kept[epoch] for epoch in kept if epoch <= trainer.current_epoch}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Predict the slice, where the epoch is one of those that are kept."""
        epoch = trainer.current_epoch + 1
        wanted = is_kept(epoch) or epoch == self.epochs or trainer.should_stop
        if wanted and trainer.is_global_zero and isinstance(pl_module, SegmentationModule):
            self._predictions[epoch] = snapshot(pl_module.model, self.shown).numpy().astype(np.float16)
            self._write(pl_module.model)

    def _write(self, model: Model) -> None:
        shown = self.shown
        with atomic_output(self.path, overwrite=True) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                case=np.array(shown.case),
                structure=np.array(model.structures.names[shown.structure]),
                axis=np.array(-1 if shown.axis is None else shown.axis),
                slice=np.array(shown.number),
                spacing=np.array(shown.spacing),
                image=shown.cut(shown.image[0]).float().numpy(),
                reference=shown.reference.numpy(),
                epochs=np.array(list(self._predictions)),
                predictions=np.stack(list(self._predictions.values())),
            )


def snapshot(model: Model, shown: ShownSlice) -> Tensor:
    """Predict the slice's structure as the network stands: two axes, float32 on the CPU, in [0, 1]."""
    weight, training = next(model.network.parameters()), model.network.training
    model.network.eval()
    try:
        with torch.inference_mode():
            image = shown.image.to(device=weight.device, dtype=weight.dtype)
            maps = model.maps(model.activated(model.logits(image)))
        return shown.cut(maps[shown.structure]).float().cpu()
    finally:
        model.network.train(training)


def _read(path: Path) -> dict[int, np.ndarray]:
    try:
        # numpy itself leaves a file open that turns out to be broken.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            return dict(zip(content["epochs"].tolist(), content["predictions"], strict=True))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} cannot be read ({error}): remove it to go on without the earlier predictions"
        ) from error
