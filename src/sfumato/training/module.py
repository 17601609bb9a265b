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

from sfumato.decode import ThresholdSearch
from sfumato.metrics import dice
from sfumato.model.checkpoint import CONTENT, content_of
from sfumato.model.model import Model, SegmentationTask
from sfumato.recipe.recipe import Recipe
from sfumato.training.late import late_targets


class SegmentationModule(LightningModule):
    """A network trained by one recipe.

    Args:
        recipe: The complete recipe.
        task: What the data set is; kept in every checkpoint.

    Attributes:
        model: The network with its recipe, as a checkpoint will be loaded.
    """

    def __init__(self, recipe: Recipe, task: SegmentationTask) -> None:
        super().__init__()
        self.recipe, self.model = recipe, Model(recipe, task)
        self._search = ThresholdSearch()
        self.network = self.model.network.train()
        self.loss = self.model.method.make_loss()

    def forward(self, image: Tensor) -> Tensor:
        """Compute logits ``(B, K, *S)`` of a batch of patches ``(B, C, *S)``."""
        logits: Tensor = self.network(image)
        return logits

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ANN401 - Lightning's
        """Make the targets that the patches left to the device."""
        if isinstance(batch, dict) and "target" not in batch:
            target = late_targets(self.recipe, batch, structures=self.model.structures)
            return {"image": batch["image"], "target": target}
        return batch

    def training_step(self, batch: Mapping[str, Any], index: int) -> Tensor:
        """Compute the method's loss on one batch of patches and their targets."""
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
        """Log loss and mean Dice over the structures of one whole prepared case."""
        model = self.model
        logits = model.logits(batch["image"])
        loss = self.loss(model.as_samples(logits), model.as_samples(batch["target"].unsqueeze(0)))
        prediction = model.activated(logits)
        reference = model.structures.masks(batch["labels"])
        self.log("val_loss", loss, on_epoch=True, batch_size=1, sync_dist=True)
        if model.method.decoder_row.tuned:
            self._search.update(prediction.float(), reference)
            return
        regions = model.hard_regions(prediction, threshold=None)
        score = dice(regions, reference, spatial_axes=regions.ndim - 1).mean()
        self.log("val_dice", score, on_epoch=True, batch_size=1, sync_dist=True, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        """Log the mean Dice at the epoch's best threshold, where the method tunes one."""
        if self.model.method.decoder_row.tuned:
            # Every process validates every case, so that all of them hold the same sums.
            best = max(self._search.mean_dice().values())
            self.log("val_dice", best, sync_dist=True, prog_bar=True)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union of a dozen types
        """Build Adam or AdamW with the recipe's schedule, stepped once per epoch."""
        part = self.recipe.optimizer
        optimizer_class = torch.optim.Adam if part.name == "adam" else torch.optim.AdamW
        optimizer = optimizer_class(
            self.network.parameters(), lr=part.learning_rate, weight_decay=part.weight_decay
        )
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
        checkpoint[CONTENT] = content_of(self.model)
