"""Assemble one self-contained page: text, tables, figures and the case viewer in a single file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from sfumato import __version__
from sfumato.evaluation.rows import SCALED
from sfumato.output import atomic_output, require_free
from sfumato.report import figures
from sfumato.report.data import BIN_SETS, SET_TITLES, ReportData, TableRow
from sfumato.report.drawings import Drawing, draw
from sfumato.report.viewer import payload
from sfumato.report.volumes import volume_report
from sfumato.statistics.tidy import tidy
from sfumato.statistics.units import AVERAGE
from sfumato.tables.metrics import metrics_shown_in
from sfumato.tables.render import html_table
from sfumato.tables.results import (
    CaseLine,
    average_meaning,
    case_lines,
    overall_tables,
    rater_table,
    report_summary,
    structure_tables,
)
from sfumato.tables.table import Cell, Heading, Table, number, record_table

TEMPLATES = Path(__file__).parent / "templates"
FOLDER = "figures"  # beside the page


def write_report(data: ReportData, path: Path | str, *, overwrite: bool = False) -> Path:
    """Write the report as one HTML file that needs no network, and its figures in a folder beside it.

    Args:
        data: What to show; empty parts are left out of the page.
        path: Where the page shall be. The figures go to ``figures`` in the same folder, the plots as SVG
            and PNG, the pictures as PNG.
        overwrite: Replace an existing page and the figures of the same names.

    Returns:
        The page's path.

    Raises:
        OutputExistsError: the page or one of its figures exists and ``overwrite`` is off.
        InputError: a metric of the rows comes in two units.
        MachineError: the disk is full; the page appears whole or not at all.
    """
    path = Path(path)
    require_free(path, overwrite=overwrite)
    drawings = draw(data)
    page = _page(data, drawings)
    files = {
        path.parent / FOLDER / f"{drawing.name}{ending}": content
        for several in drawings.values()
        for drawing in several
        for ending, content in drawing.files.items()
    }
    for file in files:
        require_free(file, overwrite=overwrite)
    for file, content in (files | {path: page.encode("utf-8")}).items():
        with atomic_output(file, overwrite=True) as temporary:
            temporary.write_bytes(content)
    return path


def _page(data: ReportData, drawings: Mapping[str, Sequence[Drawing]]) -> str:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["html"] = lambda table, **options: Markup(html_table(table, **options))
    lines = case_lines(data.rows) if data.rows else ()
    viewer = payload(data.cases, lines=lines, label_names=data.label_names)
    return environment.get_template("report.html.j2").render(
        data=data,
        introduction=data.introduction or _introduction(data),
        notes=(*data.notes, *viewer.notes),
        lines=_case_table(data, lines),
        start=figures.common_start(row.case for row in data.rows),
        drawings=drawings,
        agreement=_records(data.agreement),
        pooled=_bin_tables(data),
        viewer=_embedded(viewer.content) if data.cases else "",
        settings=_settings(data),
        style=_asset("report.css"),
        script=_asset("report.js"),
        version=__version__,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **_result_tables(data),
        **_test_tables(data.comparisons),
    )


def _result_tables(data: ReportData) -> dict[str, Any]:
    """Make all tables of scores; the average over structures is explained where there is one."""
    if not data.rows:
        return {"overall": [], "structures": {}, "per_rater": None, "volumes": None, "averaged": ""}
    rows = tidy(data.rows)
    summary = report_summary(rows)
    return {
        "overall": overall_tables(summary),
        "structures": structure_tables(summary),
        "per_rater": rater_table(rows),
        "volumes": volume_report(rows),
        "averaged": average_meaning("case") if AVERAGE in set(summary["structure"]) else "",
    }


def _test_tables(lines: Sequence[TableRow]) -> dict[str, Any]:
    """Sort the tests: of the average over structures, or of a metric that has none; and per structure."""
    averaged = {line.get("metric") for line in lines if line.get("structure") == AVERAGE}
    chosen = [
        line for line in lines if line.get("structure") == AVERAGE or line.get("metric") not in averaged
    ]
    metrics = metrics_shown_in("summary", {str(line.get("metric")) for line in chosen})
    main = [line for line in chosen if line.get("metric") in metrics and "@" not in str(line["structure"])]
    further = [line for line in chosen if line not in main] if main else []
    structures: dict[str, list[TableRow]] = {}
    for line in lines:
        place = ", ".join(str(line[name]) for name in ("dataset", "structure") if name in line)
        structures.setdefault(place, []).append(line)
    return {
        "main_tests": _records(main or chosen),
        "further_tests": _records(further),
        "tests": {place: _records(several) for place, several in structures.items()},
    }


def _records(lines: Sequence[TableRow]) -> Table:
    return record_table("", lines, decimals=3)


def _case_table(data: ReportData, lines: Sequence[CaseLine]) -> Table:
    """Tabulate the mean Dice of every case, worst first."""
    headings = (Heading("Case", numeric=False), *map(Heading, ("All methods", *data.method_names)))
    rows = []
    for line in lines:
        values = (line.mean, *(line.values.get(method, math.nan) for method in data.method_names))
        rows.append((Cell(line.case), *(Cell(number(value, 3), value) for value in values)))
    return Table("", headings, tuple(rows))


def _bin_tables(data: ReportData) -> list[Table]:
    """Tabulate the bins of the reliability diagrams; methods with fewer bins have empty cells."""
    tables = []
    for name in BIN_SETS:
        methods = figures.pooled_bins(data, name)
        names = [Heading(f"{method}: {what}") for method in methods for what in ("accuracy", "voxels")]
        rows = []
        for several in zip_longest(*methods.values()):
            first = next(bin_ for bin_ in several if bin_)
            cells = [Cell(f"{first.low:.2f}–{first.high:.2f}")]
            for bin_ in several:
                cells += [Cell(number(bin_.accuracy, 3)), Cell(f"{bin_.count:,}")] if bin_ else [Cell("")] * 2
            rows.append(tuple(cells))
        headings = (Heading("Confidence", numeric=False), *names)
        tables += [Table(SET_TITLES[name], headings, tuple(rows))] if methods else []
    return tables


def _asset(name: str) -> Markup:
    # Our own style and script go into the page as they are; only data is escaped.
    return Markup((TEMPLATES / name).read_text("utf-8"))


def _embedded(content: Mapping[str, Any]) -> Markup:
    """Write JSON that cannot end the script element it stands in."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _introduction(data: ReportData) -> str:
    """Say in one paragraph what was compared, as far as the rows tell."""
    if not data.rows:
        return "No results were given."
    cases = {(row.dataset, row.case) for row in data.rows}
    runs = {row.run for row in data.rows if not row.run.endswith(SCALED)}
    seeds = {row.seed for row in data.rows if row.seed is not None}
    folds = {row.fold for row in data.rows if row.fold is not None}
    datasets = ", ".join(sorted({row.dataset for row in data.rows if row.dataset}))
    methods = [name for name in data.method_names if not name.endswith(SCALED)]
    scaled = len(data.method_names) - len(methods)
    parts = [
        f"{_many(len(methods), 'method')} ({', '.join(methods)}) on {_many(len(cases), 'test case')}"
        + (f" of {datasets}" if datasets else "")
        + f": {_many(len(runs), 'run')}"
        + (f", {_many(len(seeds), 'seed')}" if seeds else "")
        + (f", {_many(len(folds), 'fold')}" if folds else "")
        + ".",
        *(
            [
                f"A name with {SCALED} is the same model with its probabilities scaled by one temperature, "
                "fitted on the validation cases: what a soft label must beat to be worth while."
            ]
            if scaled
            else []
        ),
        "Each test case was predicted at its own resolution and scored against its reference.",
        "The values that one case has from several seeds or folds are averaged first, then those of its "
        "structures; means and standard deviations (ddof 1) are over cases.",
    ]
    return " ".join(parts)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _settings(data: ReportData) -> dict[str, list[tuple[tuple[str, ...], str]]]:
    """Group the runs that share one text: title, then (runs, text) pairs."""
    settings = {}
    for title, texts in (("Recipe", data.recipes), ("Environment", data.environments)):
        groups: dict[str, list[str]] = {}
        for run, text in texts.items():
            groups.setdefault(text, []).append(run)
        settings[title] = [(tuple(runs), text) for text, runs in groups.items()]
    return settings
