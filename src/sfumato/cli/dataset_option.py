"""The option ``--dataset``, the same for every command that opens a data set."""

from __future__ import annotations

from typing import Annotated

import typer

# The names stand here again because importing the table of layouts would slow down every --help.
DATASET_HELP = (
    "The data's layout where it should not be found out (auto): brats2019, brats2020, flare2021, "
    "kits2019, prostatex, lidc, scgm, msseg2016, lgg, bids, nnunet, nnunet-test, csv, images, sample."
)
DatasetKind = Annotated[str, typer.Option("--dataset", metavar="KIND", help=DATASET_HELP)]
