"""Published and own numbers as tables: for a reader (Markdown, LaTeX) and for a program (CSV)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sfumato.output import atomic_output
from sfumato.reproduction.experiments import Experiment
from sfumato.reproduction.side_by_side import Cell, Kind
from sfumato.tables.render import latex_escaped as latex

HEADINGS = ("Structure", "Training", "Published", "Ours", "n", "Difference", "Within")
RIGHT = frozenset(("Published", "Ours", "n", "Difference"))  # columns of numbers
SPREADS: Mapping[Kind, str] = {
    "std_over_runs": "standard deviation over runs",
    "std_over_cases": "standard deviation over test cases",
    "standard_error": "standard error over runs",
    "std_over_runs_and_cases": "standard deviation over all test cases of all runs",
    "none": "",
}
COUNTED: Mapping[Kind, str] = {
    "std_over_runs": "runs",
    "std_over_cases": "test cases",
    "standard_error": "runs",
    "std_over_runs_and_cases": "test cases of all runs",
    "none": "test cases",
}
_WITHIN = {True: "yes", False: "no", None: ""}
ABSENT = "–"
MARK = "*"


@dataclass(frozen=True)
class Block:
    """One table: a metric on one data set, a line per structure and training."""

    title: str
    lines: tuple[tuple[str, ...], ...]  # texts under HEADINGS


def blocks(cells: Iterable[Cell]) -> list[Block]:
    """Lay the cells out, one table per data set and metric; a structure is named on its first line."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.part.dataset, cell.metric, cell.unit), []).append(cell)
    found = []
    for (dataset, metric, unit), several in groups.items():
        measure = "" if unit == "fraction" else f" [{unit}]"
        found.append(Block(f"{dataset}: {metric}{measure}", tuple(_lines(several))))
    return found


def _lines(cells: Sequence[Cell]) -> Iterable[tuple[str, ...]]:
    before = ""
    for cell in cells:
        yield ("" if cell.structure == before else cell.structure, *_line(cell))
        before = cell.structure


def _line(cell: Cell) -> tuple[str, ...]:
    printed = cell.published
    decimals = printed.decimals if printed else {"%": 2, "mm": 2}.get(cell.unit, 3)
    published = ABSENT if printed is None else _with_spread(printed.mean, printed.spread)
    if _marked(cell):
        published += MARK
    ours = _with_spread(number(cell.ours.mean, decimals), number(cell.ours.spread, decimals, missing=""))
    if cell.ours.undefined:
        ours += f" ({cell.ours.undefined} undefined)"
    difference = number(cell.difference, decimals, missing="", sign=True)
    count = str(cell.ours.count) if cell.ours.count else ""
    return cell.training.name, published, ours, count, difference, _WITHIN[cell.within]


def _marked(cell: Cell) -> bool:
    """The paper calls the number significantly different from its own method's."""
    return cell.published is not None and cell.published.significant == "yes"


def _with_spread(mean: str, spread: str) -> str:
    return f"{mean} ± {spread}" if spread else mean


def number(value: float, decimals: int, *, missing: str = ABSENT, sign: bool = False) -> str:
    """Write a number with so many decimals; ``missing`` for nan."""
    if math.isnan(value):
        return missing
    # Adding 0 turns a negative number that rounds to nothing into 0.00.
    return format(round(value, decimals) + 0.0, f"{'+' if sign else ''}.{decimals}f")


def caption(cells: Sequence[Cell]) -> str:
    """Say what ±, n and "within" are, and the asterisk and HD95 where they occur."""
    kinds = dict.fromkeys(SPREADS[cell.ours.kind] for cell in cells)
    spreads = "; ".join(text for text in kinds if text)
    counted = " or ".join(dict.fromkeys(COUNTED[cell.ours.kind] for cell in cells))
    texts = [
        f"Published, and ours ± {spreads or 'nothing'}; n: the {counted} that our mean is over.",
        "Within: ours differs from the published mean by no more than the published spread.",
    ]
    if any(_marked(cell) for cell in cells):
        texts.append(f"{MARK}: the paper finds it significantly different from its own method's (p < 0.05).")
    if any(cell.part.metrics[cell.metric].ours == "hd95" for cell in cells):
        texts.append("Our HD95: the larger of both directions, surface elements weighted by their area.")
    return " ".join(texts)


def gaps(cells: Sequence[Cell]) -> list[str]:
    """Say which cells have no number of ours, and why: one sentence per data set."""
    found = []
    for dataset in dict.fromkeys(cell.part.dataset for cell in cells):
        mine = [cell for cell in cells if cell.part.dataset == dataset]
        lacking = [cell for cell in mine if cell.missing]
        texts = [*_without_run(mine), *_without_value(mine)]
        if lacking:
            found.append(f"{dataset}: {len(lacking)} of {len(mine)} cells are missing: {'; '.join(texts)}")
    return found


