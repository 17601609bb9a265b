"""Score a case, a run or a folder of files, as tidy rows."""

from sfumato.evaluation.case import Origin, Settings, evaluate_case
from sfumato.evaluation.rows import Row, Summary, aggregate, read_rows, write_rows

__all__ = [
    "Origin",
    "Row",
    "Settings",
    "Summary",
    "aggregate",
    "evaluate_case",
    "read_rows",
    "write_rows",
]
