"""The folder that predictions are written to: what may be replaced there, and what must not stay."""

from __future__ import annotations

import glob
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sfumato.data.readers.files import stem
from sfumato.errors import OutputExistsError
from sfumato.output import require_free

DESCRIPTION = "prediction.json"
_TOLD_APART = ("run", "method", "kind", "threshold", "soft")  # what all files of one folder have in common


@dataclass(frozen=True)
class PredictionFolder:
    """Where the predictions of one model go."""

    path: Path  # the folder
    cases: Collection[str]  # names of all cases of the data set: a file of such a name is a hard prediction
    # Of the files that every case gets: ``""`` for the hard prediction, ``_soft``, …
    endings: tuple[str, ...]

    def require_free(
        self, names: Iterable[str], description: Mapping[str, object], *, overwrite: bool
    ) -> None:
        """Check that nothing is replaced, and that nothing there was made by another model.

        Args:
            names: The cases to predict.
            description: What ``prediction.json`` will say.
            overwrite: Allow both.

        Raises:
            OutputExistsError: A file of a case exists, or the folder's predictions are others'.
        """
        for name in names:
            for path in (*self._files(name), *self._beside(name)):
                require_free(path, overwrite=overwrite)
        described = self.path / DESCRIPTION
        if overwrite or not described.exists():
            return
        present = _read(described)
        others = [
            f"{key} {present.get(key)} and not {description[key]}"
            for key in _TOLD_APART
            if present.get(key) != description[key]
        ]
        if others:
            raise OutputExistsError(
                f"{described} describes other predictions, of {', '.join(others)}: "
                "choose another folder or pass --overwrite"
            )

    def clear(self, name: str) -> None:
        """Remove what an earlier prediction of the case left and this one does not replace."""
        for path in set(self._beside(name)) - set(self._files(name)):
            path.unlink()

    def _files(self, name: str) -> list[Path]:
        return [self.path / f"{name}{ending}.nii.gz" for ending in self.endings]

    def _beside(self, name: str) -> list[Path]:
        """List the soft prediction and the uncertainty maps that lie there."""
        maps = sorted(self.path.glob(f"{glob.escape(name)}_uncertainty-*.nii.gz"))
        paths = [self.path / f"{name}_soft.nii.gz", *maps]
        return [path for path in paths if path.exists() and stem(path) not in self.cases]


def _read(path: Path) -> Mapping[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None  # Whatever it was, it does not describe these predictions.
    return content if isinstance(content, dict) else {}
