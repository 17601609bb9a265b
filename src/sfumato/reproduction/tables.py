"""Published and own numbers as tables: for a reader (Markdown, LaTeX) and for a program (CSV)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path

from sfumato.output import atomic_output
from sfumato.reproduction.experiments import Experiment
from sfumato.reproduction.side_by_side import Compared, SpreadMeaning
from sfumato.tables.render import latex, markdown, markdown_escaped
from sfumato.tables.table import Cell, Heading, Table, number, with_spread

TEXTS = ("Structure", "Training", "Within")
HEADINGS = tuple(
    Heading(title, numeric=title not in TEXTS)
    for title in ("Structure", "Training", "Published", "Ours", "n", "Difference", "Within")
)
# What our ± is, and what our mean is over.
MEANINGS: Mapping[SpreadMeaning, tuple[str, str]] = {
    "std_over_runs": ("standard deviation over runs", "runs"),
    "std_over_cases": ("standard deviation over test cases", "test cases"),
    "standard_error": ("standard error over runs", "runs"),
    "std_over_runs_and_cases": (
        "standard deviation over all test cases of all runs",
        "test cases of all runs",
    ),
    "none": ("", "test cases"),
}
_WITHIN = {True: "yes", False: "no", None: ""}
MARK = "*"


def side_by_side_tables(cells: Iterable[Compared]) -> list[Table]:
    """Make one table per data set and metric; a structure is named on its first line."""
    groups: dict[tuple[str, str, str], list[Compared]] = {}
    for cell in cells:
        groups.setdefault((cell.part.dataset, cell.metric, cell.unit), []).append(cell)
    return [
        Table(
            f"{dataset}: {metric}{'' if unit == 'fraction' else f' [{unit}]'}", HEADINGS, tuple(_lines(rows))
        )
        for (dataset, metric, unit), rows in groups.items()
    ]


def _lines(cells: Sequence[Compared]) -> Iterable[tuple[Cell, ...]]:
    before = ""
    for cell in cells:
        yield (Cell("" if cell.structure == before else cell.structure), *_line(cell))
        before = cell.structure


def _line(cell: Compared) -> tuple[Cell, ...]:
    printed, ours = cell.published, cell.ours
    decimals = printed.decimals if printed else {"%": 2, "mm": 2}.get(cell.unit, 3)
    published = Cell(number(math.nan, 0))
    if printed is not None:
        mark = MARK if _marked(cell) else ""
        published = Cell(with_spread(printed.mean, printed.spread), printed.value, mark=mark)
    mean, spread = number(ours.mean, decimals), number(ours.spread, decimals, missing="")
    return (
        Cell(cell.training.name),
        published,
        Cell(with_spread(mean, spread), ours.mean, undefined=ours.undefined),
        Cell(str(ours.count) if ours.count else "", ours.count or math.nan),
        Cell(number(cell.difference, decimals, missing="", sign=True), cell.difference),
        Cell(_WITHIN[cell.within]),
    )


def _marked(cell: Compared) -> bool:
    """Return whether the paper calls the number significantly different from its own method's."""
    return cell.published is not None and cell.published.significant == "yes"


def caption(cells: Sequence[Compared]) -> str:
    """Say what ±, n and "within" are, and the asterisk and HD95 where they occur."""
    meanings = [MEANINGS[cell.ours.spread_kind] for cell in cells]
    spreads = "; ".join(text for text in dict.fromkeys(spread for spread, _ in meanings) if text)
    counted = " or ".join(dict.fromkeys(count for _, count in meanings))
    texts = [
        f"Published, and ours ± {spreads or 'nothing'}; n: the {counted} that our mean is over.",
        "Within: ours differs from the published mean by no more than the published spread.",
    ]
    if any(_marked(cell) for cell in cells):
        texts.append(f"{MARK}: the paper finds it significantly different from its own method's (p < 0.05).")
    if any(cell.part.metrics[cell.metric].ours == "hd95" for cell in cells):
        texts.append("Our HD95: the larger of both directions, surface elements weighted by their area.")
    return " ".join(texts)


def gaps(cells: Sequence[Compared]) -> list[str]:
    """Say which cells have no number of ours, and why: one sentence per data set."""
    remarks = []
    for dataset in dict.fromkeys(cell.part.dataset for cell in cells):
        mine = [cell for cell in cells if cell.part.dataset == dataset]
        lacking = [cell for cell in mine if cell.missing]
        texts = [*_without_run(mine), *_without_value(mine)]
        if lacking:
            remarks.append(f"{dataset}: {len(lacking)} of {len(mine)} cells are missing: {'; '.join(texts)}")
    return remarks


def _without_run(cells: Sequence[Compared]) -> list[str]:
    """Name the trainings of which there is nothing at all, those without it for one reason together."""
    seen = {name for _, name in _trained(cells)}
    reasons = {cell.training.name: cell.absent for cell in cells if cell.training.name not in seen}
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return [f"{', '.join(names)} ({reason})" for reason, names in groups.items()]


def _without_value(cells: Sequence[Compared]) -> list[str]:
    """Name the other cells, those of one metric and structure together."""
    trained = _trained(cells)
    places: dict[str, list[str]] = {}
    for cell in cells:
        if cell.missing and (cell.part.layout, cell.training.name) in trained:
            place = f"{cell.metric} {cell.structure} ({_gap(cell, trained)})"
            places.setdefault(place, []).append(cell.training.name)
    return [f"{place} of {', '.join(names)}" for place, names in places.items()]


def _trained(cells: Iterable[Compared]) -> set[tuple[str, str]]:
    """Return the trainings that have a value, be it undefined: layout of the data set and name."""
    return {
        (cell.part.layout, cell.training.name) for cell in cells if not cell.missing or cell.ours.undefined
    }


def _gap(cell: Compared, trained: Container[tuple[str, str]]) -> str:
    """Say why a cell has no number; empty where it has one."""
    if not cell.missing:
        return ""
    if cell.ours.undefined:
        return "undefined"
    return "not in metrics.csv" if (cell.part.layout, cell.training.name) in trained else cell.absent


def csv_text(cells: Sequence[Compared]) -> str:
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
                *(cell.part.layout, cell.part.dataset, cell.training.architecture, cell.training.name),
                *(cell.metric, cell.structure, cell.unit),
                *((row.mean, row.spread, row.spread_kind, row.significant) if row else [""] * 4),
                *(_exact(ours.mean), _exact(ours.spread), ours.spread_kind, ours.count, ours.undefined),
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


def markdown_text(title: str, cells: Sequence[Compared], notes: Sequence[str] = ()) -> str:
    """Write the tables, what they show, and the notes as Markdown."""
    parts = [f"# {markdown_escaped(title)}", markdown_escaped(caption(cells))]
    for table in side_by_side_tables(cells):
        parts += [f"## {markdown_escaped(table.title)}", markdown(table)]
    remarks = [*gaps(cells), *notes]
    if remarks:
        parts.append("\n".join(f"- {markdown_escaped(remark)}" for remark in remarks))
    return "\n\n".join(parts) + "\n"


def latex_text(title: str, cells: Sequence[Compared]) -> str:
    r"""Write the tables as LaTeX, ready for ``\input``; they need the package ``booktabs``."""
    parts = [
        latex(table, caption=f"{title}. {table.title}. {caption(cells)}")
        for table in side_by_side_tables(cells)
    ]
    return "\n\n".join(["% needs \\usepackage{booktabs}", *parts]) + "\n"


def write_tables(experiment: Experiment, cells: Sequence[Compared], notes: Sequence[str], out: Path) -> None:
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
