"""``sfumato train``: one recipe on one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfumato.cli.dataset_option import DatasetKind


def train(
    recipe: Annotated[Path, typer.Argument(help="A complete recipe (YAML); recipes/demo.yaml is one.")],
    data: Annotated[
        str, typer.Option("--data", help="nnU-Net folder, CSV manifest, or sample:NAME (see sfumato check).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    kind: DatasetKind = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an interrupted run from its last finished epoch.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run folder.")] = False,
    checked: Annotated[
        bool,
        typer.Option("--checked", help="The data passed sfumato check: do not read every file first."),
    ] = False,
) -> None:
    """Train one recipe, then predict and evaluate its test cases: one complete run folder."""
    from sfumato.cli.tables import print_summary
    from sfumato.data import open_dataset
    from sfumato.study.run import complete_run
    from sfumato.training.recipe import read_recipe

    dataset = open_dataset(data, kind=kind)
    folder = complete_run(
        read_recipe(recipe), dataset, out, resume=resume, overwrite=overwrite, checked=checked
    )
    if folder.writes:
        print_summary([folder.path / "metrics.csv"])
        typer.echo(f"run: {out}")
