"""Compiling with Numba: no global lock, and a cache on disk that never gets in the way.

The machine code is kept in the package's ``__pycache__`` if that can be written, else in the user's cache
folder, else nowhere. It is compiled anew when any file of this package has changed. Each version has files of
its own, so that processes of two versions never read what the other wrote; files that a crash left damaged
are written anew.
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
def _package_stamp() -> str:
    """One word that changes when any source file of the package does."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Cache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """Numba's cache, stamped with the whole package, and silent where the disk is full or read-only."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _open_index(
            cache_path=self._cache_path,
            filename_base=f"{self._impl.filename_base}-{_package_stamp()[:12]}",
            source_stamp=_package_stamp(),
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
        """Empty the index: a damaged one would fail the saving too."""
        try:
            self.flush()
        except OSError:
            self.disable()

    def _remove_other_versions(self) -> None:
        """Remove this function's files of this Python with another stamp, at whatever line it stood then."""
        name, _, place = self._impl.filename_base.rpartition("-")
        python = place.rpartition(".")[2]
        for path in Path(self._cache_path).glob(f"{name}-*.{python}-*.nb[ci]"):
            if f"-{_package_stamp()[:12]}." not in path.name:
                path.unlink(missing_ok=True)


def compiled(function: Callable[..., Any]) -> Any:  # noqa: ANN401  # a numba dispatcher
    """Compile ``function`` on its first call; it runs without the global interpreter lock."""
    dispatcher: Any = njit(nogil=True)(function)
    try:
        dispatcher._cache = _Cache(function)
    except (RuntimeError, OSError):  # No folder can be written: compile in every process.
        return dispatcher
    return dispatcher
