"""Files appear whole or not at all: written to a temporary name beside their place, then renamed."""

from __future__ import annotations

import os
from pathlib import Path

from sfumato.errors import InputError, MachineError, OutputExistsError


def require_free(path: Path, *, overwrite: bool) -> None:
    """Raise if ``path`` may not be written.

    Raises:
        OutputExistsError: it is a folder, or it exists and ``overwrite`` is off.
    """
    if path.is_dir():
        raise OutputExistsError(f"{path} is a folder: give the name of a file")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists already: choose another name or pass --overwrite")


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, making the folder; an earlier file is replaced.

    Raises:
        InputError: the folder cannot be written to.
        MachineError: the machine failed, as with a full disk; nothing half-written remains.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise InputError(f"{path} could not be written: {error.strerror or error}") from error
    except OSError as error:
        raise MachineError(
            f"{path} could not be written: {error.strerror or error}; nothing was left behind"
        ) from error
    finally:
        if temporary.parent.is_dir():
            temporary.unlink(missing_ok=True)
