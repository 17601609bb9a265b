"""The report of a study: its finished runs compared, and one page of them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.data.case import Dataset
from sfumato.report.assemble import assemble, with_tests
from sfumato.report.document import write_report
from sfumato.statistics import Comparison, compare_methods, tidy
from sfumato.study.outcomes import METRICS, Outcome
from sfumato.study.plan import Study
from sfumato.tables.comparison import write_comparison


def write_study_report(
    planned: Study, outcomes: Sequence[Outcome], dataset: Dataset, out: Path
) -> tuple[Path, Comparison | None]:
    """Write ``comparison/`` and ``report.html`` of a study; earlier ones are replaced.

    Args:
        planned: The study.
        outcomes: What became of its runs; at least one is finished.
        dataset: Its cases.
        out: Its folder.

    Returns:
        The page, and the comparison: None where no run of the proposed method is finished.
    """
    rows = tidy([outcome.folder / METRICS for outcome in outcomes if outcome.state != "failed"])
    comparison = None
    if planned.proposed in set(rows["method"]):
        comparison = compare_methods(rows, proposed=planned.proposed)
        write_comparison(comparison, out / "comparison", overwrite=True)
    notes = [
        f"{outcome.run.name} failed: {outcome.message}" for outcome in outcomes if outcome.state == "failed"
    ]
    runs = {path.parent.name for path in (out / "runs").glob(f"*/{METRICS}")}
    others = sorted(runs - {run.name for run in planned.runs})
    if others:
        notes.append(f"{', '.join(others)}: not in the plan, so in this report but not in the comparison")
    data = assemble(out / "runs", source=dataset)
    data = replace(data, notes=(*data.notes, *notes))
    if comparison is not None:
        data = with_tests(data, comparison)
    return write_report(data, out / "report.html", overwrite=True), comparison
