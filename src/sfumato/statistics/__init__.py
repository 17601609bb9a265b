"""Statistics over tidy rows: data frames in, data frames out."""

from sfumato.errors import optional_libraries

with optional_libraries():
    from sfumato.statistics.comparison import Comparison, compare_methods
    from sfumato.statistics.directions import direction_of
    from sfumato.statistics.summary import summary_table
    from sfumato.statistics.tests import ComparisonOptions, compare, rank_table
    from sfumato.statistics.tidy import tidy
    from sfumato.statistics.units import unit_values
    from sfumato.statistics.volumes import volume_table

__all__ = [
    "Comparison",
    "ComparisonOptions",
    "compare",
    "compare_methods",
    "direction_of",
    "rank_table",
    "summary_table",
    "tidy",
    "unit_values",
    "volume_table",
]
