"""Studies: runs of many methods, and the statistics that compare them."""

from sfumato.errors import optional_libraries

with optional_libraries():
    from sfumato.statistics.comparison import Comparison, compare_methods
    from sfumato.statistics.directions import DIRECTIONS, direction_of
    from sfumato.statistics.tests import (
        Settings,
        rank_table,
        summary_table,
        wilcoxon_table,
    )
    from sfumato.statistics.tidy import read_tables

__all__ = [
    "DIRECTIONS",
    "Comparison",
    "Settings",
    "compare_methods",
    "direction_of",
    "rank_table",
    "read_tables",
    "summary_table",
    "wilcoxon_table",
]