def _without_run(cells: Sequence[Cell]) -> list[str]:
    """Name the trainings of which there is nothing at all, those without it for one reason together."""
    seen = {name for _, name in _trained(cells)}
    reasons = {cell.training.name: cell.absent for cell in cells if cell.training.name not in seen}
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return [f"{', '.join(names)} ({reason})" for reason, names in groups.items()]


def _without_value(cells: Sequence[Cell]) -> list[str]:
    """Name the other cells, those of one metric and structure together."""
    trained = _trained(cells)
    places: dict[str, list[str]] = {}
    for cell in cells:
        if cell.missing and (cell.part.kind, cell.training.name) in trained:
            place = f"{cell.metric} {cell.structure} ({_gap(cell, trained)})"
            places.setdefault(place, []).append(cell.training.name)
    return [f"{place} of {', '.join(names)}" for place, names in places.items()]


def _trained(cells: Iterable[Cell]) -> set[tuple[str, str]]:
    """Give the trainings that have a value, be it undefined: kind of data set and name."""
    return {(cell.part.kind, cell.training.name) for cell in cells if not cell.missing or cell.ours.undefined}


def _gap(cell: Cell, trained: Container[tuple[str, str]]) -> str:
    """Say why a cell has no number; empty where it has one."""
    if not cell.missing:
        return ""
    if cell.ours.undefined:
        return "undefined"
    return "not in metrics.csv" if (cell.part.kind, cell.training.name) in trained else cell.absent


def csv_text(cells: Sequence[Cell]) -> str:
    """Write one line per cell; numbers of ours read back to the bit."""
    trained = _trained(cells)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(
        (
            *("data", "dataset", "architecture", "training", "metric", "structure", "unit", "published"),
            *("published_spread", "published_spread_kind", "published_significant"),
            *("ours", "ours_spread", "ours_spread_kind"),
            *("n", "undefined", "difference", "within", "notes", "missing"),
        )
    )
    for cell in cells:
        row, ours = cell.published, cell.ours
        writer.writerow(
            (
                *(cell.part.kind, cell.part.dataset, cell.training.architecture, cell.training.name),
                *(cell.metric, cell.structure, cell.unit),
                *((row.mean, row.spread, row.spread_kind, row.significant) if row else [""] * 4),
                *(_exact(ours.mean), _exact(ours.spread), ours.kind, ours.count, ours.undefined),
                *(
                    _exact(cell.difference),
                    _WITHIN[cell.within],
                    row.notes if row else "",
                    _gap(cell, trained),
                ),
            )
        )
    return buffer.getvalue()


def _exact(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def markdown_text(title: str, cells: Sequence[Cell], notes: Sequence[str] = ()) -> str:
    """Write the tables, what they show, and the notes as Markdown."""
    parts = [f"# {_markdown(title)}", _markdown(caption(cells))]
    for block in blocks(cells):
        lines = [HEADINGS, tuple("---:" if name in RIGHT else "---" for name in HEADINGS)]
        lines += [tuple(_markdown(text) for text in line) for line in block.lines]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts += [f"## {_markdown(block.title)}", table]
    said = [*gaps(cells), *notes]
    if said:
        parts.append("\n".join(f"- {_markdown(note)}" for note in said))
    return "\n\n".join(parts) + "\n"


def _markdown(text: str) -> str:
    for character in "\\|*_<>`":
        text = text.replace(character, "\\" + character)
    return text


def latex_text(title: str, cells: Sequence[Cell]) -> str:
    r"""Write the tables as LaTeX, ready for ``\input``; they need the package ``booktabs``."""
    parts = ["% needs \\usepackage{booktabs}"]
    alignment = "".join("r" if name in RIGHT else "l" for name in HEADINGS)
    for block in blocks(cells):
        body = [" & ".join(_latex(text) for text in line) + r" \\" for line in block.lines]
        parts.append(
            "\n".join(
                [
                    "\\begin{table}",
                    "\\centering",
                    f"\\caption{{{latex(f'{title}. {block.title}. {caption(cells)}')}}}",
                    f"\\begin{{tabular}}{{{alignment}}}",
                    "\\toprule",
                    " & ".join(HEADINGS) + r" \\",
                    "\\midrule",
                    *body,
                    "\\bottomrule",
                    "\\end{tabular}",
                    "\\end{table}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _latex(text: str) -> str:
    # A hyphen before a number is no minus outside mathematics.
    parts = (
        f"${part}$" if part[:1] in "+-" and part[1:2].isdigit() else latex(part) for part in text.split(" ± ")
    )
    return r" $\pm$ ".join(parts)


def write_tables(experiment: Experiment, cells: Sequence[Cell], notes: Sequence[str], out: Path) -> None:
    """Write the numbers side by side as CSV, Markdown and LaTeX; earlier ones are replaced."""
    title = f"{experiment.name}: {experiment.content.title}"
    texts = {
        ".csv": csv_text(cells),
        ".md": markdown_text(title, cells, notes),
        ".tex": latex_text(title, cells),
    }
    for ending, text in texts.items():
        with atomic_output(out / f"{experiment.name}{ending}", overwrite=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
