"""``sfumato methods``: the table of methods, and of the parts that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
import yaml
from rich.box import SIMPLE
from rich.table import Table

from sfumato.cli.console import wide_console
from sfumato.methods import GROUPS, METHODS, PARTS, Method, known_methods

# What the longest row needs; a narrower terminal would break the names of the authors into pieces.
_WIDTH_WITH_SOURCE = 140


def methods(
    parts: Annotated[
        bool,
        typer.Option("--parts", help="Print the parts that a recipe may put together, with their options."),
    ] = False,
) -> None:
    """Print every method with its four parts: label, activation, loss, decoder."""
    console = wide_console()
    if not parts:
        console.print(_methods(with_source=console.width >= _WIDTH_WITH_SOURCE))
        return
    for part, table in PARTS.items():
        console.print(_parts("losses" if part == "loss" else f"{part}s", table.rows))


def _methods(*, with_source: bool) -> Table:
    headings = ["name", "label", "activation", "loss", "decoder", *(["source"] if with_source else [])]
    known = known_methods()
    table = Table(title=f"{len(known)} methods", header_style="bold", box=SIMPLE, padding=(0, 1, 0, 0))
    longest = len("cross-entropy")
    for heading in headings:
        whole = heading not in ("label", "loss", "source")
        table.add_column(heading, no_wrap=whole, min_width=longest if heading == "loss" else None)
    installed = tuple(method for name, method in known.items() if name not in METHODS)
    for title, group in {**GROUPS, **({"installed packages": installed} if installed else {})}.items():
        table.add_row(f"[bold]{title}")
        for method in group:
            table.add_row(f"  {method.name}", *_cells(method)[: len(headings) - 1])
        table.add_section()
    return table


def _cells(method: Method) -> tuple[str, ...]:
    rows = (method.label_row, method.activation_row, method.loss_row, method.decoder_row)
    return (*(row.title for row in rows), method.reference)


def _parts(title: str, rows: Mapping[str, Any]) -> Table:
    table = Table(title=title, header_style="bold", box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("name", "title", "targets", "options and their defaults"):
        table.add_column(heading, no_wrap=heading == "name")
    for row in rows.values():
        kinds = (row.kind,) if title == "labels" else row.kinds
        options = getattr(row, "options", {})
        if callable(options):
            options = options(kinds[0])
        defaults = yaml.safe_dump(options, default_flow_style=True, sort_keys=False, width=10_000).strip(
            "{}\n"
        )
        table.add_row(row.name, row.title, ", ".join(kind.name for kind in kinds), defaults)
    return table
