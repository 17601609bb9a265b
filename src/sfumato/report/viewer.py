"""The case viewer's data: every volume as one picture of tiles, inlined, within a budget of bytes."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from PIL import Image as Picture

from sfumato.report.data import Overlay, ReportCase
from sfumato.report.slices import across, foreground_maps, grey, numbers, shown_mask, whole
from sfumato.report.style import label_colour
from sfumato.tables.results import CaseLine
from sfumato.types import Array

Item = TypeVar("Item")

BUDGET_BYTES = 9_000_000  # of base64 text: leaves room for the figures below the page's 15 MB
MOST_CASES = 24
MOST_VOXELS = 1_500_000  # of one case; larger ones are cropped to the foreground, then thinned out
FEWEST_VOXELS = 30_000  # below this no case is thinned out, whatever the budget
MARGIN = 12  # voxels around the foreground where a volume is cropped
LARGEST_SHEET = 16_383  # WebP's limit per side
STEPS = 100  # soft values are kept in steps of 0.01


@dataclass(frozen=True)
class Payload:
    """What the viewer shows, ready to be written as JSON, and what it had to leave out."""

    content: Mapping[str, Any]
    notes: tuple[str, ...]


def payload(
    cases: Sequence[ReportCase],
    *,
    lines: Sequence[CaseLine],
    label_names: Mapping[int, str],
    budget: int = BUDGET_BYTES,
) -> Payload:
    """Encode the cases, the worst and the best first, until the budget is spent.

    Args:
        cases: What to show.
        lines: The cases' mean Dice, worst first; gives the order.
        label_names: Class index to its name.
        budget: Bytes of text to spend at most; one case is always shown.

    Returns:
        The JSON-ready content, its cases ordered worst first, and notes on what was left out or thinned.
    """
    notes: list[str] = []
    chosen: dict[str, dict[str, Any]] = {}
    spent = 0
    ordered = from_both_ends(_ordered(cases, lines))
    for case in ordered[:MOST_CASES]:
        # Half the budget each: the worst and the best are always both there.
        encoded, note, size = _fitted(case, budget // 2)
        if chosen and spent + size > budget:
            break
        spent += size
        chosen[case.name] = encoded
        notes += [note] if note else []
    if len(chosen) < len(cases):
        notes.append(
            f"The viewer holds {len(chosen)} of {len(cases)} cases, the worst and the best by mean Dice, so "
            "that the page stays small."
        )
    means = {line.case: line for line in lines}
    shown = [chosen[case.name] for case in _ordered(cases, lines) if case.name in chosen]
    for encoded in shown:
        line = means.get(encoded["name"])
        encoded["mean"] = None if line is None or math.isnan(line.mean) else line.mean
        encoded["dice"] = {} if line is None else {m: v for m, v in line.values.items() if not math.isnan(v)}
    return Payload({"cases": shown, "labels": _labels(cases, label_names), "steps": STEPS}, tuple(notes))


def _ordered(cases: Sequence[ReportCase], lines: Sequence[CaseLine]) -> list[ReportCase]:
    place = {line.case: index for index, line in enumerate(lines)}
    return sorted(cases, key=lambda case: place.get(case.name, len(place)))


def from_both_ends(order: Sequence[Item]) -> list[Item]:
    """Take from the front and the back in turn: the worst, the best, the second worst, …."""
    left, taken = list(order), []
    while left:
        taken.append(left.pop(0))
        if left:
            taken.append(left.pop())
    return taken


def _text_of(encoded: object) -> str:
    """Join all the text in nested lists and mappings: what its size comes from."""
    if isinstance(encoded, str):
        return encoded
    if isinstance(encoded, Mapping):
        return "".join(_text_of(value) for value in encoded.values())
    return "".join(_text_of(value) for value in encoded) if isinstance(encoded, list) else ""


def _labels(cases: Sequence[ReportCase], label_names: Mapping[int, str]) -> dict[str, dict[str, str]]:
    values = set(label_names)
    for case in cases:
        for array in (case.reference, *(overlay.labels for overlay in case.predictions.values())):
            values |= set() if array is None else {int(value) for value in np.unique(whole(array))}
    return {
        str(value): {"name": label_names.get(value, f"label {value}"), "colour": label_colour(value)}
        for value in sorted(values)
        if value > 0
    }


def _fitted(case: ReportCase, budget: int) -> tuple[dict[str, Any], str, int]:
    """Encode a case, thinned out until its text is no longer than ``budget``; small ones stay as they are."""
    most = min(MOST_VOXELS, math.prod(case.image.shape[1:]))
    while True:
        encoded, note = _encoded(case, most)
        size = len(_text_of(encoded))
        if size <= budget or most <= FEWEST_VOXELS:
            return encoded, note, size
        most //= 2


def _encoded(case: ReportCase, most: int) -> tuple[dict[str, Any], str]:
    part, step, note = _window(case, most)
    shape = case.image.shape[1:]
    flat = len(shape) == 2
    spacing = [value * factor for value, factor in zip(case.spacing, step, strict=True)]

    def cut(array: Array) -> Array:
        small = array[part]
        return small[..., None] if flat else small

    reference = None if case.reference is None else cut(whole(case.reference)).astype(np.uint8)
    mask = cut(shown_mask(case))
    axis = across(tuple(spacing))
    content = {
        "name": case.name,
        "flat": flat,
        "shape": list(mask.shape),
        "spacing": [*spacing, 1.0] if flat else spacing,
        "axis": 2 if axis is None else axis,
        "start": [int(np.argmax(mask.sum(axis=_others(number)))) for number in range(3)],
        "image": sheet((cut(grey(case.image)) * 255).round().astype(np.uint8), quality=88),
        "reference": None if reference is None else sheet(reference),
        "methods": {method: _method(overlay, cut) for method, overlay in case.predictions.items()},
    }
    return content, note


def _others(axis: int) -> tuple[int, ...]:
    return tuple(number for number in range(3) if number != axis)


def _method(overlay: Overlay, cut: Any) -> dict[str, Any]:  # noqa: ANN401 - a local function
    content: dict[str, Any] = {
        "kind": overlay.kind.name,
        "labels": sheet(cut(whole(overlay.labels)).astype(np.uint8)),
    }
    for name, maps in (("soft", overlay.soft), ("target", overlay.target)):
        if maps is not None:
            weights = foreground_maps(maps, overlay)
            content[name] = [sheet((cut(values) * STEPS).round().astype(np.uint8)) for values in weights]
    if overlay.uncertainty is not None:
        values = np.nan_to_num(cut(numbers(overlay.uncertainty)))
        largest = float(values.max(initial=0.0)) or 1.0
        content["uncertainty"] = sheet((values.clip(0) / largest * STEPS).round().astype(np.uint8))
        content["largest"] = largest
    return content


def _window(case: ReportCase, most: int) -> tuple[tuple[slice, ...], tuple[int, ...], str]:
    """Choose what to keep of a large case: the foreground with a margin, then every n-th voxel in plane."""
    shape = tuple(case.image.shape[1:])
    part, step = tuple(slice(0, length) for length in shape), [1] * len(shape)
    if math.prod(shape) <= most:
        return part, tuple(step), ""
    mask = shown_mask(case)
    if mask.any():
        places = [
            np.flatnonzero(mask.any(axis=tuple(o for o in range(mask.ndim) if o != a)))
            for a in range(mask.ndim)
        ]
        part = tuple(
            slice(max(0, int(filled[0]) - MARGIN), min(length, int(filled[-1]) + 1 + MARGIN))
            for filled, length in zip(places, shape, strict=True)
        )
    lengths = [side.stop - side.start for side in part]
    while math.prod(math.ceil(length / s) for length, s in zip(lengths, step, strict=True)) > most:
        finest = int(np.argmin([mm * s for mm, s in zip(case.spacing, step, strict=True)]))
        step[finest] += 1
    thinned = tuple(slice(side.start, side.stop, s) for side, s in zip(part, step, strict=True))
    note = f"{case.name} is large: the viewer shows the part around its structures"
    note += f", every {' x '.join(map(str, step))} voxels." if max(step) > 1 else "."
    return thinned, tuple(step), note


def sheet(volume: Array, *, quality: int | None = None) -> str:
    """Lay the slices ``[:, :, k]`` side by side, row by row, and give them as a data address.

    Args:
        volume: ``(rows, columns, slices)``, uint8.
        quality: Lossy WebP of this quality; ``None`` keeps every value.
    """
    rows, columns, slices = volume.shape
    wide = max(1, min(slices, round(math.sqrt(slices * rows / columns)), LARGEST_SHEET // columns))
    lines = math.ceil(slices / wide)
    full = np.zeros((lines * wide, rows, columns), dtype=np.uint8)
    full[:slices] = np.moveaxis(volume, -1, 0)
    tiles = (
        full.reshape(lines, wide, rows, columns).transpose(0, 2, 1, 3).reshape(lines * rows, wide * columns)
    )
    if lines * rows > LARGEST_SHEET:
        return _address(tiles, "PNG", optimize=True)
    if quality is None:
        return _address(tiles, "WEBP", lossless=True, quality=60, method=4, exact=True)
    return _address(tiles, "WEBP", quality=quality, method=4)


def _address(tiles: Array, form: str, **options: Any) -> str:  # noqa: ANN401 - Pillow's own options
    file = io.BytesIO()
    Picture.fromarray(tiles).save(file, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
