"""Where tables are printed: as wide as the terminal, and wide enough in a file or a pipe."""

from __future__ import annotations

import sys

from rich.console import Console

PIPE_WIDTH = 200


def wide_console() -> Console:
    """Return a console on standard output, 200 columns wide where no terminal sets the width."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
