"""One self-contained page of results: tables, figures and a viewer of the cases."""

from sfumato.errors import optional_libraries

with optional_libraries():
    from sfumato.report.assemble import assemble, with_tests
    from sfumato.report.data import (
        Overlay,
        Progression,
        RaterPanel,
        ReliabilityBin,
        ReportCase,
        ReportData,
        Section,
        ValueBin,
    )
    from sfumato.report.document import write_report
    from sfumato.report.runs import load_runs, run_folders

__all__ = [
    "Overlay",
    "Progression",
    "RaterPanel",
    "ReliabilityBin",
    "ReportCase",
    "ReportData",
    "Section",
    "ValueBin",
    "assemble",
    "load_runs",
    "run_folders",
    "with_tests",
    "write_report",
]
