"""BIDS: images in ``sub-*/[ses-*/]anat``, masks in ``derivatives/<pipeline>/sub-*/[ses-*/]anat``.

A case is one subject, or one session of it. Its channels are the ``anat`` images (``_T1w``, ``_FLAIR``,
``_acq-fine_T2w``, …), the same for every case. Derivatives that are read:

- ``…_dseg`` (labels) and ``…_mask`` (0 and 1), of one annotator or without ``desc-``: the reference;
- several of them with ``desc-<annotator>``: one rater each; ``desc-consensus`` stays the reference;
- ``…_probseg``: class weights, class last, or the weight of the only foreground class;
- several of them with ``label-<name>``: the weight of one foreground class each.

Label names come from ``dseg.tsv`` (columns ``index``, ``name``) or from ``label-<name>`` of masks or weights;
weights of a class per file are read in their order, which without ``dseg.tsv`` is the alphabet's.

References:
    Gorgolewski et al. (2016), The brain imaging data structure, Scientific Data 3:160044,
    doi:10.1038/sdata.2016.44. Derivatives: BIDS specification 1.9, "Imaging data types: segmentations".
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sfumato.data.case import CaseFiles, Dataset
from sfumato.data.readers.files import NIFTI, stem, suffix
from sfumato.data.readers.layout import PublicLayout, folders_named, missing, visible
from sfumato.data.readers.masks import labels_in
from sfumato.errors import FileFormatError

_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")
_SESSION = re.compile(r"ses-[A-Za-z0-9]+")
_PLACE = ("sub", "ses")
_FOLDERS = ("anat", "ct")
_ANNOTATIONS = ("dseg", "mask", "probseg")
_REFERENCE = "consensus"
_BRAIN = "brain"  # desc-brain_mask is the skull-stripping mask of common pipelines, no annotation.


@dataclass(frozen=True)
class _File:
    """A BIDS file name, taken apart: ``sub-01_desc-a_dseg`` is two entities and a suffix."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def case(self) -> str:
        """``sub-01`` or ``sub-01_ses-02``."""
        return "_".join(f"{key}-{self.entities[key]}" for key in _PLACE if key in self.entities)

    @property
    def channel(self) -> str:
        """What tells this image from the case's others, such as ``T1w`` or ``acq-fine_T2w``."""
        others = [f"{key}-{value}" for key, value in self.entities.items() if key not in _PLACE]
        return "_".join([*others, self.suffix])


def _files(root: Path) -> list[_File]:
    """Read the names of every image of every subject and session under ``root``, sorted by path."""
    files = []
    for subject in folders_named(root, _SUBJECT):
        for place in (subject, *folders_named(subject, _SESSION)):
            for folder in _FOLDERS:
                paths = [path for path in visible(place / folder) if suffix(path) in NIFTI]
                files += [file for path in paths if (file := _parsed(path)) is not None]
    return files


def _parsed(path: Path) -> _File | None:
    *pairs, last = stem(path).split("_")
    if not pairs or not all("-" in pair for pair in pairs):
        return None
    return _File(path, dict(pair.split("-", 1) for pair in pairs), last)


@dataclass(frozen=True)
class _Derivatives:
    """The masks of all cases, by case: references, raters' masks by annotator, class weights."""

    references: Mapping[str, list[_File]]
    raters: Mapping[str, Mapping[str, list[_File]]]
    weights: Mapping[str, list[_File]]
    rater_names: tuple[str, ...]


def _derivatives(files: Iterable[_File]) -> _Derivatives:
    files = [file for file in files if file.suffix in _ANNOTATIONS and file.entities.get("desc") != _BRAIN]
    hard = [file for file in files if file.suffix != "probseg"]
    annotators = sorted({file.entities["desc"] for file in hard if "desc" in file.entities} - {_REFERENCE})
    # A single annotator is no rater among others: that mask is the reference.
    raters = annotators if len(annotators) > 1 else []
    references: dict[str, list[_File]] = defaultdict(list)
    per_rater: dict[str, dict[str, list[_File]]] = defaultdict(lambda: defaultdict(list))
    weights: dict[str, list[_File]] = defaultdict(list)
    for file in files:
        if file.suffix == "probseg":
            weights[file.case].append(file)
        elif file.entities.get("desc") in raters:
            per_rater[file.case][file.entities["desc"]].append(file)
        else:
            references[file.case].append(file)
    return _Derivatives(references, per_rater, weights, tuple(raters))


def _single(files: list[_File], what: str, case: str, problems: list[str]) -> Path | None:
    """Return the only file there should be; several are a problem, none is ``None``."""
    if len(files) > 1:
        names = ", ".join(str(file.path) for file in files)
        problems.append(f"case {case}: several files are {what}: {names}: expected one that holds all labels")
    return files[0].path if files else None


