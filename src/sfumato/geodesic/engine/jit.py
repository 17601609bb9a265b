"""Compiling with Numba: no global lock, and a cache on disk that never gets in the way.

The machine code is kept in the package's ``__pycache__`` if that can be written, else in the user's cache
folder, else nowhere. It is compiled anew when any file of the engine or of the function's own folder has
changed: those are what its machine code is made of. Each version has files of its own, so that processes of
two versions never read what the other wrote; files that a crash left damaged are written anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from numba import njit
from numba.core import caching

FunctionCache: Any = caching.FunctionCache

_open_index: Any = caching.IndexDataCacheFile


@cache
def _stamp_of(folder: Path) -> str:
    """Return one word that changes when any source file of the engine or of ``folder`` does."""
    digest = hashlib.sha256()
    for own in sorted({Path(__file__).parent, folder}):
        for path in sorted(own.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class _Cache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """Numba's cache, stamped with whole folders, and silent where the disk is full or read-only."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = _stamp_of(Path(function.__code__.co_filename).parent)
        self._version = stamp[:12]
        self._cache_file = _open_index(
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}-{self._version}",
            source_stamp=stamp,
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:  # noqa: ANN401  # numba's own objects
        try:
            return super().load_overload(sig, target_context)
        except OSError:
            return None
        except (EOFError, UnpicklingError):
            self._start_anew()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:  # noqa: ANN401  # numba's own objects
        try:
            super().save_overload(sig, data)
            self._remove_other_versions()
        except OSError:
            self.disable()

    def _start_anew(self) -> None:
        """Empty the index: with a damaged one saving would fail too."""
        try:
            self.flush()
        except OSError:
            self.disable()

    def _remove_other_versions(self) -> None:
        """Remove this function's files of this Python with another stamp, at whatever line it stood then."""
        name, _, place = self._impl.filename_base.rpartition("-")
        python = place.rpartition(".")[2]
        for path in Path(self._cache_path).glob(f"{name}-*.{python}-*.nb[ci]"):
            if f"-{self._version}." not in path.name:
                path.unlink(missing_ok=True)


def compiled(function: Callable[..., Any]) -> Any:  # noqa: ANN401  # a numba dispatcher
    """Compile ``function`` on its first call; it runs without the global interpreter lock."""
    dispatcher: Any = njit(nogil=True)(function)
    try:
        dispatcher._cache = _Cache(function)
    except (RuntimeError, OSError):  # No folder can be written: compile in every process.
        return dispatcher
    return dispatcher
