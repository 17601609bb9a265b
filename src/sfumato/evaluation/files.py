"""The files of a folder of predictions and of their references, and how they belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato.checks import require_choice
from sfumato.data import open_dataset
from sfumato.data.case import Dataset, VolumePath
from sfumato.data.readers.description import read_description, read_object
from sfumato.data.readers.files import stem, suffix
from sfumato.data.readers.layouts import layout_of, wrapped_layout
from sfumato.data.readers.masks import whole_values
from sfumato.errors import FileFormatError, InputError
from sfumato.structures import TARGET_KINDS, Structures
from sfumato.types import Spacing

DESCRIPTION = "prediction.json"


@dataclass(frozen=True)
class ReferenceFiles:
    """The reference of one case: a consensus, raters, or both; class weights where there is neither."""

    mask: VolumePath | None
    raters: Mapping[str, Path]
    weights: tuple[Path, ...] = ()

    @property
    def masks(self) -> tuple[VolumePath, ...]:
        """The masks of all, the consensus first."""
        return (*(() if self.mask is None else (self.mask,)), *self.raters.values())


@dataclass(frozen=True)
class References:
    """What the predictions are compared with."""

    name: str  # the data set's name
    cases: Mapping[str, ReferenceFiles]  # the files of every case
    label_names: Mapping[int, str] | None  # name of every label; None: declared nowhere
    # Region name to the labels that form it, where the data declare any.
    regions: Mapping[str, tuple[int, ...]] | None
    spacing: Spacing | None  # for pictures, which state none
    label_values: Mapping[int, int] | None = None  # stored value to label, where they differ
    complete: bool = False  # every case must have a prediction; a data set also holds training cases


@dataclass(frozen=True)
class PredictionFiles:
    """The predictions of one model: a folder, or one file."""

    hard: Mapping[str, Path]  # every case's labels or masks
    soft: Mapping[str, Path]  # the soft predictions there are
    description: Mapping[str, Any]  # what ``prediction.json`` says; empty for other people's predictions

    @property
    def regions(self) -> dict[str, tuple[int, ...]] | None:
        """The regions that the predictions say they were made for, one channel each; None: they say none."""
        regions = self.description.get("regions")
        return {name: tuple(labels) for name, labels in regions.items()} if regions else None


Pairs = Mapping[str, tuple[Path, ReferenceFiles]]


def find_references(reference: Path | str | Dataset) -> References:
    """List the reference masks: a data set of any layout, a folder of masks, or one mask.

    Args:
        reference: Where they are, or a data set that was opened already.

    Raises:
        FileFormatError: There is nothing at the path, or no mask in it.
        DataError: The data set has problems; all of them are listed.
    """
    if isinstance(reference, Dataset):
        return _of_dataset(reference)
    place = Path(reference)
    if str(reference).startswith("sample:") or place.suffix.lower() == ".csv" or _is_data(place):
        return _of_dataset(open_dataset(reference))
    masks = _volumes(place, "reference")
    description = read_description(place if place.is_dir() else place.parent)
    if description.label_names is None:
        description = read_description(place.resolve().parent)
    return References(
        name=description.name or (place.resolve().name if place.is_dir() else stem(place)),
        cases={name: ReferenceFiles(mask, {}) for name, mask in masks.items()},
        label_names=description.label_names,
        regions=description.regions,
        spacing=description.spacing,
        complete=True,
    )


def _is_data(place: Path) -> bool:
    own = (place / "manifest.csv").exists() or (place / "imagesTr").is_dir()
    return own or (place.is_dir() and (layout_of(place) is not None or wrapped_layout(place) is not None))


def _of_dataset(dataset: Dataset) -> References:
    cases: dict[str, ReferenceFiles] = {}
    for files in dataset.cases:
        raters = dict(zip(dataset.raters_of(files.name), files.rater_masks, strict=True))
        # A mask that is one of the raters' is no consensus of them.
        consensus = None if files.mask in files.rater_masks else files.mask
        if consensus or raters:
            cases[files.name] = ReferenceFiles(consensus, raters)
        elif files.soft:
            cases[files.name] = ReferenceFiles(None, {}, files.soft)
    declared = dataset.label_names, dataset.regions, dataset.spacing, dataset.label_values
    return References(dataset.name, cases, *declared)


def find_predictions(place: Path) -> PredictionFiles:
    """List ``<case>.nii.gz`` and ``<case>_soft.nii.gz`` of a folder, or of the folder of one file.

    Raises:
        FileFormatError: There is no prediction, or ``prediction.json`` is damaged.
    """
    volumes = _volumes(place, "prediction")
    folder = place if place.is_dir() else place.parent
    around = volumes if place.is_dir() else _volumes(folder, "prediction")
    hard = {name: path for name, path in volumes.items() if not _is_extra(name, around)}
    if not hard:
        raise FileFormatError(f"{place} holds no hard prediction: expected <case>.nii.gz")
    description = _description(folder / DESCRIPTION)
    # The predictions say that they have no soft ones: such a file was left there by others.
    left = "soft" in description and description["soft"] is None
    soft = {} if left else {name: around[f"{name}_soft"] for name in hard if f"{name}_soft" in around}
    return PredictionFiles(hard, soft, description)


def _is_extra(name: str, names: Mapping[str, Path]) -> bool:
    """Return whether a file is a soft prediction or an uncertainty map beside the hard prediction."""
    bare = name.removesuffix("_soft").split("_uncertainty-")[0]
    return bare != name and bare in names


def _description(path: Path) -> Mapping[str, Any]:
    content = read_object(path, holding="method and kind")
    if "kind" in content:
        require_choice(f"kind of prediction in {path}", str(content["kind"]), TARGET_KINDS)
    _require_regions(content.get("regions"), path)
    tolerance_mm = content.get("tolerance_mm", 1.0)
    if not isinstance(tolerance_mm, int | float) or not tolerance_mm > 0:
        raise FileFormatError(f"{path} has tolerance_mm {tolerance_mm!r}: expected millimetres above 0")
    return content


def _require_regions(regions: object, path: Path) -> None:
    if regions is None:
        return
    groups = list(regions.values()) if isinstance(regions, dict) else [None]
    if not all(isinstance(group, list) and all(isinstance(one, int) for one in group) for group in groups):
        raise FileFormatError(f"{path} has regions {regions}: expected the labels of each, by its name")


def _volumes(place: Path, what: str) -> dict[str, Path]:
    if not place.exists():
        raise FileFormatError(f"{what} {place} does not exist: expected a file or a folder of files")
    paths = [place] if place.is_file() else sorted(place.iterdir())
    files: dict[str, Path] = {}
    for path in paths:
        if path.name.startswith(".") or not path.is_file() or not suffix(path):
            continue
        if stem(path) in files:
            raise FileFormatError(
                f"{what} {stem(path)} is there twice: {files[stem(path)].name} and {path.name} in {place}"
            )
        files[stem(path)] = path
    if not files:
        raise FileFormatError(f"{what} {place} holds no image file, such as <case>.nii.gz")
    return files


def paired(predictions: PredictionFiles, references: References, *, partial: bool) -> tuple[Pairs, list[str]]:
    """Match predictions and references by case name.

    Args:
        predictions: The predictions.
        references: The references.
        partial: Allow references without a prediction; a data set always may have them.

    Returns:
        The pairs, and one sentence per file without a partner.
    """
    hard, masks = predictions.hard, references.cases
    if len(hard) == len(masks) == 1 and references.complete:
        # Two single files belong together whatever their names.
        return {next(iter(masks)): (next(iter(hard.values())), next(iter(masks.values())))}, []
    problems = [
        f"case {case}: prediction {path} has no reference in {references.name}"
        for case, path in hard.items()
        if case not in masks
    ]
    if references.complete and not partial:
        problems += [
            f"case {case}: reference {files.mask} has no prediction; --partial leaves it out"
            for case, files in masks.items()
            if case not in hard
        ]
    return {case: (path, masks[case]) for case, path in hard.items() if case in masks}, problems


def structures_of(predictions: PredictionFiles, references: References, pairs: Pairs) -> Structures:
    """Return the structures to score.

    The labels are those that the references or the predictions declare, else those that the files hold. The
    regions are those that the predictions were made for, else the references'.

    Raises:
        InputError: Predictions and references declare different labels, a region holds labels that are not
            declared, or there is no label but the background.
    """
    names = _label_names(predictions, references, pairs)
    if not any(names):
        raise InputError(
            f"no file holds a label above 0, and {references.name} declares none: nothing to score"
        )
    regions = predictions.regions or references.regions
    for name, labels in (regions or {}).items():
        unknown = sorted(set(labels) - set(names))
        if unknown:
            raise InputError(
                f"region {name} is formed of labels {sorted(labels)}, but {unknown} are not among the labels "
                f"{sorted(names)} of {references.name}"
            )
    return Structures(names, regions)


def _label_names(predictions: PredictionFiles, references: References, pairs: Pairs) -> dict[int, str]:
    declared, described = references.label_names, predictions.description.get("label_names") or {}
    said = {int(label): str(name) for label, name in described.items()}
    if declared is not None and said and set(said) != set(declared):
        raise InputError(
            f"the predictions were made for labels {sorted(said)}, but {references.name} declares "
            f"{sorted(declared)}"
        )
    if declared is not None or said:
        return dict(declared or said)
    values: set[int] = {0}
    for path in (path for hard, files in pairs.values() for path in (hard, *files.masks)):
        stored = whole_values(path)
        values |= {0, 1} if stored == {0, 255} else stored  # white on black is one label
    return {label: f"label {label}" if label else "background" for label in sorted(values)}
