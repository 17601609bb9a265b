"""``sfumato methods``: the table of methods."""

from __future__ import annotations

from rich.table import Table

from sfumato.cli.console import wide_console


def methods() -> None:
    """Print every method with its four parts: label, activation, loss, decoder."""
    from sfumato.methods import METHODS

    table = Table(title="Methods", show_lines=False, header_style="bold")
    for heading in ("name", "label", "activation", "loss", "decoder", "source"):
        table.add_column(heading, no_wrap=heading == "name", overflow="fold")
    for name, method in METHODS.items():
        table.add_row(name, method.label, method.activation, method.loss, method.decoder, method.reference)
    wide_console().print(table)
