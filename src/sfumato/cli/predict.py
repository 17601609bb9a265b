"""``sfumato predict``: a checkpoint's predictions for a data set."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from sfumato.cli.options import Accelerator, DatasetLayout, chosen_device
from sfumato.cli.progress import progress
from sfumato.data import open_dataset
from sfumato.errors import InputError
from sfumato.model.predict import predict as predict_dataset
from sfumato.model.uncertainty import Sampling, predict_with_uncertainty


def predict(
    checkpoint: Annotated[
        Path, typer.Argument(help="A checkpoint, or a run folder (its best one is taken).")
    ],
    data: Annotated[
        str,
        typer.Argument(
            help="Folder of a public data set or in nnU-Net or BIDS layout, folder of images, one image, "
            "CSV manifest, or sample:NAME. "
            "Images of several channels are named <case>_0000, <case>_0001, …"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the predictions.")],
    layout: DatasetLayout = "auto",
    soft: Annotated[
        bool, typer.Option("--soft", help="Also write the soft prediction <case>_soft.nii.gz.")
    ] = False,
    soft_format: Annotated[
        Literal["float32", "uint8"], typer.Option(help="Numbers of the soft prediction.")
    ] = "float32",
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be repeated.")] = None,
    uncertainty: Annotated[
        Literal["tta", "mcdropout", "ensemble"] | None,
        typer.Option(
            help="Predict the mean of several samples; write <case>_uncertainty-<kind>.nii.gz. Flips (tta), "
            "dropout left on, or several trainings (--member)."
        ),
    ] = None,
    member: Annotated[
        list[Path] | None,
        typer.Option(help="A further checkpoint or run folder of the ensemble; may be repeated."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Predictions per case with mcdropout.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of mcdropout.")] = 0,
    accelerator: Accelerator = "auto",
    trust_code: Annotated[
        bool, typer.Option("--trust-code", help="Import the activation or decoder that the checkpoint names.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing predictions.")] = False,
) -> None:
    """Predict every case: NIfTI files with the input's affine, spacing and resolution."""
    device = chosen_device(accelerator)
    if member and uncertainty != "ensemble":
        raise InputError("--member names a further member of --uncertainty ensemble: give that too")
    if uncertainty is None:
        job = partial(predict_dataset, checkpoint)
    else:
        sampling = Sampling(uncertainty, samples=samples, seed=seed)
        job = partial(predict_with_uncertainty, [checkpoint, *(member or [])], sampling=sampling)
    written = job(
        open_dataset(data, layout=layout),
        out,
        soft=soft_format if soft else None,
        names=case or None,
        overwrite=overwrite,
        device=device,
        trust_code=trust_code,
        progress=partial(progress, title="predict"),
    )
    typer.echo(f"{len(written)} cases predicted: {out}")
