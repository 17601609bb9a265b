"""Divide cases into train, validation and test; seeded, by group, written to ``splits.json``."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from sfumato.checks import require_between, require_choice
from sfumato.data.case import Dataset
from sfumato.errors import DataError, FileFormatError, ValueRangeError
from sfumato.output import atomic_output

PARTS = ("train", "val", "test")
UNITS = ("case", "patient", "centre")
Unit = Literal["case", "patient", "centre"]


@dataclass(frozen=True)
class Split:
    """Names of the cases to train on, to choose by, and to judge by."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Splits:
    """One split, or one per fold of a cross-validation.

    Attributes:
        seed: The seed that shuffled the cases; ``None`` for lists that were given.
        splits: The split of every fold; a single one without cross-validation.
    """

    seed: int | None
    splits: tuple[Split, ...]

    def fold(self, number: int) -> Split:
        """Return the split of fold ``number``, counted from 0.

        Raises:
            ValueRangeError: there is no such fold.
        """
        if not 0 <= number < len(self.splits):
            raise ValueRangeError(f"fold is {number}, but there are {len(self.splits)} folds, counted from 0")
        return self.splits[number]


def make_splits(
    dataset: Dataset,
    *,
    seed: int,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    counts: Sequence[int] | None = None,
    by: Unit = "patient",
    folds: int | None = None,
) -> Splits:
    """Divide a data set into training, validation and test cases.

    The same names, seed and shares give the same split on every machine, in whatever order the
    files were found.

    Args:
        dataset: The cases.
        seed: Seed of the shuffle.
        fractions: Shares of train, validation and test that sum to 1.
        counts: Cases in each part, in place of ``fractions``; in proportion where they do not sum to the
            number of cases (:func:`count_note` then says so), and as near as undivided patients allow.
        by: What is never divided. ``patient``: the cases of one group stay together, a case without a
            group is its own. ``case``: each case by itself, whatever its group. ``centre``: fold ``i`` is
            tested on the ``i``-th centre by name, and the others are divided between train and validation
            as whole centres.
        folds: ``k`` for cross-validation: fold ``i`` is tested on the ``i``-th of ``k`` equal parts, and
            the rest is divided between train and validation as their shares are to each other. Of centres
            there is always one fold each: ``None``, or their number.

    Returns:
        The splits. A part with a share above 0 has at least one case.

    Raises:
        ValueRangeError: the shares do not sum to 1, or there are too few cases, groups or centres.
        DataError: ``by`` centre, but cases state none; all of them are listed.
    """
    shares = part_shares(fractions, counts)
    groups = _shuffled_groups(dataset, seed, by)
    if by == "centre":
        parts = _centre_parts(dataset, groups, folds)
    elif folds is None:
        return Splits(seed, (Split(*_divide(groups, shares)),))
    elif 2 <= folds <= len(groups):
        parts = [groups[number::folds] for number in range(folds)]
    else:
        raise ValueRangeError(
            f"folds is {folds}: it must lie in 2 .. {len(groups)}, the number of groups of cases"
        )
    total = shares[0] + shares[1]
    if total <= 0:
        raise ValueRangeError(f"fractions {tuple(fractions)} leave nothing to train on")
    splits = []
    for part in parts:
        rest = [group for group in groups if group not in part]
        train, val, _ = _divide(rest, (shares[0] / total, shares[1] / total, 0.0))
        splits.append(Split(train, val, _names(part)))
    return Splits(seed, tuple(splits))


def count_note(dataset: Dataset, counts: Sequence[int] | None) -> str | None:
    """Say in one sentence that counts were taken in proportion; ``None`` where they fit the data set."""
    if counts is None or sum(counts) == len(dataset.cases):
        return None
    return (
        f"split.counts {list(counts)} sum to {sum(counts)}, but {dataset.name} has {len(dataset.cases)} "
        "cases: they are divided in proportion"
    )


def explicit_splits(
    dataset: Dataset, *, train: Sequence[str], val: Sequence[str] = (), test: Sequence[str] = ()
) -> Splits:
    """Make a split of lists of case names.

    Raises:
        DataError: a name that the data set lacks, or that is listed twice; all of them are listed.
    """
    split = Split(tuple(train), tuple(val), tuple(test))
    _require_valid(dataset, split)
    return Splits(None, (split,))


def write_splits(splits: Splits, path: Path, *, overwrite: bool = False) -> None:
    """Write ``splits.json``: the seed and the names of every part of every fold."""
    with atomic_output(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(asdict(splits), indent=1) + "\n", encoding="utf-8")


