"""What happens at the end of each epoch besides Lightning's own: the history and one line of log."""

from __future__ import annotations

import csv
import logging
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from sfumato.output import atomic_output

LOG = logging.getLogger("sfumato.training")
COLUMNS = ("epoch", "train_loss", "val_loss", "val_dice", "lr", "seconds")


class History(Callback):
    """Keep one row per epoch in ``history.csv``; a resumed run goes on from the checkpoint's rows.

    Args:
        path: The CSV file, rewritten whole after each epoch so that a killed run leaves it readable.
        epochs: Epochs in all, for the log line.
    """

    def __init__(self, path: Path, *, epochs: int) -> None:
        self.path, self.epochs = path, epochs
        self.rows: list[dict[str, float | int | None]] = []
        self._started, self._rate = 0.0, 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._started = time.perf_counter()
        # The schedule steps before the epoch's end: this is the rate that the epoch was trained with.
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's row and write the file."""
        metrics = trainer.callback_metrics
        validated = trainer.current_epoch in self._validated(trainer)

        def value(name: str) -> float | None:
            return float(metrics[name]) if name in metrics else None

        row = {
            "epoch": trainer.current_epoch,
            "train_loss": value("train_loss"),
            "val_loss": value("val_loss") if validated else None,
            "val_dice": value("val_dice") if validated else None,
            "lr": self._rate,
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        self.rows.append(row)
        if trainer.is_global_zero:
            self._write()
            LOG.info("epoch %d/%d %s", trainer.current_epoch + 1, self.epochs, _line(row))

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, to be kept in the checkpoint."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the rows of the checkpoint that training goes on from."""
        self.rows = [dict(row) for row in state_dict["rows"]]

    def _validated(self, trainer: Trainer) -> set[int]:
        every = trainer.check_val_every_n_epoch or 1
        return {epoch for epoch in range(self.epochs) if (epoch + 1) % every == 0}

    def _write(self) -> None:
        with atomic_output(self.path, overwrite=True) as temporary, temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


def _line(row: dict[str, float | int | None]) -> str:
    parts = [
        f"{name} {row[name]:.4f}" for name in ("train_loss", "val_loss", "val_dice") if row[name] is not None
    ]
    return ", ".join([*parts, f"{row['seconds']:.1f} s"])
