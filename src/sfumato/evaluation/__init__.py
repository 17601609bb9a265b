"""Score a case, a run or a folder of files, as tidy rows."""

from sfumato.errors import optional_libraries

with optional_libraries():
    from sfumato.evaluation.case import (
        CaseReference,
        SoftPrediction,
        evaluate_agreement,
        evaluate_case,
        evaluate_masks,
        evaluate_soft,
    )
    from sfumato.evaluation.folder import FolderScores, evaluate_folder, score_folder
    from sfumato.evaluation.metrics_table import METRICS, Metric, ScoringOptions
    from sfumato.evaluation.rows import Origin, Row, read_rows, write_rows

__all__ = [
    "METRICS",
    "CaseReference",
    "FolderScores",
    "Metric",
    "Origin",
    "Row",
    "ScoringOptions",
    "SoftPrediction",
    "evaluate_agreement",
    "evaluate_case",
    "evaluate_folder",
    "evaluate_masks",
    "evaluate_soft",
    "read_rows",
    "score_folder",
    "write_rows",
]