def read_splits(path: Path, dataset: Dataset | None = None) -> Splits:
    """Read ``splits.json`` back.

    Besides what :func:`write_splits` writes, one split may stand alone: ``{"train": […], "val": […],
    "test": […]}``; nnU-Net's list of ``{"train", "val"}`` per fold is read as well.

    Raises:
        FileFormatError: missing, or not of this form.
        DataError: with ``dataset``: names that it lacks, or that are in two parts of one split.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        folds = content if isinstance(content, list) else content.get("splits", [content])
        splits = tuple(
            Split(*(tuple(str(name) for name in fold.get(part, ())) for part in PARTS)) for fold in folds
        )
        seed = content.get("seed") if isinstance(content, dict) else None
    except FileNotFoundError as error:
        raise FileFormatError(f"splits {path} does not exist") from error
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise FileFormatError(f"splits {path} is not of the form train, val, test: {error}") from error
    if not splits or not all(split.train or split.val or split.test for split in splits):
        raise FileFormatError(f"splits {path} names no cases: expected lists train, val and test")
    if dataset is not None:
        for split in splits:
            _require_valid(dataset, split)
    return Splits(seed, splits)


def _require_valid(dataset: Dataset, split: Split) -> None:
    known, seen, problems = set(dataset.names), set[str](), []
    for part in PARTS:
        for name in getattr(split, part):
            if name not in known:
                problems.append(f"{part}: the data set {dataset.name} has no case {name}")
            if name in seen:
                problems.append(f"{part}: case {name} is listed twice")
            seen.add(name)
    if problems:
        raise DataError(problems)


def part_shares(fractions: Sequence[float], counts: Sequence[int] | None) -> tuple[float, float, float]:
    """Return the shares of train, validation and test, of ``counts`` where they are given.

    Raises:
        ValueRangeError: not three, negative, ``fractions`` that do not sum to 1, or ``counts`` all 0.
    """
    if counts is not None:
        if len(counts) != 3 or min(counts) < 0 or sum(counts) == 0:
            raise ValueRangeError(
                f"counts is {tuple(counts)}: give the number of train, validation and test cases, not all 0"
            )
        fractions = [count / sum(counts) for count in counts]
    if len(fractions) != 3:
        raise ValueRangeError(f"fractions has {len(fractions)} values: give train, validation and test")
    for value in fractions:
        require_between("fractions", value, 0, 1)
    if abs(sum(fractions) - 1) > 1e-6:
        raise ValueRangeError(f"fractions {tuple(fractions)} sum to {sum(fractions):g}, not 1")
    train, val, test = map(float, fractions)
    return train, val, test


def _shuffled_groups(dataset: Dataset, seed: int, by: Unit) -> list[list[str]]:
    require_choice("unit of a split", by, UNITS)
    if by == "centre":
        _require_centres(dataset)
    groups: dict[tuple[bool, str], list[str]] = {}
    for files in dataset.cases:
        group = {"case": None, "patient": files.group, "centre": files.centre}[by]
        # A case without a group is its own, even if some group is called like it.
        groups.setdefault((group is not None, group or files.name), []).append(files.name)
    ordered = [sorted(names) for _, names in sorted(groups.items())]
    random.Random(seed).shuffle(ordered)
    # Large groups first: the small ones can then even out what is lacking.
    return sorted(ordered, key=len, reverse=True)


def _require_centres(dataset: Dataset) -> None:
    unknown = [files.name for files in dataset.cases if files.centre is None]
    if unknown:
        raise DataError(
            [
                f"case {name} states no centre: a split by centre needs every case's; split by patient"
                for name in unknown
            ]
        )


def _centre_parts(dataset: Dataset, groups: list[list[str]], folds: int | None) -> list[list[list[str]]]:
    """Return the test part of every fold: one centre each, in the order of their names."""
    centres = {files.name: str(files.centre) for files in dataset.cases}
    if folds not in (None, len(groups)):
        raise ValueRangeError(
            f"folds is {folds}, but {dataset.name} has {len(groups)} centres "
            f"({', '.join(sorted(set(centres.values())))}): give null, for one fold per centre"
        )
    return [[group] for group in sorted(groups, key=lambda group: centres[group[0]])]


def _divide(groups: list[list[str]], shares: Sequence[float]) -> list[tuple[str, ...]]:
    wanted = sum(share > 0 for share in shares)
    if len(groups) < wanted:
        raise ValueRangeError(f"{len(groups)} cases or groups cannot be divided into {wanted} parts")
    cases = sum(map(len, groups))
    parts: list[list[list[str]]] = [[] for _ in shares]
    # A part that would stay empty comes first; then each group goes where most is lacking.
    for position, group in enumerate(groups):
        empty = [part for part, share in enumerate(shares) if share > 0 and not parts[part]]
        left = len(groups) - position
        choices = empty if left <= len(empty) else [part for part, share in enumerate(shares) if share > 0]
        lacking = {part: shares[part] * cases - sum(map(len, parts[part])) for part in choices}
        parts[max(choices, key=lambda part: lacking[part])].append(group)
    return [_names(part) for part in parts]


def _names(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    return tuple(sorted(name for group in groups for name in group))
