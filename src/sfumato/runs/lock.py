"""One process at a time writes to a folder: a lock that the system lets go of when its process ends."""

from __future__ import annotations

import errno
import logging
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sfumato.errors import InputError

LOCK = ".lock"  # inside the folder, as long as somebody writes to it
LOG = logging.getLogger("sfumato.training")
_TAKEN = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        # A byte far behind the text: what is locked cannot be read by others.
        os.lseek(file, 1 << 30, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: int) -> None:
        # Not flock: a data loader's forked workers would share that lock, and hold it after a killed run.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass
class _Holder:
    thread: int
    depth: int


_holders: dict[Path, _Holder] = {}  # of this process, for which the system's lock is one and the same
_guard = threading.Lock()


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep every other process from writing to a folder, as long as this lasts.

    The folder is made where it is missing; one that is still empty at the end is removed again. The lock is
    the operating system's, on the file ``.lock`` inside: it ends with its process, however that ends, so a
    killed run is never in the way. On a network file system it holds between machines where the server
    passes locks on (NFS 4, or NFS 3 with its lock service); a machine that goes down keeps it until the
    server notices. Where the file system knows no locks, a warning says so, and nothing is kept out.

    Blocks of one thread may be nested.

    Args:
        folder: Where this process is going to write.

    Raises:
        InputError: another process, or another thread, writes there; or the folder cannot be written to.
    """
    folder = Path(folder)
    key = folder.resolve()
    with _guard:
        holder = _holders.setdefault(key, _Holder(threading.get_ident(), 0))
        if holder.thread != threading.get_ident():
            raise _in_use(folder, f"another thread of process {os.getpid()}")
        holder.depth += 1
    try:
        if holder.depth > 1:
            yield
        else:
            with _locked(folder):
                yield
    finally:
        with _guard:
            holder.depth -= 1
            if not holder.depth:
                del _holders[key]


def holds_anything(folder: Path) -> bool:
    """Return whether a folder holds something besides the lock; false where there is no folder."""
    return folder.exists() and any(path.name != LOCK for path in folder.iterdir())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    file: int | None = None
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = _taken(folder)
        except OSError as error:
            if error.errno in _READ_ONLY:
                raise InputError(f"{folder} cannot be written to: {error.strerror or error}") from error
            raise
        yield
    finally:
        if file is not None:
            _release(file, folder / LOCK)
        for path in made:
            # Fails for a folder that holds something by now, and so do those above it.
            with suppress(OSError):
                path.rmdir()


def _taken(folder: Path) -> int:
    """Open and lock the file; a lock on one that its last holder has removed meanwhile is none."""
    path = folder / LOCK
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file)
        except OSError as error:
            known = _holder(file)
            if error.errno in _TAKEN:
                os.close(file)
                raise _in_use(folder, known) from error
            if error.errno not in _NO_LOCKS:
                os.close(file)
                raise
            LOG.warning(
                "%s: its file system knows no locks (%s): nothing keeps a second process from writing there",
                folder,
                error.strerror,
            )
        if _is_there(file, path):
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
            os.write(file, f"process {os.getpid()} on {platform.node()}".encode())
            return file
        os.close(file)


def _is_there(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _holder(file: int) -> str:
    os.lseek(file, 0, os.SEEK_SET)
    return os.read(file, 200).decode(errors="replace").strip() or "another process"


def _in_use(folder: Path, by: str) -> InputError:
    return InputError(
        f"{folder} is in use: {by} writes to it; wait until that has ended, or give another folder"
    )


def _release(file: int, path: Path) -> None:
    # Removed while it is still locked: whoever waits for this very file finds that it is gone.
    with suppress(OSError):
        path.unlink()
    os.close(file)
    if sys.platform == "win32":
        # There, an open file cannot be removed; one that somebody else has opened by now stays.
        with suppress(OSError):
            path.unlink()
