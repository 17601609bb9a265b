"""``sfumato predict``: a checkpoint's predictions for a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import typer

from sfumato.cli.dataset_option import DatasetKind
from sfumato.cli.progress import progress


class _Shared(TypedDict):
    """What a plain prediction and one with uncertainty take alike."""

    soft: Literal["float32", "uint8"] | None
    names: Sequence[str] | None
    overwrite: bool
    device: str
    progress: Callable[[Iterable[str]], Iterable[str]]


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
    kind: DatasetKind = "auto",
    soft: Annotated[
        bool, typer.Option("--soft", help="Also write the graded prediction <case>_soft.nii.gz.")
    ] = False,
    soft_format: Annotated[
        Literal["float32", "uint8"], typer.Option(help="Numbers of the graded prediction.")
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
    accelerator: Annotated[
        Literal["cpu", "gpu", "auto"], typer.Option(help="Where the network runs.")
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing predictions.")] = False,
) -> None:
    """Predict every case: NIfTI files with the input's affine, spacing and resolution."""
    import torch

    from sfumato.data import open_dataset
    from sfumato.errors import InputError
    from sfumato.model.predict import predict as predict_dataset
    from sfumato.model.uncertainty import Sampling, predict_with_uncertainty

    if accelerator == "gpu" and not torch.cuda.is_available():
        raise InputError("--accelerator gpu, but torch finds no GPU on this machine: use cpu or auto")
    device = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    if member and uncertainty != "ensemble":
        raise InputError("--member names a further member of --uncertainty ensemble: give that too")
    shared: _Shared = {
        "soft": soft_format if soft else None,
        "names": case or None,
        "overwrite": overwrite,
        "device": device,
        "progress": lambda names: progress(names, title="predict"),
    }
    dataset = open_dataset(data, layout=kind)
    if uncertainty is None:
        written = predict_dataset(checkpoint, dataset, out, **shared)
    else:
        sampling = Sampling(uncertainty, samples=samples, seed=seed)
        written = predict_with_uncertainty(
            [checkpoint, *(member or [])], dataset, out, sampling=sampling, **shared
        )
    typer.echo(f"{len(written)} cases predicted: {out}")