def _weights(
    files: list[_File], case: str, label_names: Mapping[int, str] | None, problems: list[str]
) -> tuple[Path, ...]:
    """Return the one file of all classes, or one file per foreground class in the labels' order."""
    if len(files) < 2:
        return tuple(file.path for file in files)
    by_label: dict[str, list[_File]] = defaultdict(list)
    for file in files:
        by_label[file.entities.get("label", "")].append(file)
    wanted = tuple(name for index, name in sorted((label_names or {}).items()) if index)
    if set(by_label) != set(wanted) or len(files) > len(wanted):
        names = ", ".join(str(file.path) for file in files)
        expected = ", ".join(f"label-{name}" for name in wanted) or "label-<name>"
        problems.append(
            f"case {case}: several files are the class weights: {names}: expected one that holds "
            f"all classes, or one for each of {expected}"
        )
        return ()
    return tuple(by_label[name][0].path for name in wanted)


def _case(
    name: str,
    images: Mapping[str, Path],
    channels: Iterable[str],
    masks: _Derivatives,
    label_names: Mapping[int, str] | None,
) -> tuple[CaseFiles, list[str]]:
    beside = next(iter(images.values()))
    paths = tuple(images.get(channel, beside.with_name(f"{name}_{channel}.nii.gz")) for channel in channels)
    problems = missing(name, paths)
    per_rater = masks.raters.get(name, {})
    raters = [
        _single(per_rater.get(rater, []), f"rater {rater}'s mask", name, problems)
        for rater in masks.rater_names
    ]
    mask = _single(masks.references.get(name, []), "the reference mask", name, problems)
    soft = _weights(masks.weights.get(name, []), name, label_names, problems)
    for rater, path in zip(masks.rater_names, raters, strict=True):
        if path is None:
            problems.append(f"case {name}: mask {name}_desc-{rater}_dseg.nii.gz is missing in derivatives")
    if masks.references and not raters and mask is None:
        problems.append(f"case {name}: mask {name}_dseg.nii.gz is missing in derivatives")
    if masks.weights and not masks.weights.get(name):
        problems.append(f"case {name}: weights {name}_probseg.nii.gz are missing in derivatives")
    files = CaseFiles(
        name=name,
        images=paths,
        mask=mask,
        rater_masks=tuple(path for path in raters if path is not None),
        raters=tuple(index for index, path in enumerate(raters) if path is not None),
        group=name.split("_")[0],
        soft=soft,
    )
    return files, problems


def _label_names(root: Path, derived: Iterable[_File]) -> dict[int, str] | None:
    """Find the labels' names: in ``dseg.tsv``, those of weights, or two where every mask is 0 and 1."""
    for table in (root / "dseg.tsv", *sorted((root / "derivatives").glob("**/*dseg.tsv"))):
        if table.is_file() and not table.name.startswith("."):
            return _table(table)
    files = [file for file in derived if file.suffix in _ANNOTATIONS]
    if not files or any(file.suffix == "dseg" for file in files):
        return None
    names = sorted({file.entities["label"] for file in files if "label" in file.entities})
    if all(file.suffix == "probseg" for file in files):
        # Weights of all classes in one file have no names: they are counted.
        return dict(enumerate(["background", *names])) if names else None
    return {0: "background", 1: names[0] if len(names) == 1 else "foreground"}


def _table(path: Path) -> dict[int, str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = {int(row["index"]): row["name"] for row in csv.DictReader(file, delimiter="\t")}
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} is no table of labels: expected columns index and name") from error
    rows.setdefault(0, "background")
    if sorted(rows) != list(range(len(rows))):
        raise FileFormatError(f"{path} lists labels {sorted(rows)}: expected 0 .. K-1 without a gap")
    return dict(sorted(rows.items()))


def _scan(root: Path) -> tuple[Dataset, list[str]]:
    images: dict[str, dict[str, Path]] = defaultdict(dict)
    problems: list[str] = []
    for file in _files(root):
        if file.channel in images[file.case]:
            problems.append(f"case {file.case}: {file.path} lies there twice, as .nii and as .nii.gz")
        images[file.case][file.channel] = file.path
    pipelines = [path for path in visible(root / "derivatives") if path.is_dir()]
    derived = [file for pipeline in pipelines for file in _files(pipeline)]
    masks = _derivatives(derived)
    channels = sorted({channel for paths in images.values() for channel in paths})
    label_names = _label_names(root, derived)
    listed = [_case(name, images[name], channels, masks, label_names) for name in sorted(images)]
    cases = tuple(files for files, _ in listed)
    annotated = {*masks.references, *masks.raters, *masks.weights}
    problems += [
        f"case {name}: there are masks of it in derivatives, but {root} has no image "
        f"{name}_{channels[0]}.nii.gz"
        for name in sorted(annotated - set(images))
        if channels
    ]
    return Dataset(
        name=root.resolve().name,
        cases=cases,
        label_names=label_names or labels_in(cases),
        channel_names=tuple(channels),
        rater_names=masks.rater_names,
        root=root,
    ), problems + [one for _, more in listed for one in more]


LAYOUT = PublicLayout(
    title="BIDS",
    expected_cases=None,
    expects="folders sub-<name>/anat (or sub-<name>/ses-<name>/anat) of images, and their masks in "
    "derivatives/<pipeline>/sub-<name>/anat as <case>[_desc-<annotator>]_dseg, _mask or _probseg",
    recognises=lambda folder: any(
        (place / name).is_dir()
        for subject in folders_named(folder, _SUBJECT)
        for place in (subject, *folders_named(subject, _SESSION))
        for name in _FOLDERS
    ),
    scan=_scan,
)
