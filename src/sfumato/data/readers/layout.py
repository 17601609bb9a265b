"""What the reader of a public data set's own layout is made of, and what the readers share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sfumato.data.case import Dataset
from sfumato.data.readers.files import NIFTI

_MOST_LISTED = 10  # Names in one note.


@dataclass(frozen=True)
class Layout:
    """How one public data set lies on disk.

    Attributes:
        title: The data set's name, as tables print it.
        expected_cases: Number of cases in the public release; ``None`` for a layout without one.
        expects: What the folder must hold, in words: how it is recognised, and what an error says.
        recognises: Does this very folder hold the cases?
        scan: List the cases of such a folder, without reading them: the data set and one sentence
            per problem.
    """

    title: str
    expected_cases: int | None
    expects: str
    recognises: Callable[[Path], bool]
    scan: Callable[[Path], tuple[Dataset, list[str]]]


def visible(folder: Path) -> list[Path]:
    """Give what lies in a folder, sorted, without hidden files; nothing where there is no folder."""
    # ._x.nii.gz lies beside every file of a Mac's archive.
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def folders_named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """Give the subfolders whose whole name matches, sorted."""
    return [path for path in visible(folder) if pattern.fullmatch(path.name) and path.is_dir()]


def one_of(folder: Path, name: str, endings: Iterable[str] = NIFTI) -> Path:
    """Give the file ``name`` with the first of the endings it has; where there is none, the first."""
    paths = [folder / f"{name}{ending}" for ending in endings]
    return next((path for path in paths if path.is_file()), paths[0])


def missing(case: str, paths: Iterable[Path]) -> list[str]:
    """Give one sentence per file that does not exist."""
    return [f"case {case}: {path} is missing" for path in paths if not path.is_file()]


def doubled(case: str, paths: Iterable[Path], endings: Iterable[str] = NIFTI) -> list[str]:
    """Give one sentence per file that lies there with two endings, such as ``.nii`` and ``.nii.gz``."""
    problems = []
    for path in paths:
        name = next((path.name.removesuffix(one) for one in endings if path.name.endswith(one)), path.name)
        there = [name + ending for ending in endings if (path.parent / (name + ending)).is_file()]
        if len(there) > 1:
            problems.append(f"case {case}: {' and '.join(there)} lie in {path.parent}: expected one of them")
    return problems


def absent_note(found: Iterable[str], expected: Iterable[str]) -> tuple[str, ...]:
    """Give a note on the cases of the public release that are not there; none where all are."""
    there = set(found)
    absent = [name for name in expected if name not in there]
    return (f"{len(absent)} cases of the release are not here: {listed(absent)}",) if absent else ()


def listed(names: Iterable[str]) -> str:
    """Join names with commas; beyond the tenth, say how many more."""
    every = list(names)
    more = f" and {len(every) - _MOST_LISTED} more" if len(every) > _MOST_LISTED else ""
    return ", ".join(every[:_MOST_LISTED]) + more
