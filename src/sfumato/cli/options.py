"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import typer

from sfumato.data.dataset import LAYOUT_NAMES
from sfumato.errors import InputError

DATASET_HELP = f"The data's layout where it should not be found out (auto): {', '.join(LAYOUT_NAMES[1:])}."
DatasetLayout = Annotated[str, typer.Option("--dataset", metavar="KIND", help=DATASET_HELP)]
Accelerator = Annotated[Literal["cpu", "gpu", "auto"], typer.Option(help="Where the network runs.")]


def chosen_device(accelerator: str) -> str:
    """Return the device that ``--accelerator`` asks for.

    Raises:
        InputError: it is ``gpu``, and there is none.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError("--accelerator gpu, but torch finds no GPU on this machine: use cpu or auto")
    return "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
