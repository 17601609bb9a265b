"""The public data sets whose own layouts are read: the one table that names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sfumato.data.case import Dataset
from sfumato.data.readers import (
    bids,
    brats2019,
    brats2020,
    flare2021,
    kits2019,
    lgg,
    lidc,
    msseg2016,
    prostatex,
    scgm,
)
from sfumato.data.readers.layout import PublicLayout, listed, visible
from sfumato.errors import FileFormatError

LAYOUTS: Mapping[str, PublicLayout] = {
    "brats2019": brats2019.LAYOUT,
    "brats2020": brats2020.LAYOUT,
    "flare2021": flare2021.LAYOUT,
    "kits2019": kits2019.LAYOUT,
    "prostatex": prostatex.LAYOUT,
    "lidc": lidc.LAYOUT,
    "scgm": scgm.LAYOUT,
    "msseg2016": msseg2016.LAYOUT,
    "lgg": lgg.LAYOUT,
    "bids": bids.LAYOUT,
}

# An archive wraps its cases in a folder or two that hold little else; a folder of cases is not looked into.
_MOST_WRAPPED = 20
_DEPTH = 2
_OUTER = 3  # Center_01/Patient_01/Masks of MSSEG is the deepest folder of files.


def layout_of(folder: Path) -> str | None:
    """Return the layout of this very folder; ``None`` where it has none of the table's."""
    return next((name for name, layout in LAYOUTS.items() if layout.recognises(folder)), None)


def wrapped_layout(root: Path) -> tuple[str, Path] | None:
    """Find the folder, inside ``root``, that has a layout of the table: its name and the folder.

    Raises:
        FileFormatError: there are several at the same depth.
    """
    for level in _levels(root):
        folders = [(name, folder) for folder in level if (name := layout_of(folder)) is not None]
        if folders:
            return _only(root, folders)
    return None


def layout_around(folder: Path) -> tuple[str, Path] | None:
    """Find the data set that a folder is only a part of: its title and its own folder.

    ``HGG`` of BraTS 2019, ``imagesTr`` of an nnU-Net folder or the folder of a single case, for instance.
    """
    for outer in list(folder.resolve().parents)[:_OUTER]:
        try:
            name = layout_of(outer)
        except OSError:
            return None  # What may not be looked into is not the user's data set.
        if name is not None:
            return LAYOUTS[name].title, outer
        if (outer / "imagesTr").is_dir() and folder.resolve().parent == outer:
            return "an nnU-Net folder", outer
    return None


def looks_like(root: Path) -> str:
    """Say where the data set may be that was not found in a folder, as the end of a sentence; or nothing."""
    name = layout_of(root)
    if name is not None:
        return f"; it looks like {LAYOUTS[name].title} (--dataset {name})"
    for level in _levels(root) if root.is_dir() else ():
        for folder in level:
            name = layout_of(folder)
            if name is not None:
                return f"; {folder} looks like {LAYOUTS[name].title} (--dataset {name})"
            if (folder / "imagesTr").is_dir():
                return f"; {folder} looks like an nnU-Net folder (--dataset nnunet)"
    around = layout_around(root)
    return f"; it is a part of {around[1]}, which looks like {around[0]}: give that folder" if around else ""


def scan_layout(root: Path, name: str) -> tuple[Dataset, list[str]]:
    """List the cases of a folder that has this layout, or of the folder inside it that has.

    Raises:
        FileFormatError: neither has; what was expected, and what lies there. Or there are several.
    """
    layout = LAYOUTS[name]
    levels = ([root], *_levels(root)) if root.is_dir() else ()
    matches = ([(name, one) for one in level if layout.recognises(one)] for level in levels)
    folders = next((match for match in matches if match), None)
    if folders is None:
        raise FileFormatError(_not_laid_out(root, layout))
    folder = _only(root, folders)[1]
    dataset, problems = layout.scan(folder)
    if not dataset.cases:
        problems = [*problems, f"{folder} holds no case with a mask: expected {layout.expects}"]
    return dataset, problems


def _only(root: Path, folders: Sequence[tuple[str, Path]]) -> tuple[str, Path]:
    if len(folders) > 1:
        names = listed(f"{folder} ({LAYOUTS[name].title})" for name, folder in folders)
        raise FileFormatError(f"folder {root} holds {len(folders)} data sets: {names}: give one of them")
    return folders[0]


def _levels(root: Path) -> Iterator[list[Path]]:
    """Yield the folders inside ``root``, one depth after the other, as deep as archives wrap."""
    level = [root]
    for _ in range(_DEPTH):
        inside = [[path for path in visible(folder) if path.is_dir()] for folder in level]
        level = [path for paths in inside if len(paths) <= _MOST_WRAPPED for path in paths]
        yield level


def _not_laid_out(root: Path, layout: PublicLayout) -> str:
    if not root.is_dir():
        there = "it is a file"
    else:
        there = f"found {listed(path.name for path in visible(root)) or 'nothing'}{looks_like(root)}"
    return f"{root} does not hold {layout.title}: expected {layout.expects}; {there}"
