"""One training as a Lightning module: network, method, optimiser, and what a checkpoint must carry.

``val_dice`` decides which checkpoint is the best and when training stops early. It is the mean Dice of the
validation cases as the method decodes them, on the network's grid, resampled and cropped; the threshold that
is kept with the model is tuned afterwards, on the images' own grids. A tuned threshold is not known before
training ends, and a fixed one would prefer networks that happen to be right at that value; so there it is the
highest mean Dice over the thresholds 0.05 to 0.95, found anew in every validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

import sfumato
from sfumato.decode import ThresholdSearch
from sfumato.errors import CheckpointError
from sfumato.methods import Method
from sfumato.metrics import dice
from sfumato.model.tiles import slice_logits, whole_volume_logits
from sfumato.networks import build, needs_image_size, size_divisor
from sfumato.recipe.recipe import Recipe, parse_recipe
from sfumato.training.late import late_targets

CONTENT = "sfumato"  # the checkpoint's key under which everything of ours lies


class SegmentationModule(LightningModule):
    """A network trained by one recipe.

    Args:
        recipe: The complete recipe.
        task: What the data set is: ``in_channels``, ``num_classes``, ``label_names``, ``channel_names``,
            ``regions`` (or None) and ``dataset``; kept in every checkpoint.
    """

    def __init__(self, recipe: Recipe, task: Mapping[str, Any]) -> None:
        super().__init__()
        self.recipe = recipe
        self.task = dict(task)
        self.method: Method = recipe.composed
        self.regions = _as_regions(self.task["regions"])
        self.channels = self.method.channels(self.task["num_classes"], self.regions)
        self.threshold: float | None = None
        self._search = ThresholdSearch()
        self.network = build(
            recipe.network.name,
            in_channels=self.task["in_channels"],
            out_channels=self.channels,
            image_size=recipe.patch.size,
            **recipe.network.options,
        )
        self.loss = self.method.make_loss()

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``(B, K, *S)`` of a batch of patches ``(B, C, *S)``."""
        logits: Tensor = self.network(image)
        return logits

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401 - Lightning's
        """Make the targets that the patches left to the device."""
        if isinstance(batch, dict) and "target" not in batch:
            target = late_targets(
                self.recipe, batch, num_classes=self.task["num_classes"], regions=self.regions
            )
            return {"image": batch["image"], "target": target}
        return batch

    def training_step(self, batch: Mapping[str, Any], index: int) -> Tensor:
        """The method's loss on one batch of patches and their targets."""
        # Dropout draws from the step's own seed: how often the generator was used before (by data loaders,
        # by a validation that a resumed run does not repeat) then changes nothing.
        torch.manual_seed((self.recipe.seed * 1_000_003 + self.global_step) * 4099 + self.global_rank)
        loss: Tensor = self.loss(self(batch["image"]), batch["target"])
        self.log(
            "train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["image"]), sync_dist=True
        )
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forget the thresholds' scores of the epoch before."""
        self._search = ThresholdSearch()

    def validation_step(self, batch: Mapping[str, Any], index: int) -> None:
        """Loss and mean Dice over the structures of one whole prepared case."""
        logits = self.case_logits(batch["image"])
        loss = self.loss(self._as_seen(logits), self._as_seen(batch["target"].unsqueeze(0)))
        prediction = self.activated(logits)
        wanted = region_masks(batch["labels"], self.task["num_classes"], self.regions)
        self.log("val_loss", loss, on_epoch=True, batch_size=1, sync_dist=True)
        if self.method.decoder == "tuned":
            self._search.update(prediction.float(), wanted)
            return
        found = self.found_regions(prediction)
        self.log(
            "val_dice",
            dice(found, wanted, spatial_axes=wanted.ndim - 1).mean(),
            on_epoch=True,
            batch_size=1,
            sync_dist=True,
            prog_bar=True,
        )

    def on_validation_epoch_end(self) -> None:
        """Log the mean Dice at the epoch's best threshold, where the method tunes one."""
        if self.method.decoder == "tuned":
            # Every process validates every case, so that all of them hold the same sums.
            best = max(self._search.mean_dice().values())
            self.log("val_dice", best, sync_dist=True, prog_bar=True)

    def found_regions(self, prediction: Tensor) -> Tensor:
        """Binary regions ``(R, *S)`` of one activated prediction ``(K, *S)``, at the tuned threshold."""
        if self.method.kind.joint:
            labels = self.method.decode(prediction)
            return region_masks(labels, self.task["num_classes"], self.regions)
        return self.method.decode_regions(prediction, threshold=self.threshold)

    def region_values(self) -> list[tuple[int, ...]]:
        """The labels that form each region of the data set."""
        return region_values(self.task["num_classes"], self.regions)

    def case_logits(self, image: Tensor) -> Tensor:
        """Logits ``(1, K, *S)`` of a whole prepared image ``(C, *S)``, window by window where it is large.

        A network of slices gives the slices' logits, stacked.
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
        """The activated prediction ``(K, *S)`` of a whole case's logits ``(1, K, *S)``.

        A sample is what the network saw as one: NormReLU divides a volume by its own maximum, but each slice
        of a network of slices by that slice's.
        """
        found = self.method.activate(self._as_seen(logits))
        axis = self.recipe.slice_axis
        return found[0] if axis is None else found.movedim(0, axis + 1)

    def _as_seen(self, whole: Tensor) -> Tensor:
        """A whole case ``(1, K, *S)`` as the batch of samples that the network saw: its slices, or itself."""
        axis = self.recipe.slice_axis
        return whole if axis is None else whole[0].movedim(axis + 1, 0)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union of a dozen types
        """Adam or AdamW with the recipe's schedule, stepped once per epoch."""
        part = self.recipe.optimizer
        kind = torch.optim.Adam if part.name == "adam" else torch.optim.AdamW
        optimizer = kind(self.network.parameters(), lr=part.learning_rate, weight_decay=part.weight_decay)
        schedule: torch.optim.lr_scheduler.LRScheduler
        if part.schedule == "constant":
            return optimizer
        if part.schedule == "cosine":
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.recipe.epochs)
        else:
            schedule = torch.optim.lr_scheduler.MultiStepLR(
                optimizer, list(part.milestones), gamma=part.gamma
            )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the recipe, the task and the tuned threshold: a checkpoint is complete by itself."""
        checkpoint[CONTENT] = {
            "version": sfumato.__version__,
            "recipe": self.recipe.model_dump(mode="json"),
            "task": self.task,
            "threshold": self.threshold,
        }


def module_from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> SegmentationModule:
    """Rebuild the module that a checkpoint was saved from, with its weights and threshold.

    Args:
        checkpoint: The loaded checkpoint.
        source: The file's name, for messages.

    Raises:
        CheckpointError: the checkpoint is not Sfumato's, or its weights do not fit its own recipe.
    """
    content = checkpoint.get(CONTENT)
    if not isinstance(content, Mapping) or "state_dict" not in checkpoint:
        raise CheckpointError(f"{source} was not written by sfumato train: it holds no recipe")
    recipe = parse_recipe(content["recipe"], source=source)
    module = SegmentationModule(recipe, content["task"])
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(
            f"{source}: weights and recipe do not fit: {str(error).splitlines()[0]}"
        ) from error
    module.threshold = content["threshold"]
    return module.eval()


def region_masks(labels: Tensor, num_classes: int, regions: Mapping[str, tuple[int, ...]] | None) -> Tensor:
    """One boolean mask per region ``(R, *S)``: the data set's regions, or each foreground label."""
    groups = region_values(num_classes, regions)
    return torch.stack([torch.isin(labels, labels.new_tensor(group)) for group in groups])


def region_values(num_classes: int, regions: Mapping[str, tuple[int, ...]] | None) -> list[tuple[int, ...]]:
    """The labels that form each region: the data set's regions, or each foreground label by itself."""
    return list(regions.values()) if regions else [(index,) for index in range(1, num_classes)]


def _as_regions(regions: Mapping[str, Any] | None) -> dict[str, tuple[int, ...]] | None:
    return None if regions is None else {name: tuple(values) for name, values in regions.items()}
