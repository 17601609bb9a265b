"""What the reader of a public data set's own layout is made of, and what the readers share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.readers.files import NIFTI, stem, suffix
from sfumato.types import Spacing

_MOST_LISTED = 10  # Names in one note.


@dataclass(frozen=True)
class PublicLayout:
    """How one public data set lies on disk.

    Attributes:
        title: The data set's name, as tables print it.
        expected_cases: Number of cases in the public release; ``None`` for a layout without one.
        expects: What the folder must hold, in words: how it is recognised, and what an error says.
        recognises: Does this very folder hold the cases?
        scan: List the cases of such a folder, without reading them: the data set and one sentence
            per problem.
        channels: The image's channels; empty where only the files tell.
        labels: Name of every class; empty where only the files tell.
        raters: Name of every rater; empty with a single mask.
        regions: Region name to the labels that form it; ``None``: one region per foreground label.
        stored_values: Stored mask value to class index, where the two differ.
    """

    title: str
    expected_cases: int | None
    expects: str
    recognises: Callable[[Path], bool]
    scan: Callable[[Path], tuple[Dataset, list[str]]]
    channels: tuple[str, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    raters: tuple[str, ...] = ()
    regions: Mapping[str, tuple[int, ...]] | None = None
    stored_values: Mapping[int, int] | None = None

    def dataset(
        self,
        root: Path,
        cases: Iterable[CaseFiles],
        *,
        notes: Iterable[str] = (),
        spacing: Spacing | None = None,
    ) -> Dataset:
        """Join cases to the data set that the layout describes."""
        return Dataset(
            name=self.title,
            cases=tuple(sorted(cases, key=lambda files: files.name)),
            label_names=self.labels,
            channel_names=self.channels,
            root=root,
            regions=self.regions,
            rater_names=self.raters,
            spacing=spacing,
            expected_cases=self.expected_cases,
            label_values=self.stored_values,
            notes=tuple(notes),
        )


def visible(folder: Path) -> list[Path]:
    """List what lies in a folder, sorted, without hidden files; nothing where there is no folder."""
    # ._x.nii.gz lies beside every file of a Mac's archive.
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def folders_named(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    """List the subfolders whose whole name matches, sorted."""
    return [path for path in visible(folder) if pattern.fullmatch(path.name) and path.is_dir()]


def one_of(folder: Path, name: str, endings: Sequence[str] = NIFTI) -> Path:
    """Return the file ``name`` with the first of the endings it has, in lower or upper case.

    Where there is none, the path that it would have with the first ending.
    """
    paths = [folder / f"{name}{ending}" for ending in endings]
    there = [path for path in paths if path.is_file()] or _copies(folder, name, endings)
    return there[0] if there else paths[0]


def _copies(folder: Path, name: str, endings: Sequence[str]) -> list[Path]:
    """List the files of that name and any of the endings, ``.NII.GZ`` too, in the endings' order."""
    if not folder.is_dir():
        return []
    named = [path for path in folder.iterdir() if path.name.startswith(name)]
    there = [path for path in named if stem(path) == name and suffix(path) in endings and path.is_file()]
    return sorted(there, key=lambda path: (endings.index(suffix(path)), path.name))


def missing(case: str, paths: Iterable[Path]) -> list[str]:
    """Return one sentence per file that does not exist."""
    return [f"case {case}: {path} is missing" for path in paths if not path.is_file()]


def file_problems(case: str, paths: Sequence[Path], endings: Sequence[str] = NIFTI) -> list[str]:
    """Return one sentence per file that is missing, or lies there as ``.nii`` and as ``.nii.gz``, say."""
    problems = missing(case, paths)
    for path in paths:
        there = [copy.name for copy in _copies(path.parent, stem(path), endings)]
        if len(there) > 1:
            problems.append(f"case {case}: {' and '.join(there)} lie in {path.parent}: expected one of them")
    return problems


def absent_note(
    present: Iterable[str], expected: Iterable[str], *, of: str = "the release"
) -> tuple[str, ...]:
    """Return a note on the cases of the public release that are not there; none where all are.

    Args:
        present: Names that are there.
        expected: Every name of the release, or of a part of it, in order; neighbours are named as a range.
        of: What ``expected`` are the cases of.
    """
    there = set(present)
    runs = [list(run) for here, run in groupby(expected, key=there.__contains__) if not here]
    if not runs:
        return ()
    named = [f"{run[0]} .. {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs]
    count = sum(map(len, runs))
    said = f"1 case of {of} is" if count == 1 else f"{count} cases of {of} are"
    return (f"{said} not here: {listed(named, 'gaps')}",)


def fewer_note(groups: Iterable[str], expected: Mapping[str, int]) -> tuple[str, ...]:
    """Return a note on the groups with fewer cases than the public release has; none where all are whole.

    For releases whose names tell no more than that.

    Args:
        groups: The group of every case that is there: a centre, a grade.
        expected: Number of cases of every group of the release.
    """
    there = Counter(groups)
    fewer = [
        f"{group} {there[group]} of {count}" for group, count in expected.items() if there[group] < count
    ]
    return (f"fewer cases are here than in the release: {', '.join(fewer)}",) if fewer else ()


def listed(names: Iterable[str], of: str = "") -> str:
    """Join names with commas; beyond the tenth, say how many more (``of`` what)."""
    every = list(names)
    more = f" and {len(every) - _MOST_LISTED} more {of}".rstrip() if len(every) > _MOST_LISTED else ""
    return ", ".join(every[:_MOST_LISTED]) + more
