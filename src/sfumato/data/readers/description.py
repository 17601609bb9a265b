"""``dataset.json``: label, channel and rater names, in nnU-Net's first and second spelling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato.errors import FileFormatError, InputError
from sfumato.types import Spacing


@dataclass(frozen=True)
class Description:
    """What a ``dataset.json`` says; everything is optional."""

    name: str | None = None
    label_names: Mapping[int, str] | None = None
    channel_names: tuple[str, ...] | None = None
    regions: Mapping[str, tuple[int, ...]] | None = None
    rater_names: tuple[str, ...] = ()
    spacing: Spacing | None = None
    file_ending: str | None = None


def read_description(folder: Path) -> Description:
    """Read ``folder/dataset.json``; an empty description where there is none.

    ``labels`` may be spelled ``{"0": "background", "1": "tumour"}`` (nnU-Net v1, Decathlon) or
    ``{"background": 0, "tumour": 1}`` (v2); a list of values names a region. Channels are
    ``channel_names`` (v2) or ``modality`` (v1). Our own keys: ``regions``, ``rater_names``, ``spacing``.

    Raises:
        FileFormatError: not JSON, or not an object.
        InputError: labels that are not ``0 .. K-1``, or another entry that cannot be used.
    """
    path = folder / "dataset.json"
    content = read_object(path, holding="labels, channels")
    labels, regions = _labels(content.get("labels"), path)
    try:
        return Description(
            name=content.get("name"),
            label_names=labels,
            channel_names=_channels(content.get("channel_names", content.get("modality")), path),
            regions=_regions(content.get("regions"), path) or regions,
            rater_names=tuple(content.get("rater_names", ())),
            spacing=_spacing(content.get("spacing")),
            file_ending=content.get("file_ending"),
        )
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: an entry cannot be used: {error}") from error


def read_spacing(folder: Path) -> Spacing | None:
    """Read only ``spacing`` of ``folder/dataset.json``; ``None`` where nothing says it.

    For layouts that fix labels and channels themselves, and whose pictures state no spacing.

    Raises:
        FileFormatError: not JSON, or not an object.
        InputError: a spacing that is no list of numbers.
    """
    path = folder / "dataset.json"
    entry = read_object(path, holding="labels, channels").get("spacing")
    try:
        return _spacing(entry)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: spacing must be a list of numbers in mm: {error}") from error


def read_object(path: Path, *, holding: str) -> dict[str, Any]:
    """Read the object that a JSON file holds; empty where there is no file.

    Args:
        path: The file.
        holding: What the object should have, for messages.

    Raises:
        FileFormatError: the file cannot be read, is not JSON, or holds something else.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{path} holds a {type(content).__name__}: expected an object with {holding}")
    return content


def _spacing(entry: Any) -> Spacing | None:  # noqa: ANN401 - a JSON value
    return None if entry is None else tuple(float(value) for value in entry)


def _whole(value: Any) -> int | None:  # noqa: ANN401 - a JSON value
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _labels(
    entry: Any,  # noqa: ANN401 - a JSON value
    path: Path,
) -> tuple[dict[int, str] | None, dict[str, tuple[int, ...]] | None]:
    if entry is None:
        return None, None
    if not isinstance(entry, dict) or not entry:
        raise InputError(f"{path}: labels must be an object such as {{'background': 0, 'tumour': 1}}")
    if all(_whole(key) is not None for key in entry):
        pairs = [(str(name), key) for key, name in entry.items()]
    else:
        pairs = list(entry.items())
    if any(name == "ignore" for name, _ in pairs):
        raise InputError(
            f"{path}: an 'ignore' label is not supported: give those voxels a class, or background"
        )
    names: dict[int, str] = {}
    regions: dict[str, tuple[int, ...]] = {}
    for name, value in pairs:
        values = tuple(_whole(item) for item in (value if isinstance(value, list) else [value]))
        if not values or None in values:
            raise InputError(
                f"{path}: label {name!r} has value {value!r}: expected a whole number or a list of them"
            )
        known = tuple(item for item in values if item is not None)
        if known != (0,):
            regions[name] = known
        for item in known:
            if len(known) == 1 or item not in names:
                names[item] = name if len(known) == 1 else f"label {item}"
    names.setdefault(0, "background")
    if sorted(names) != list(range(len(names))):
        raise InputError(f"{path}: labels are {sorted(names)}: expected 0 .. {len(names) - 1} without a gap")
    has_regions = any(len(values) > 1 for values in regions.values())
    return dict(sorted(names.items())), regions if has_regions else None


def _channels(entry: Any, path: Path) -> tuple[str, ...] | None:  # noqa: ANN401 - a JSON value
    if entry is None:
        return None
    if isinstance(entry, list):
        return tuple(str(name) for name in entry)
    if not isinstance(entry, dict) or {_whole(key) for key in entry} != set(range(len(entry))):
        raise InputError(f"{path}: channel_names must be an object such as {{'0': 'T1', '1': 'FLAIR'}}")
    return tuple(str(entry[key]) for key in sorted(entry, key=int))


def _regions(entry: Any, path: Path) -> dict[str, tuple[int, ...]] | None:  # noqa: ANN401 - a JSON value
    if entry is None:
        return None
    if not isinstance(entry, dict) or not entry:
        raise InputError(f"{path}: regions must be an object such as {{'whole tumour': [1, 2, 3]}}")
    return {
        str(name): tuple(int(value) for value in (values if isinstance(values, list) else [values]))
        for name, values in entry.items()
    }
