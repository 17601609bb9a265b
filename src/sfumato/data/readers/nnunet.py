"""nnU-Net's raw layout, and any flat folder of images.

``imagesTr/<case>_0000.nii.gz`` (one file per channel), ``labelsTr/<case>.nii.gz``, ``dataset.json``.
The Decathlon's own files, which lack the channel number, are read as one channel.
"""

from __future__ import annotations

import re
from pathlib import Path

from sfumato.data.case import CaseFiles
from sfumato.data.readers.description import Description
from sfumato.data.readers.files import PICTURES, SUFFIXES, stem, suffix
from sfumato.data.readers.layout import visible

_NUMBERED = re.compile(r"(.+)_(\d{4})$")


def _files(folder: Path, file_ending: str | None) -> list[Path]:
    return [
        path
        for path in visible(folder)
        if suffix(path) and path.name.lower().endswith((file_ending or "").lower())
    ]


def scan_folder(
    images: Path, masks: Path | None, description: Description
) -> tuple[list[CaseFiles], list[str]]:
    """List the cases of a folder of images, without reading them.

    Args:
        images: Folder of ``<case>_0000<ending>`` or ``<case><ending>``.
        masks: Folder of ``<case><ending>``; ``None`` for data without masks.
        description: What ``dataset.json`` says: the ending and the number of channels.

    Returns:
        The cases, sorted by name, and one sentence per problem: a case without a mask, a mask
        without a case, a missing channel, one case in two files.
    """
    files_of: dict[str, dict[int, Path]] = {}
    problems: list[str] = []
    paths = _files(images, description.file_ending)
    for path in paths:
        matched = _NUMBERED.fullmatch(stem(path))
        name, channel = (matched[1], int(matched[2])) if matched else (stem(path), 0)
        if channel in files_of.setdefault(name, {}):
            other = files_of[name][channel].name
            problems.append(
                f"case {name}: two files of one name and channel, {other} and {path.name} in {images}"
            )
        files_of[name][channel] = path
    if not files_of:
        expected = description.file_ending or ", ".join(SUFFIXES)
        problems.append(f"{images} holds no images: expected files <case>_0000 with ending {expected}")
    channels = _expected_channels(files_of, description)
    by_name: dict[str, tuple[Path, ...]] = {}
    for name, files in sorted(files_of.items()):
        complete = tuple(files.get(channel) or _absent(files, name, channel) for channel in channels)
        problems += [f"case {name}: channel file {path} is missing" for path in complete if not path.exists()]
        problems += [
            f"case {name}: {files[channel].name} is channel {channel}, but dataset.json names {len(channels)}"
            for channel in sorted(set(files) - set(channels))
        ]
        by_name[name] = complete
    if masks is None:
        return [CaseFiles(name=name, images=files, mask=None) for name, files in by_name.items()], problems
    cases, more = _with_masks(by_name, masks, description)
    return cases, problems + more


def _expected_channels(files_of: dict[str, dict[int, Path]], description: Description) -> range:
    seen = {channel for files in files_of.values() for channel in files}
    most = max(seen, default=0) + 1
    if description.channel_names is None:
        return range(most)
    # A colour picture is one file with several channels.
    pictures = all(suffix(path) in PICTURES for files in files_of.values() for path in files.values())
    return range(1) if pictures and most == 1 else range(len(description.channel_names))


def _absent(files: dict[int, Path], name: str, channel: int) -> Path:
    present = next(iter(files.values()))
    return present.with_name(f"{name}_{channel:04d}{suffix(present)}")


def _with_masks(
    images: dict[str, tuple[Path, ...]], folder: Path, description: Description
) -> tuple[list[CaseFiles], list[str]]:
    masks: dict[str, Path] = {}
    problems = []
    for path in _files(folder, description.file_ending):
        if stem(path) in masks:
            problems.append(
                f"case {stem(path)}: two masks of one name, {masks[stem(path)].name} and {path.name}"
            )
        masks[stem(path)] = path
    complete = []
    for name, files in images.items():
        mask = masks.pop(name, None)
        if mask is None:
            mask = folder / f"{name}{suffix(files[0])}"
            problems.append(f"case {name}: mask {mask} is missing")
        complete.append(CaseFiles(name=name, images=files, mask=mask))
    problems += [
        f"case {name}: mask {path} has no image{_expected(images, name)}"
        for name, path in sorted(masks.items())
    ]
    return complete, problems


def _expected(images: dict[str, tuple[Path, ...]], name: str) -> str:
    """Say which files a case's images would be, after the pattern of another case's."""
    for other, files in images.items():
        paths = [str(path.with_name(name + path.name.removeprefix(other))) for path in files]
        return f": {' and '.join(paths)} {'is' if len(paths) == 1 else 'are'} missing"
    return ""
