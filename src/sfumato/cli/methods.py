"""``sfumato methods``: the table of methods."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Table

from sfumato.cli.console import wide_console

# What the longest row needs; a narrower terminal would break the names of the authors into pieces.
_WIDTH_WITH_SOURCE = 140


def methods() -> None:
    """Print every method with its four parts: label, activation, loss, decoder."""
    from sfumato.methods import GROUPS, METHODS

    console = wide_console()
    headings = ["name", "label", "activation", "loss", "decoder"]
    if console.width >= _WIDTH_WITH_SOURCE:
        headings.append("source")
    table = Table(title=f"{len(METHODS)} methods", header_style="bold", box=SIMPLE, padding=(0, 1, 0, 0))
    longest = len("cross-entropy")
    for heading in headings:
        whole = heading not in ("label", "loss", "source")
        table.add_column(heading, no_wrap=whole, min_width=longest if heading == "loss" else None)
    for title, group in GROUPS.items():
        table.add_row(f"[bold]{title}")
        for each in group:
            cells = (each.label, each.activation, each.loss, each.decoder, each.reference)
            table.add_row(f"  {each.name}", *cells[: len(headings) - 1])
        table.add_section()
    console.print(table)
