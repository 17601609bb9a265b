"""The user's folders for an experiment: which is which, what is wrong with them, which cases are drawn."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset, SliceStack
from sfumato.data.dataset import scan_dataset
from sfumato.data.inspection import Inspection, inspect_dataset
from sfumato.errors import DataError, InputError, OutputExistsError, SfumatoError
from sfumato.recipe.recipe import Recipe
from sfumato.reproduction.experiments import DataPart, Draw, Experiment
from sfumato.reproduction.misfits import misfits

Progress = Callable[[int, int], None]
AXIAL = {
    "brats2019": 2,
    "brats2020": 2,
    "flare2021": 2,
    "kits2019": 0,
    "msseg2016": 2,
    "prostatex": 2,
    "scgm": 2,
}
"""The stored axis recipes expect the axial slices along. LIDC's crops are cubes, LGG's files say none."""
_ORDINALS = ("first", "second", "third")
_NAMED = 3  # cases in a note


@dataclass(frozen=True)
class Source:
    """One folder of the user's, and the data set of the experiment that it holds.

    Attributes:
        part: The data set.
        path: The folder.
        layout: The layout that it is read as.
        dataset: Its cases; only the drawn ones where the experiment draws some.
        drawn: Some cases were left out by the draw.
        problems: What is wrong with its layout, one sentence each.
    """

    part: DataPart
    path: str
    layout: str
    dataset: Dataset
    drawn: bool
    problems: tuple[str, ...]


def find_sources(experiment: Experiment, paths: Sequence[str], layouts: Sequence[str] = ()) -> list[Source]:
    """Find out which data set of an experiment each folder holds.

    Args:
        experiment: What the folders are for.
        paths: The folders.
        layouts: The layout of each, as for ``--dataset``; empty: every folder is tried as each of the
            experiment's own layouts. A layout that is not the experiment's (``nnunet``, ``csv``) stands
            for its only data set.

    Raises:
        InputError: not one layout per folder, two folders for one data set, or a folder that may be several.
        FileFormatError: a folder holds none of the experiment's data sets.
    """
    if layouts and len(layouts) != len(paths):
        raise InputError(
            f"there are {len(paths)} --data and {len(layouts)} --dataset: give one --dataset for each, "
            "in the same order, or none"
        )
    sources: dict[str, Source] = {}
    for path, layout in zip(paths, layouts or [""] * len(paths), strict=True):
        source = _read_as(experiment, path, layout) if layout else _recognised(experiment, path)
        if source.part.layout in sources:
            other = sources[source.part.layout].path
            raise InputError(f"{other} and {path} are both {source.part.dataset}: give one --data for it")
        sources[source.part.layout] = source
    return [sources[part.layout] for part in experiment.content.data if part.layout in sources]


def _read_as(experiment: Experiment, path: str, layout: str) -> Source:
    parts = experiment.content.data
    known = [part.layout for part in parts]
    if layout not in known and len(parts) > 1:
        raise InputError(
            f"--dataset {layout} does not say which data set of {experiment.name} it is: {', '.join(known)}"
        )
    part = experiment.part(layout) if layout in known else parts[0]
    return _scanned(part, path, layout)


def _scanned(part: DataPart, path: str, layout: str) -> Source:
    dataset, problems = scan_dataset(path, layout=layout)
    draw = part.draw
    if draw is None or len(dataset.cases) <= draw.cases:
        return Source(part, path, layout, dataset, drawn=False, problems=tuple(problems))
    chosen = replace(dataset, cases=tuple(_chosen(dataset, draw)))
    return Source(part, path, layout, chosen, drawn=True, problems=tuple(problems))


def _recognised(experiment: Experiment, path: str) -> Source:
    parts = experiment.content.data
    if len(parts) == 1:
        return _scanned(parts[0], path, parts[0].layout)
    sources: list[Source] = []
    reasons: list[str] = []
    for part in parts:
        try:
            source = _scanned(part, path, part.layout)
        except SfumatoError as error:
            reasons.append(str(error))
        else:
            sources += [source] if source.dataset.cases else []
    if not sources:
        raise InputError(
            f"{path} is none of the data sets of {experiment.name}:\n  "
            + "\n  ".join(reasons or ["it is empty"])
        )
    # A folder that is read without complaint as one layout is not another one that is broken.
    least = min(len(source.problems) for source in sources)
    best = [source for source in sources if len(source.problems) == least]
    if len(best) > 1:
        names = ", ".join(source.layout for source in best)
        raise InputError(f"{path} may be {names}: say which with --dataset")
    return best[0]


def require_sound(
    sources: Sequence[Source],
    *,
    recipes: Mapping[str, Sequence[Recipe]] | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Read every file of every data set to its last byte, before anything is trained.

    Args:
        sources: The data sets.
        recipes: What is to be trained on each, by its layout.
        progress: Called with the number of cases read and of all cases, data set by data set.

    Returns:
        What deserves a look, one sentence each; also which cases store their axial slices along another axis
        than the recipes' crops and slices are made for.

    Raises:
        DataError: every way in which the data are not what the recipes and tables are for, every missing or
            damaged file and every wrong label value, of all data sets.
    """
    problems: list[str] = []
    warnings: list[str] = []
    for source in sources:
        seen = inspect_dataset(source.dataset, progress=progress)
        wanted = (recipes or {}).get(source.part.layout, ())
        said = misfits(source.part, source.dataset, wanted, axes=map(len, seen.shapes))
        said += source.problems
        # A missing file is among the problems of the layout already.
        said += [
            problem
            for problem in seen.problems
            if not any(_same(problem, other) for other in source.problems)
        ]
        problems += [f"{source.part.dataset}: {problem}" for problem in said]
        notes = (*seen.warnings, *_turned(seen, AXIAL.get(source.part.layout)))
        warnings += [f"{source.part.dataset}: {note}" for note in notes]
        expected = source.dataset.expected_cases
        if not source.drawn and expected is not None and expected != len(source.dataset.cases):
            warnings.append(
                f"{source.part.dataset}: {len(source.dataset.cases)} cases of {expected}; "
                "the published split is scaled in proportion"
            )
    if problems:
        raise DataError(problems)
    return warnings


