"""Temperature-scaled models in a comparison: what repeats a model's numbers is not tested twice."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sfumato.evaluation.rows import SCALED


def repeats(rows: pd.DataFrame, proposed: str) -> dict[str, str]:
    """Find the temperature-scaled models that have exactly their model's numbers in one metric.

    Temperature scaling changes no decision, so the scaled model's Dice is the model's. Counting it as a
    method of its own would correct the others' p for one comparison more, and spread the ranks over one
    method more.

    Args:
        rows: The checked rows of one metric.
        proposed: This one is never called a repetition: where it is the scaled one, its model is.

    Returns:
        The repeating method to the one that it repeats; empty where all are of their own.
    """
    places = ["dataset", "seed", "fold", "run", "case", "structure", "rater"]
    numbers = rows.assign(run=rows["run"].str.removesuffix(SCALED)).set_index(places)
    tables = {str(name): part.sort_index() for name, part in numbers.groupby("method", sort=False)}
    repeating: dict[str, str] = {}
    for scaled, table in tables.items():
        model = tables.get(scaled.removesuffix(SCALED))
        names = ["status", "value"]
        if scaled.endswith(SCALED) and model is not None and table[names].equals(model[names]):
            pair = (scaled, scaled.removesuffix(SCALED))
            repeating.update([pair[::-1] if scaled == proposed else pair])
    return repeating


def with_repeats(tests: pd.DataFrame, repeated: Mapping[str, str]) -> pd.DataFrame:
    """Add the rows of the repeating methods to a table of tests: copies of those that they repeat.

    A method that repeats the proposed one has no row, as the proposed one has none.
    """
    copies = [tests[tests["method"] == original].assign(method=name) for name, original in repeated.items()]
    return pd.concat([tests, *(copy for copy in copies if len(copy))], ignore_index=True)
