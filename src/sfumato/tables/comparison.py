"""Tables laid out as in papers: a row per method, columns per metric and structure; CSV, Markdown, LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from sfumato.checks import require_choice
from sfumato.statistics.comparison import Comparison
from sfumato.statistics.directions import direction_of, oriented
from sfumato.statistics.units import labels

Spread = Literal["sd", "se"]
Emphasis = Literal["best", "second", "none"]
Mark = Literal["", "*", "†"]  # against the proposed method: p after Holm, p before Holm only

MOST_COLUMNS = 8  # wider tables continue below, a metric never broken in two
ARROWS = {"up": "↑", "down": "↓", "zero": "→0"}
_SPREADS = {"sd": "standard deviation", "se": "standard error"}
_LATEX_ARROWS = {"up": r"$\uparrow$", "down": r"$\downarrow$", "zero": r"$\to 0$"}
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


@dataclass(frozen=True)
class Cell:
    """One number of a table."""

    mean: str  # "–" where there is none
    spread: str  # empty where there is none
    emphasis: Emphasis
    mark: Mark
    undefined: int = 0  # values without a number, left out of the mean

    def plain(self) -> str:
        """Write the number without emphasis: ``0.823 ± 0.050* (2 undefined)``."""
        return self.mean + (f" ± {self.spread}" if self.spread else "") + self.mark + self.remark()

    def remark(self) -> str:
        """Say how many values are undefined; nothing where all are defined."""
        return f" ({self.undefined} undefined)" if self.undefined else ""


@dataclass(frozen=True)
class Heading:
    """What stands above one column."""

    metric: str
    structure: str
    measure: str
    direction: str


@dataclass(frozen=True)
class Layout:
    """One table: the methods of one data set, the proposed one last."""

    dataset: str
    methods: tuple[str, ...]
    headings: tuple[Heading, ...]
    cells: tuple[tuple[Cell, ...], ...]  # one row per method

    def blocks(self) -> list[range]:
        """Cut the columns into groups that fit a page, whole metrics each."""
        groups: list[range] = []
        start = 0
        for stop in range(1, len(self.headings) + 1):
            if stop == len(self.headings) or self.headings[stop].metric != self.headings[start].metric:
                if groups and stop - groups[-1].start <= MOST_COLUMNS:
                    groups[-1] = range(groups[-1].start, stop)
                else:
                    groups.append(range(start, stop))
                start = stop
        return groups


def layouts(comparison: Comparison, *, spread: Spread = "sd") -> list[Layout]:
    """Lay a comparison out, one table per data set.

    The best mean of a column is emphasised, and the second best; equal means share their place, and a column
    with fewer than two means has neither. Numbers have the unit of the rows; a column has as many decimals as
    its largest mean needs for three digits, at least 3 for fractions and 2 otherwise.

    Args:
        comparison: Of :func:`~sfumato.statistics.comparison.compare_methods`.
        spread: What follows ±: ``sd`` over units (ddof 1), or ``se``.

    Raises:
        UnknownNameError: There is no such spread.
    """
    require_choice("spread", spread, tuple(_SPREADS))
    marks = _marks(comparison)
    tables = []
    for dataset, summary in comparison.summary.groupby("dataset", sort=False):
        headings, by_column = [], []
        for (metric, structure), group in summary.assign(structure=labels(summary)).groupby(
            ["metric", "structure"], sort=False
        ):
            measure = str(group["measure"].iloc[0])
            direction = direction_of(str(metric), comparison.options.directions)
            headings.append(Heading(str(metric), str(structure), measure, direction))
            rows = group.set_index("method").loc[list(comparison.methods)]
            keys = [(str(dataset), str(metric), str(structure), name) for name in comparison.methods]
            by_column.append(_cells(rows, headings[-1], spread, [marks.get(key, "") for key in keys]))
        cells = tuple(zip(*by_column, strict=True))
        tables.append(Layout(str(dataset), comparison.methods, tuple(headings), cells))
    return tables


def _marks(comparison: Comparison) -> dict[tuple[str, str, str, str], Mark]:
    marks: dict[tuple[str, str, str, str], Mark] = {}
    tests = comparison.tests
    for record in tests.assign(structure=labels(tests)).to_dict("records"):
        key = (record["dataset"], record["metric"], record["structure"], record["method"])
        if record["significant"]:
            marks[key] = "*"
        elif record["p"] < comparison.options.alpha:
            marks[key] = "†"
    return marks


def _cells(rows: pd.DataFrame, heading: Heading, spread: Spread, marks: Sequence[Mark]) -> list[Cell]:
    means = rows["mean"].to_numpy(dtype=np.float64)
    better = oriented(means, direction_of(heading.metric, {heading.metric: heading.direction}))  # type: ignore[dict-item]  # a heading holds a checked direction
    ladder = sorted(set(better[~np.isnan(better)]), reverse=True)
    decimals = _decimals(means, heading.measure)
    cells = []
    numbers = zip(means, rows[spread], better, marks, rows["undefined"], strict=True)
    for mean, width, score, mark, undefined in numbers:
        emphasis: Emphasis = "none"
        if len(ladder) > 1 and score in ladder[:2]:
            emphasis = "best" if score == ladder[0] else "second"
        text, width_text = _number(mean, decimals), _number(width, decimals, missing="")
        cells.append(Cell(text, width_text, emphasis, mark, int(undefined)))
    return cells


def _decimals(means: Iterable[float], measure: str) -> int:
    least = 3 if measure == "fraction" else 2
    largest = max((abs(mean) for mean in means if not math.isnan(mean)), default=0.0)
    needed = 2 - math.floor(math.log10(largest)) if largest > 0 else 0
    return max(least, min(needed, 8))


def _number(value: float, decimals: int, *, missing: str = "–") -> str:
    # Adding 0 turns a negative number that rounds to nothing into 0.00.
    return missing if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"


def caption(comparison: Comparison, *, spread: Spread = "sd") -> list[str]:
    """Say in sentences what the tables show: unit of analysis, test, correction, marks."""
    tests = sorted(set(comparison.tests["test"]) - {"none"})
    lines = [
        f"Mean ± {_SPREADS[spread]} over {comparison.unit}s; unit of analysis: {comparison.unit}.",
        "Best in bold, second underlined.",
    ]
    if tests:
        alpha = comparison.options.alpha
        lines += [
            f"Two-sided Wilcoxon signed-rank test against {comparison.proposed}, p {' or '.join(tests)}.",
            f"* p < {alpha:g} after Holm's correction over the methods of a column; "
            f"† p < {alpha:g} before correction only.",
        ]
    if "Average" in set(comparison.summary["structure"]):
        lines.append(
            f"Average: mean over structures within each {comparison.unit} that has a value in all of them; "
            "the others are left out."
        )
    return lines


def csv_text(tables: Sequence[Layout]) -> str:
    """Write the tables as one CSV: a line per data set and method, a column per metric and structure.

    A column that a data set does not have is empty there.
    """
    titles = list(dict.fromkeys(_title(heading) for table in tables for heading in table.headings))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["dataset", "method", *titles], restval="", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for method, cells in zip(table.methods, table.cells, strict=True):
            numbers = {_title(h): cell.plain() for h, cell in zip(table.headings, cells, strict=True)}
            writer.writerow({"dataset": table.dataset, "method": method, **numbers})
    return buffer.getvalue()


def _title(heading: Heading) -> str:
    return f"{heading.metric} {heading.structure}" + (f" [{heading.measure}]" if heading.measure else "")


def markdown_text(tables: Sequence[Layout], comparison: Comparison, *, spread: Spread = "sd") -> str:
    """Write the tables, the tests and the notes as Markdown."""
    parts = []
    for table in tables:
        if table.dataset:
            parts.append(f"## {_markdown(table.dataset)}")
        for block in table.blocks():
            headings = [
                _markdown(f"{_title(h)} {ARROWS[h.direction]}") for h in table.headings[_slice(block)]
            ]
            lines = [["method", *headings], ["---", *("---:" for _ in headings)]]
            lines += [
                [_markdown(method), *(_markdown_cell(cell) for cell in cells[_slice(block)])]
                for method, cells in zip(table.methods, table.cells, strict=True)
            ]
            parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    parts.append(" ".join(_markdown(line) for line in caption(comparison, spread=spread)))
    if not comparison.tests.empty:
        parts += ["## Tests", _markdown_tests(comparison)]
    if comparison.notes:
        parts.append("\n".join(f"- {_markdown(note)}" for note in comparison.notes))
    return "\n\n".join(parts) + "\n"


def _markdown_tests(comparison: Comparison) -> str:
    names = ("dataset", "metric", "structure", "method", "n", "wins", "ties", "losses", "p", "test", "p_holm")
    headings = (*names, "rank_biserial")
    tests = comparison.tests
    records = tests.assign(structure=labels(tests)).to_dict("records")
    lines = [list(headings), ["---"] * len(headings)]
    lines += [[_markdown(_short(record[name])) for name in headings] for record in records]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _slice(block: range) -> slice:
    return slice(block.start, block.stop)


def _markdown_cell(cell: Cell) -> str:
    text = cell.mean + (f" ± {cell.spread}" if cell.spread else "")
    # Markdown has no underline of its own; the HTML element is understood by GitHub and by pandoc.
    text = {"best": f"**{text}**", "second": f"<u>{text}</u>", "none": text}[cell.emphasis]
    return text + _markdown(cell.mark) + cell.remark()


def _markdown(text: str) -> str:
    for character in "\\|*_<>`":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())


def latex_text(tables: Sequence[Layout], comparison: Comparison, *, spread: Spread = "sd") -> str:
    r"""Write the tables as LaTeX, ready for ``\input``; they need the package ``booktabs``."""
    parts = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        parts += [_latex_table(table, block, comparison, spread) for block in table.blocks()]
    return "\n\n".join(parts) + "\n"


def _latex_table(table: Layout, block: range, comparison: Comparison, spread: Spread) -> str:
    headings = table.headings[_slice(block)]
    groups: list[tuple[Heading, int]] = []
    for heading in headings:
        if groups and groups[-1][0].metric == heading.metric:
            groups[-1] = (groups[-1][0], groups[-1][1] + 1)
        else:
            groups.append((heading, 1))
    spans, rules, column = [], [], 2
    for heading, width in groups:
        measure = f" [{heading.measure}]" if heading.measure else ""
        title = f"{latex(heading.metric + measure)} {_LATEX_ARROWS[heading.direction]}"
        spans.append(f"\\multicolumn{{{width}}}{{c}}{{{title}}}")
        rules.append(f"\\cmidrule(lr){{{column}-{column + width - 1}}}")
        column += width
    where = [f"{table.dataset}."] if table.dataset else []
    body = [
        f"{latex(method)} & {' & '.join(_latex_cell(cell) for cell in cells[_slice(block)])} \\\\"
        for method, cells in zip(table.methods, table.cells, strict=True)
    ]
    return "\n".join(
        [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{' '.join(latex(line) for line in [*where, *caption(comparison, spread=spread)])}}}",
            f"\\begin{{tabular}}{{l{'c' * len(headings)}}}",
            "\\toprule",
            f" & {' & '.join(spans)} \\\\",
            " ".join(rules),
            f"Method & {' & '.join(latex(heading.structure) for heading in headings)} \\\\",
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
    )


def _latex_cell(cell: Cell) -> str:
    # A hyphen outside mathematics is no minus.
    mean = f"${cell.mean}$" if cell.mean.startswith("-") else latex(cell.mean)
    text = mean + (f" $\\pm$ {cell.spread}" if cell.spread else "")
    if cell.emphasis != "none":
        text = {"best": "\\textbf", "second": "\\underline"}[cell.emphasis] + "{" + text + "}"
    return text + {"": "", "*": "$^{*}$", "†": "$^{\\dagger}$"}[cell.mark] + cell.remark()


def latex(text: str) -> str:
    r"""Escape the characters that LaTeX gives a meaning.

    Example:
        >>> print(latex("hard_label 5 %"))
        hard\_label 5 \%
    """
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
