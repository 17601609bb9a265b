"""One progress bar for every long job."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import track


def progress(names: Iterable[str], *, title: str) -> Iterator[str]:
    """Go through ``names`` with a bar on a terminal, with nothing elsewhere."""
    items: Sequence[str] = list(names)
    if not sys.stderr.isatty():
        yield from items
        return
    yield from track(items, description=title, console=Console(stderr=True), transient=True)
