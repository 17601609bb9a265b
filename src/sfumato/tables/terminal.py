"""The form of a table in a terminal."""

from __future__ import annotations

from rich import table as rich_table
from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.text import Text

from sfumato.tables.table import Table

_STYLES = {"best": "bold", "second": "underline", "": ""}


def terminal(table: Table, *, boxed: bool = False) -> rich_table.Table:
    """Make a table that rich prints; best numbers are bold, second ones underlined.

    Args:
        table: The table.
        boxed: Draw a frame, and a line wherever the text of the first column changes.
    """
    title = Text(table.title, style="" if boxed else "bold")
    frame = HEAVY_HEAD if boxed else SIMPLE_HEAD
    shown = rich_table.Table(title=title, header_style="bold", box=frame)
    for heading in table.headings:
        text = f"{heading.title} {heading.note}".strip()
        shown.add_column(Text(text), justify="right" if heading.numeric else "left", overflow="fold")
    for row, following in zip(table.rows, [*table.rows[1:], None], strict=True):
        cells = [Text(cell.plain, style=_STYLES[cell.emphasis]) for cell in row]
        last = following is None or following[0].text != row[0].text
        shown.add_row(*cells, end_section=boxed and last)
    return shown
