"""The error tree: what went wrong, who can mend it, and the exit status that follows.

``InputError`` and its children are the caller's to mend (exit status 2, one line, no traceback).
``MachineError`` is the machine's failure (exit status 1): a full disk, a killed worker.
Every message says what is wrong, what came, and what was expected.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

EXTRAS = {
    "train": (
        *("lightning", "monai", "einops", "nibabel", "pydantic", "yaml", "typer", "rich", "pandas"),
        *("PIL", "tifffile", "tensorboard", "tqdm"),
    ),
    "report": ("matplotlib", "jinja2"),
}
"""The libraries of each extra, as they are imported."""


class SfumatoError(Exception):
    """Base of every error that Sfumato raises on purpose."""

    exit_status: int = 2


class InputError(SfumatoError, ValueError):
    """Something the caller gave is wrong; the message says what to change."""


class ShapeError(InputError):
    """An array does not have the axes that the call needs, or two arrays do not fit together."""


class ValueRangeError(InputError):
    """A number lies outside the range in which the computation is defined."""


class DTypeError(InputError):
    """An array holds the wrong kind of number (fractions where class indices are needed)."""


class UnknownNameError(InputError):
    """A name is not in the table it was looked up in; the message lists the known ones.

    Args:
        kind: What the name was to name, e.g. ``"method"``.
        name: The name that came.
        known: The names there are.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, tuple(known)
        nearest = difflib.get_close_matches(name, self.known, n=1, cutoff=0.5)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        known_names = f"Known: {', '.join(self.known)}" if self.known else "There are none."
        super().__init__(f"unknown {kind} {name!r}.{hint} {known_names}")


class FileFormatError(InputError):
    """A file is missing, truncated, or not what its name says."""


class GeometryError(InputError):
    """Two files that must lie on one grid differ in shape, spacing or affine."""


class RecipeError(InputError):
    """A recipe has an unknown, missing or impossible key."""


class CheckpointError(InputError):
    """A checkpoint does not fit: another recipe, another version, or no checkpoint at all."""


class OutputExistsError(InputError):
    """The output is already there and ``--overwrite`` was not given."""


class DataError(InputError):
    """One or more problems in a folder of cases, all of them listed.

    Args:
        problems: One sentence each, naming the file or case.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problems:\n  " if len(self.problems) > 1 else ""
        super().__init__(count + "\n  ".join(self.problems))


class MissingExtraError(InputError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


class MachineError(SfumatoError):
    """The machine failed: a full disk, a killed worker. Nothing half-written is left behind."""

    exit_status = 1


@contextmanager
def optional_libraries() -> Iterator[None]:
    """Turn the absence of an optional library, inside the block, into an error that says what to install.

    Raises:
        MissingExtraError: a library of :data:`EXTRAS` is imported in the block and is not installed.
    """
    try:
        yield
    except ImportError as error:
        # MONAI raises an error of its own where it lacks a library, with the name in its text alone.
        named = re.search(r"No module named '([^']+)'", str(error))
        library = (error.name or (named[1] if named else "")).partition(".")[0]
        for extra, libraries in EXTRAS.items():
            if library in libraries:
                message = f"{library} is not installed, which this needs: pip install 'sfumato[{extra}]'"
                raise MissingExtraError(message) from error
        raise
