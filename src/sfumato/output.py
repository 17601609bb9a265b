"""Outputs appear whole or not at all: a temporary name in the same folder, then a rename."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sfumato.errors import InputError, MachineError, OutputExistsError

_THE_CALLERS_MOVE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,  # A file lies where a folder is needed.
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
}


def require_free(path: Path, *, overwrite: bool) -> None:
    """Raise if ``path`` exists and may not be replaced.

    Raises:
        OutputExistsError: it exists and ``overwrite`` is false, or it is a folder.
    """
    if path.is_dir():
        raise OutputExistsError(f"{path} is a folder: give the name of a file")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists already: choose another name or pass --overwrite")


@contextmanager
def atomic_output(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary file name to write to; it becomes ``path`` when the block ends well.

    The temporary file lies in the same folder and ends like ``path`` (so ``.nii.gz`` stays gzip).
    However the block is left, nothing half-written remains. Missing folders are made.

    Args:
        path: Where the output shall be.
        overwrite: May an existing file be replaced?

    Raises:
        OutputExistsError: ``path`` exists and ``overwrite`` is false.
        InputError: the folder cannot be written to.
        MachineError: the machine failed, as with a full disk; the temporary file is removed.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with atomic_output(target) as temporary:
        ...     _ = temporary.write_text("done")
        >>> target.read_text()
        'done'
    """
    path = Path(path)
    require_free(path, overwrite=overwrite)
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        reason = f"{path} could not be written: {error.strerror or error}"
        if error.errno in _THE_CALLERS_MOVE:
            raise InputError(reason) from error
        raise MachineError(f"{reason}; nothing was left behind") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
