"""``sfumato soften``: one image and its masks to soft labels in a file."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
import torch
import typer
from torch import Tensor

from sfumato import __version__
from sfumato.checks import require_choice
from sfumato.data.case import Case, CaseFiles
from sfumato.data.dataset import assembled
from sfumato.data.readers.cases import load_case
from sfumato.data.readers.description import Description
from sfumato.data.readers.files import NIFTI, read_volume, stem, suffix, write_volume
from sfumato.errors import InputError, ValueRangeError
from sfumato.output import atomic_output, require_free
from sfumato.types import Spacing

if TYPE_CHECKING:
    from sfumato.methods import Method

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
    from sfumato.methods import method as method_named

    chosen = method_named(method)
    sidecar = out.with_name(out.name.removesuffix(suffix(out)) + ".json")
    if suffix(out) not in _FORMATS:
        raise InputError(f"--out is {out}: expected a name that ends in {', '.join(_FORMATS)}")
    for path in (out, sidecar, *([preview] if preview else [])):
        require_free(path, overwrite=overwrite)
    require_choice("encoding", encoding, ("exact", "uint8"))
    options = _options(set_ or [])
    case, classes = _read((image, *(channel or ())), masks, num_classes)
    if len(masks) > 1 and not chosen.takes_raters:
        typer.echo(f"{method} takes one mask: using the majority vote of the {len(masks)} masks", err=True)
    target = _target(chosen, case, classes, options, seed)
    record = {
        "sfumato": __version__,
        "method": chosen.name,
        "label": chosen.label,
        "options": {**chosen.label_options, **options},
        "seed": seed,
        "kind": chosen.kind.name,
        "channels": _channel_names(chosen, classes),
        "num_classes": classes,
        "spacing_mm": list(case.spacing),
        "shape": list(case.shape),
        "encoding": encoding,
        "image": [path.name for path in (image, *(channel or ()))],
        "masks": [path.name for path in masks],
        "raters": "each" if chosen.takes_raters else "majority vote" if len(masks) > 1 else "one",
    }
    # The volume comes while the others still have their temporary names: either all appear or none.
    with atomic_output(sidecar, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        with atomic_output(preview, overwrite=overwrite) if preview else nullcontext() as picture:
            if picture is not None:
                _draw_preview(picture, case, target, record)
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


def _read(images: tuple[Path, ...], masks: list[Path], num_classes: int | None) -> tuple[Case, int]:
    several = len(masks) > 1
    files = CaseFiles(
        name=stem(images[0]),
        images=images,
        mask=None if several else masks[0],
        rater_masks=tuple(masks) if several else (),
    )
    if num_classes is not None and num_classes < 2:
        raise ValueRangeError(f"--num-classes is {num_classes}: expected at least 2, with background")
    declared = None if num_classes is None else {label: f"label {label}" for label in range(num_classes)}
    dataset = assembled(images[0].parent, [files], (), Description(label_names=declared))
    channels = sum(_channels_of(path) for path in images)
    dataset = replace(dataset, channel_names=tuple(f"channel {number}" for number in range(channels)))
    return load_case(files, dataset), max(2, dataset.num_classes)


def _channels_of(path: Path) -> int:
    volume = read_volume(path)
    return volume.array.shape[-1] if volume.array.ndim > len(volume.spacing) else 1


def _target(chosen: Method, case: Case, classes: int, options: dict[str, object], seed: int) -> Tensor:
    if case.labels is None:
        raise InputError(f"case {case.name} has no mask")
    try:
        return chosen.target(
            case.labels,
            case.image,
            num_classes=classes,
            spacing=case.spacing,
            labels_per_rater=case.labels_per_rater,
            options=options,
            generator=torch.Generator().manual_seed(seed),
        )
    except TypeError as error:
        # A value of the wrong type, such as --set alpha=much.
        raise InputError(f"--set gives the label a value it cannot use: {error}") from error


def _channel_names(chosen: Method, classes: int) -> list[str]:
    if chosen.kind.joint:
        return ["background", *(f"label {label}" for label in range(1, classes))]
    return [f"label {label}" for label in range(1, classes)]


# Okabe and Ito's palette: told apart by colour-blind readers too.
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")


def _draw_preview(path: Path, case: Case, target: Tensor, record: dict[str, object]) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = cast("list[str]", record["channels"])
    signed = record["kind"] == "signed"
    labels = cast("Tensor", case.labels).numpy()
    window, where = _best_view(labels, case.spacing)
    # NIfTI's first axis runs to the right; a picture's first axis is its rows.
    turn = np.transpose if case.affine is not None else np.asarray
    shown = [axis for axis, part in enumerate(window) if isinstance(part, slice)]
    steps = [case.spacing[axis] for axis in shown]
    aspect = steps[1] / steps[0] if case.affine is not None else steps[0] / steps[1]
    drawing = {
        "origin": "lower" if case.affine is not None else "upper",
        "aspect": aspect,
        "interpolation": "nearest",
    }
    picture, hard = turn(case.image[0].numpy()[window]), turn(labels[window])
    height = 2.6 * min(max(picture.shape[0] / picture.shape[1] * aspect, 0.4), 2.0) + 0.6
    figure = Figure(figsize=(2.6 * (2 + len(names)) + 0.8, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2 + len(names))
    for panel, title in zip(panels, ("image", "hard mask", *names), strict=True):
        panel.set_title(title, fontsize=10)
        panel.set_xticks([])
        panel.set_yticks([])
    for panel in panels[:2]:
        # A few very bright voxels would leave the rest black.
        panel.imshow(picture, cmap="gray", **drawing, **_grey_window(picture))
    colours = mpl.colors.ListedColormap([_COLOURS[index % len(_COLOURS)] for index in range(hard.max() or 1)])
    overlay = np.ma.masked_equal(hard, 0)
    panels[1].imshow(overlay, cmap=colours, vmin=0.5, vmax=colours.N + 0.5, alpha=0.65, **drawing)
    low, scale = (-1, "PuOr_r") if signed else (0, "cividis")
    for panel, weights in zip(panels[2:], target.numpy(), strict=True):
        mapped = panel.imshow(turn(weights[window]), cmap=scale, vmin=low, vmax=1, **drawing)
    figure.colorbar(mapped, ax=list(panels[2:]), fraction=0.05)
    figure.suptitle(f"{case.name}, {record['method']}{where}", fontsize=10)
    figure.savefig(path, dpi=120, format="png")


def _grey_window(picture: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(picture, (0.5, 99.5))
    return {"vmin": float(low), "vmax": float(high)} if low < high else {}


def _best_view(labels: np.ndarray, spacing: Spacing) -> tuple[tuple[int | slice, ...], str]:
    """Give the window around the structure, in 3-D in the slice with most boundary, and its name."""
    window: list[int | slice] = [slice(None)] * labels.ndim
    where = ""
    if labels.ndim == 3:
        # Slices run across the longest voxel side: the plane in which the images were taken.
        across = max(range(3), key=lambda axis: (spacing[axis], axis))
        slices = np.moveaxis(labels, across, 0)
        boundary = sum(
            (np.diff(slices, axis=axis) != 0).reshape(len(slices), -1).sum(axis=1) for axis in (1, 2)
        )
        best = int(np.argmax(boundary))
        window[across] = best
        where = f", slice {best} of axis {across}"
    flat = labels[tuple(window)]
    shown = [axis for axis, part in enumerate(window) if isinstance(part, slice)]
    for axis, found in zip(shown, np.nonzero(flat), strict=True):
        if found.size:
            low, high = int(found.min()), int(found.max()) + 1
            margin = max(6, (high - low) // 3)
            window[axis] = slice(max(0, low - margin), high + margin)
    return tuple(window), where
