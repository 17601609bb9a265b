"""The forms of a table in files: CSV, Markdown, LaTeX, HTML; one escaper each."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Sequence
from dataclasses import replace

from sfumato.tables.table import Cell, Table

_LATEX_ARROWS = {"": "", "↑": r" $\uparrow$", "↓": r" $\downarrow$", "→0": r" $\to 0$"}
_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "±": r"$\pm$",
    "†": r"$^{\dagger}$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "δ": r"$\delta$",
    "λ": r"$\lambda$",
    "σ": r"$\sigma$",
}


def csv_text(tables: Sequence[Table], *, first: str) -> str:
    """Write tables of the same first column as one CSV, their titles in a column named ``first``.

    A column that a table does not have is empty there.
    """
    labels = list(dict.fromkeys(heading.label for table in tables for heading in table.headings))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [first, *labels], restval="", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            texts = {h.label: cell.plain for h, cell in zip(table.headings, row, strict=True)}
            writer.writerow({first: table.title, **texts})
    return buffer.getvalue()


def markdown(table: Table) -> str:
    """Write a table as Markdown, without its title."""
    titles = [markdown_escaped(f"{heading.label} {heading.arrow}".strip()) for heading in table.headings]
    lines = [titles, ["---:" if heading.numeric else "---" for heading in table.headings]]
    lines += [[_markdown_cell(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _markdown_cell(cell: Cell) -> str:
    text = markdown_escaped(cell.text)
    # Markdown has no underline of its own; the HTML element is understood by GitHub and by pandoc.
    text = {"best": f"**{text}**", "second": f"<u>{text}</u>", "": text}[cell.emphasis]
    return text + markdown_escaped(cell.mark) + cell.remark


def markdown_escaped(text: str) -> str:
    """Escape the characters that Markdown gives a meaning."""
    for character in "\\|*_<>`":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


def latex(table: Table, *, caption: str) -> str:
    r"""Write a table as LaTeX, ready for ``\input``; it needs the package ``booktabs``."""
    alignment = "".join("c" if heading.numeric else "l" for heading in table.headings)
    body = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows]
    titles = [latex_escaped(heading.title) for heading in table.headings]
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{latex_escaped(caption)}}}",
            f"\\begin{{tabular}}{{{alignment}}}",
            "\\toprule",
            *_latex_groups(table),
            " & ".join(titles) + r" \\",
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
    )


def _latex_groups(table: Table) -> list[str]:
    """Write the line of groups above the titles, and the rules below it; nothing where no column has one."""
    if not any(heading.group for heading in table.headings):
        return []
    spans, rules = [], []
    for group in table.groups():
        heading = table.headings[group[0]]
        if not heading.group:
            spans += [""] * len(group)
            continue
        unit = f" [{heading.unit}]" if heading.unit else ""
        title = latex_escaped(heading.group + unit) + _LATEX_ARROWS[heading.arrow]
        spans.append(f"\\multicolumn{{{len(group)}}}{{c}}{{{title}}}")
        rules.append(f"\\cmidrule(lr){{{group[0] + 1}-{group[-1] + 1}}}")
    return [" & ".join(spans) + r" \\", " ".join(rules)]


def _latex_cell(cell: Cell) -> str:
    # A hyphen before a number is no minus outside mathematics.
    parts = [
        f"${part}$" if part[:1] in ("+", "-") and part[1:2].isdigit() else latex_escaped(part)
        for part in cell.text.split(" ± ")
    ]
    text = r" $\pm$ ".join(parts)
    if cell.emphasis:
        text = {"best": "\\textbf", "second": "\\underline"}[cell.emphasis] + "{" + text + "}"
    return text + {"": "", "*": "$^{*}$", "†": "$^{\\dagger}$"}[cell.mark] + cell.remark


def latex_escaped(text: str) -> str:
    r"""Escape the characters that LaTeX gives a meaning.

    Example:
        >>> print(latex_escaped("hard_label 5 %"))
        hard\_label 5 \%
    """
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def html_table(table: Table, *, intervals: bool = True) -> str:
    """Write a table as HTML whose headings sort it, without its title; leading texts head their row."""
    heads = [_html_heading(table, number) for number in range(len(table.headings))]
    numeric = [heading.numeric for heading in table.headings]
    leading = numeric.index(True) if True in numeric else 1
    lines = [
        "".join(
            f'<th scope="row">{html.escape(cell.text)}</th>'
            if number < leading
            else _html_cell(cell if intervals else replace(cell, interval=""), numeric=numeric[number])
            for number, cell in enumerate(row)
        )
        for row in table.rows
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{"".join(heads)}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _html_heading(table: Table, number: int) -> str:
    heading = table.headings[number]
    words = "" if heading.numeric else ' class="text"'
    hint = f' title="{html.escape(heading.hint)}"' if heading.hint else ""
    metric = f' data-metric="{html.escape(heading.metric)}"' if heading.metric else ""
    note = f' <span class="unit">{html.escape(heading.note)}</span>' if heading.note else ""
    return f'<th scope="col"{words}{hint}{metric}>{html.escape(heading.title)}{note}</th>'


def _html_cell(cell: Cell, *, numeric: bool) -> str:
    if not numeric:
        return f'<td class="text">{html.escape(cell.text)}</td>'
    text = html.escape(cell.text.replace("-", "−") + cell.mark)
    text = {"best": f"<strong>{text}</strong>", "second": f"<u>{text}</u>", "": text}[cell.emphasis]
    if cell.interval:
        text += f'<span class="interval">{html.escape(cell.interval.replace("-", "−"))}</span>'
    if cell.undefined:
        text += f'<span class="undefined">{cell.undefined} undefined</span>'
    value = "" if math.isnan(cell.value) else repr(cell.value)
    return f'<td data-value="{value}" data-undefined="{cell.undefined}">{text}</td>'
