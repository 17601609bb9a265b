"""Warnings about a NormReLU network that predicts nothing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

LOG = logging.getLogger("sfumato.training")


class EmptyPredictions(Callback):
    """Warn when a structure has no logit above 0 in a whole epoch, where NormReLU is 0 without a gradient.

    In training that is an end: nothing moves the weights but noise (dropout, other batches). In validation
    alone it may pass: the running statistics of batch normalisation are not yet those of the batches, above
    all after few steps. Each is warned of once, when it begins.

    Args:
        structures: Their names, one per output of the network.
    """

    def __init__(self, structures: Sequence[str]) -> None:
        self.structures = tuple(structures)
        self._stage: str | None = None
        self._peaks: dict[str, Tensor] = {}  # the epoch's highest logit of each structure, per stage
        self._empty: dict[str, frozenset[str]] = {}  # what was empty in the latest epoch, per stage
        self._hook: RemovableHandle | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch the logits of the network from now on."""
        network: nn.Module = pl_module.get_submodule("network")
        self._hook = network.register_forward_hook(self._look)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop watching the logits."""
        if self._hook is not None:
            self._hook.remove()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Note that the next logits are of training."""
        self._stage = "training"

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Note that training is interrupted."""
        self._stage = None

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the next logits are of validation."""
        self._stage = "validation"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that validation has ended."""
        self._stage = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn of structures that were empty all through the epoch and not before."""
        before = dict(self._empty)
        for stage, mine in self._peaks.items():
            # A process sees its own share of the patches: the others' logits may be above 0.
            everyones = torch.as_tensor(pl_module.all_gather(mine))
            peaks = everyones.reshape(-1, len(self.structures)).amax(dim=0).tolist()
            names = (name for name, peak in zip(self.structures, peaks, strict=True) if not peak > 0)
            self._empty[stage] = frozenset(names)
        self._peaks = {}
        if trainer.is_global_zero:
            self._say(before, trainer.current_epoch + 1)

    def _look(self, network: nn.Module, inputs: Any, logits: Tensor) -> None:  # noqa: ANN401 - a hook's
        if self._stage is None:
            return
        peak = logits.detach().float().transpose(0, 1).flatten(1).amax(dim=1)
        before = self._peaks.get(self._stage)
        self._peaks[self._stage] = peak if before is None else torch.maximum(before, peak)

    def _say(self, before: dict[str, frozenset[str]], epoch: int) -> None:
        none: frozenset[str] = frozenset()
        dead = self._empty.get("training", none)
        for name in sorted(dead - before.get("training", none)):
            LOG.warning(
                "epoch %d: no logit of %s was above 0 in any training patch; NormReLU then gives 0 and no "
                "gradient, so it may never be learned: if its Dice stays 0, start again with another seed, "
                "a lower learning rate or a larger batch, or take a sigmoid method such as hard-sig-dice",
                epoch,
                name,
            )
        for name in sorted(self._empty.get("validation", none) - before.get("validation", none) - dead):
            LOG.warning(
                "epoch %d: no logit of %s was above 0 in any validation case, but in training: early on, "
                "batch normalisation's running statistics lag behind; train longer, and if this lasts, take "
                "a larger batch or another momentum of the normalisation",
                epoch,
                name,
            )
