"""A CSV manifest: ``case,image[,image2…],mask[,mask_rater2…]``, paths relative to the file."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from sfumato.data.case import CaseFiles
from sfumato.errors import FileFormatError

_IMAGE = re.compile(r"image(\d*)$")
_RATER = re.compile(r"mask_rater(\d+)$")
_OTHER = ("case", "mask", "soft", "group")


def read_manifest(path: Path) -> tuple[list[CaseFiles], tuple[str, ...], list[str]]:
    """List the cases of a manifest, without reading their images.

    Columns: ``case``; ``image``, ``image2``, … one per channel; ``mask``, the reference;
    ``mask_rater1``, ``mask_rater2``, … one per rater; ``soft``, a file of class weights; ``group``, what
    must stay together in a split. With ``mask_rater2`` but no ``mask_rater1``, ``mask`` is the first rater's
    and the reference is the majority vote of all of them (:func:`~sfumato.data.load_case`), as it is without
    a ``mask``. A rater's cell may be empty. Data for prediction has no mask column.

    Returns:
        The cases sorted by name; the columns of the raters; one sentence per problem.

    Raises:
        FileFormatError: not a CSV file, or without the columns ``case`` and ``image``.
    """
    rows, columns = _rows(path)
    images = _numbered(columns, _IMAGE)
    raters = _numbered(columns, _RATER)
    if raters and raters[0] != "mask_rater1" and "mask" in columns:
        raters = ["mask", *raters]
    cases: dict[str, CaseFiles] = {}
    problems = [] if rows else [f"{path} lists no cases"]
    for number, row in enumerate(rows, start=2):
        name = row["case"]
        if not name or name in cases:
            problems.append(
                f"{path} line {number}: " + (f"case {name} is listed twice" if name else "no case name")
            )
            continue
        needed = [*images, "mask"] if "mask" in columns else images
        problems += [f"{path} line {number}: case {name} has no {c}" for c in needed if not row[c]]
        files = CaseFiles(
            name=name,
            images=tuple(path.parent / row[column] for column in images if row[column]),
            mask=path.parent / row["mask"] if row.get("mask") else None,
            rater_masks=tuple(path.parent / row[column] for column in raters if row[column]),
            raters=tuple(index for index, column in enumerate(raters) if row[column]),
            group=row.get("group") or None,
            soft=(path.parent / row["soft"],) if row.get("soft") else (),
        )
        every = dict.fromkeys((*files.images, files.mask, *files.rater_masks, *files.soft))
        problems += [
            f"case {name}: {file} does not exist"
            for file in every
            if isinstance(file, Path) and not file.exists()
        ]
        cases[name] = files
    return [cases[name] for name in sorted(cases)], tuple(raters), problems


def _numbered(columns: list[str], pattern: re.Pattern[str]) -> list[str]:
    """Return the matching columns by their number; ``image`` itself is the first."""
    numbered = [(int(match[1] or 1), column) for column in columns if (match := pattern.match(column))]
    return [column for _, column in sorted(numbered)]


def _rows(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    try:
        # utf-8-sig: spreadsheet programs write a byte-order mark before the first column's name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            columns = [column.strip() for column in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    except FileNotFoundError as error:
        raise FileFormatError(f"manifest {path} does not exist") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"manifest {path} is not a readable CSV file: {error}") from error
    known = [c for c in columns if c in _OTHER or _IMAGE.match(c) or _RATER.match(c)]
    unknown = [column for column in columns if column not in known]
    if "case" not in columns or "image" not in columns or unknown or len(set(columns)) < len(columns):
        present = ", ".join(columns) or "nothing"
        raise FileFormatError(
            f"manifest {path} has columns {present}: "
            "expected case,image[,image2…],mask[,mask_rater2…][,soft][,group]"
        )
    return rows, columns
