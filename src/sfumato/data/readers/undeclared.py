"""Labels that no file declares: they are found by reading the masks, or the class weights."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sfumato.data.case import CaseFiles
from sfumato.data.readers.files import read_volume
from sfumato.data.readers.masks import whole_values
from sfumato.errors import SfumatoError

_MOST_LABELS = 256


def labels_in(cases: Iterable[CaseFiles]) -> dict[int, str]:
    """Find the labels by reading every mask; a mask that cannot be read is reported when its case is.

    Returns:
        ``0 .. K-1`` with made-up names, up to the highest value there is; masks of just 0 and 255 have two.
        Without masks, as many as the first case's weights have.
    """
    cases = tuple(cases)
    values: set[int] = set()
    paths = dict.fromkeys(path for files in cases for path in (files.mask, *files.rater_masks) if path)
    if not paths:
        values = set(range(next((_classes(files.soft[0]) for files in cases if files.soft), 0)))
    for path in paths:
        values |= whole_values(path)
    if values and values <= {0, 255}:
        values = {0, 1}
    sensible = [value for value in values if 0 <= value < _MOST_LABELS]
    return {0: "background"} | {value: f"label {value}" for value in range(1, max(sensible, default=0) + 1)}


def _classes(weights: Path) -> int:
    """Count the classes of one file of weights; 0 where it cannot be read."""
    try:
        volume = read_volume(weights)
    except SfumatoError:
        return 0
    spatial = len(volume.spacing)
    return volume.array.shape[-1] if volume.array.ndim > spatial else 2
