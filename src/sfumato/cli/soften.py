"""``sfumato soften``: one image and its masks to soft labels in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from sfumato import __version__
from sfumato.checks import require_choice
from sfumato.data.case import Case
from sfumato.data.dataset import read_loose_case
from sfumato.data.readers.files import NIFTI, suffix, write_volume
from sfumato.errors import InputError, ValueRangeError, optional_libraries
from sfumato.methods import Method
from sfumato.methods import method as method_named
from sfumato.output import atomic_output, require_free
from sfumato.structures import Structures

_FORMATS = (*NIFTI, ".tif", ".tiff")


def soften(
    image: Annotated[Path, typer.Argument(help="Image: .nii.gz, .nii, .png, .tif.")],
    masks: Annotated[list[Path], typer.Argument(metavar="MASK...", help="Mask; several are several raters.")],
    method: Annotated[str, typer.Option(help="Which label: ls, svls, geols, singr, …; see sfumato methods.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Soft label: .nii.gz, .nii or .tif, class last.")],
    channel: Annotated[
        list[Path] | None, typer.Option(help="A further image channel; may be repeated.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the label, as alpha=0.2; may be repeated.")
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(help="Number of classes with background. Default: largest label + 1.")
    ] = None,
    preview: Annotated[Path | None, typer.Option(help="PNG of the slice with most boundary.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of random seed points.")] = 0,
    encoding: Annotated[
        str, typer.Option(help="exact (float32), or uint8: a quarter of the space, in 255 steps.")
    ] = "exact",
    overwrite: Annotated[bool, typer.Option(help="Replace existing outputs.")] = False,
) -> None:
    """Make the soft label of one image and write it with the image's geometry.

    The output has one more axis than the image, the class (or the region, for region methods). A picture's
    is (rows, columns, 1, class) in NIfTI and one page per class in TIFF. Beside it, a .json file of the same
    name keeps the method, its options and the version.
    """
    chosen = method_named(method)
    sidecar = out.with_name(out.name.removesuffix(suffix(out)) + ".json")
    if suffix(out) not in _FORMATS:
        raise InputError(f"--out is {out}: expected a name that ends in {', '.join(_FORMATS)}")
    for path in (out, sidecar, *([preview] if preview else [])):
        require_free(path, overwrite=overwrite)
    require_choice("encoding", encoding, ("exact", "uint8"))
    if num_classes is not None and num_classes < 2:
        raise ValueRangeError(f"--num-classes is {num_classes}: expected at least 2, with background")
    draw = _preview() if preview else None
    options, images = _options(set_ or []), (image, *(channel or ()))
    case, dataset = read_loose_case(images, masks, num_classes=num_classes)
    structures = Structures.numbered(max(2, dataset.num_classes))
    if len(masks) > 1 and not chosen.label_row.takes_raters:
        typer.echo(f"{method} takes one mask: using the majority vote of the {len(masks)} masks", err=True)
    target = _target(chosen, case, structures, options, seed)
    channels = list(structures.label_names.values() if chosen.kind.joint else structures.names)
    record = {
        "sfumato": __version__,
        "method": chosen.name,
        "label": chosen.label_row.title,
        "options": {**chosen.label_options, **options},
        "seed": seed,
        "kind": chosen.kind.name,
        "channels": channels,
        "num_classes": structures.num_classes,
        "spacing_mm": list(case.spacing),
        "shape": list(case.shape),
        "encoding": encoding,
        "image": [path.name for path in images],
        "masks": [path.name for path in masks],
        "raters": "each" if chosen.label_row.takes_raters else "majority vote" if len(masks) > 1 else "one",
    }
    # The volume comes while the others still have their temporary names: either all appear or none.
    with atomic_output(sidecar, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        with atomic_output(preview, overwrite=overwrite) if preview else nullcontext() as picture:
            if draw is not None and picture is not None:
                figure = draw(case, target, kind=chosen.kind, channels=channels, title=chosen.name)
                figure.savefig(picture, dpi=120, format="png")
            write_volume(
                out,
                target.movedim(0, -1).numpy(),
                affine=case.affine,
                spacing=case.spacing,
                like=image if suffix(image) in NIFTI else None,
                encoding="uint8" if encoding == "uint8" else "exact",
                overwrite=overwrite,
            )
    typer.echo(f"{out}: {chosen.title}, {' x '.join(map(str, (*case.shape, len(target))))}")


def _options(settings: list[str]) -> dict[str, object]:
    options: dict[str, object] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set is {setting!r}: expected NAME=VALUE, such as alpha=0.2")
        try:
            options[key.strip()] = json.loads(text)
        except ValueError:
            options[key.strip()] = text
    return options


def _target(
    chosen: Method, case: Case, structures: Structures, options: dict[str, object], seed: int
) -> Tensor:
    if case.labels is None:
        raise InputError(f"case {case.name} has no mask")
    try:
        return chosen.target(
            case.labels,
            case.image,
            num_classes=structures.num_classes,
            spacing=case.spacing,
            labels_per_rater=case.labels_per_rater,
            options=options,
            generator=torch.Generator().manual_seed(seed),
        )
    except TypeError as error:
        # A value of the wrong type, such as --set alpha=much.
        raise InputError(f"--set gives the label a value it cannot use: {error}") from error


def _preview() -> Callable[..., Any]:
    with optional_libraries():
        # Late: only the preview needs the libraries of the report extra.
        from sfumato.report.preview import soft_label_preview
    return soft_label_preview
