"""What a run's folder says of its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato.checks import require_choice
from sfumato.data.readers.description import read_object
from sfumato.errors import FileFormatError
from sfumato.structures import CLASSES, TARGET_KINDS, Structures, TargetKind


@dataclass(frozen=True, eq=False)
class PredictedRun:
    """What a run's ``prediction.json`` says of its predictions.

    Attributes:
        folder: The run's folder.
        method: The method that predicted; empty if it is not said.
        kind: The kind of its soft predictions.
        structures: What is predicted; None if it is not said.
    """

    folder: Path
    method: str
    kind: TargetKind
    structures: Structures | None

    @property
    def files(self) -> Path:
        """Where the predictions are."""
        return self.folder / "predictions"


def predicted_run(folder: Path) -> PredictedRun:
    """Read what a run predicts; without the file nothing is known.

    Raises:
        FileFormatError: The file is damaged.
        UnknownNameError: There is no such kind of prediction.
    """
    content = read_object(folder / "predictions" / "prediction.json", holding="method and kind")
    kind = str(content.get("kind", CLASSES.name))
    require_choice(f"{folder.name}'s kind of prediction", kind, TARGET_KINDS)
    return PredictedRun(folder, str(content.get("method") or ""), TARGET_KINDS[kind], _structures(content))


def _structures(content: Mapping[str, Any]) -> Structures | None:
    names, regions = content.get("label_names"), content.get("regions")
    if not names and not regions:
        return None
    names = dict(enumerate(names)) if isinstance(names, list) else names or {0: "background"}
    return Structures.from_plain({"label_names": names, "regions": regions})


def shown_names(structures: Structures) -> dict[int, str]:
    """Name the numbers of a label map; overlapping regions are counted, in their order, from 1."""
    if structures.overlap:
        return {0: "background", **dict(enumerate(structures.names, start=1))}
    return dict(structures.label_names)


def read_text(path: Path) -> str:
    """Read a text file of a run."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"cannot read {path}: {error}") from error