def _turned(seen: Inspection, expected: int | None) -> list[str]:
    """Say which volumes are stored in another order of axes than the recipes expect."""
    others = [(name, axis) for name, axis in seen.axial_axes.items() if axis != expected]
    if expected is None or not others:
        return []
    named = ", ".join(f"{name} ({_ORDINALS[axis]})" for name, axis in others[:_NAMED])
    more = ", …" if len(others) > _NAMED else ""
    return [
        f"{len(others)} of {len(seen.axial_axes)} cases do not store their axial slices along the "
        f"{_ORDINALS[expected]} axis, for which the recipes' crops and slices are made: {named}{more}"
    ]


def _same(problem: str, other: str) -> bool:
    if not problem.endswith(" does not exist"):
        return problem == other
    return problem.removesuffix(" does not exist").split(": ", 1)[-1] in other


def data_folder(source: Source, links: Path) -> str:
    """Return the folder that a training of this data set reads.

    Args:
        source: The data set.
        links: Where some of its cases are drawn: a folder of links to these, in the data set's own layout.
            It is made, or resumed if it holds the same cases.

    Raises:
        OutputExistsError: the folder of links holds other cases.
    """
    if not source.drawn:
        return source.path
    root, made = source.dataset.root.resolve(), set()
    for files in source.dataset.cases:
        place = _folder(files).resolve()
        link = links / place.relative_to(root)
        made.add(link)
        if not link.is_symlink():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(place, target_is_directory=True)
    strangers = sorted(path.name for path in links.rglob("*") if path.is_symlink() and path not in made)
    if strangers:
        raise OutputExistsError(
            f"{links} holds links to other cases ({', '.join(strangers[:3])}): it was made for another data "
            "folder; give another --out"
        )
    return str(links)


def _chosen(dataset: Dataset, draw: Draw) -> list[CaseFiles]:
    inside = [files for files in dataset.cases if draw.within in _folder(files).parts]
    if len(inside) < 3:
        raise InputError(
            f"{dataset.root} has {len(inside)} cases below a folder {draw.within}: {draw.cases} are drawn"
        )
    random.Random(draw.seed).shuffle(inside)
    return sorted(inside[: draw.cases], key=lambda files: files.name)


def _folder(files: CaseFiles) -> Path:
    first = files.images[0]
    return (first.paths[0] if isinstance(first, SliceStack) else first).parent
