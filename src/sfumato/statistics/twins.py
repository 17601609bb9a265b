"""Temperature-scaled twins in a comparison: what repeats a model's numbers is not tested twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sfumato.statistics.tidy import Value

if TYPE_CHECKING:
    import pandas as pd

SUFFIX = "+T"  # of the run and the method of a model's temperature-scaled twin


def repeats(values: Sequence[Value], proposed: str) -> dict[str, str]:
    """Find the twins that have exactly their model's numbers in one metric.

    Temperature scaling changes no decision, so that a twin's Dice is its model's. Counting it as a method of
    its own would correct the others' p for one comparison more, and spread the ranks over one method more.

    Args:
        values: The rows of one metric.
        proposed: This one is never called a repetition: where it is a twin, its model is.

    Returns:
        The repeating method to the one that it repeats; empty where all are of their own.
    """
    numbers: dict[str, dict[tuple[str, ...], tuple[str, str]]] = {}
    for value in values:
        place = (value.dataset, value.seed, value.fold, value.run.removesuffix(SUFFIX))
        number = (value.status, repr(value.value))
        numbers.setdefault(value.method, {})[*place, value.case, value.structure] = number
    found = {}
    for twin in numbers:
        model = twin.removesuffix(SUFFIX)
        if twin != model and numbers.get(model) == numbers[twin]:
            repeating, repeated = (model, twin) if twin == proposed else (twin, model)
            found[repeating] = repeated
    return found


def with_repeats(tests: pd.DataFrame, repeated: Mapping[str, str]) -> pd.DataFrame:
    """Add the rows of the repeating methods to a table of tests: copies of those that they repeat.

    A method that repeats the proposed one has no row, as the proposed one has none.
    """
    import pandas as pd

    copies = [tests[tests["method"] == original].assign(method=name) for name, original in repeated.items()]
    copies = [copy for copy in copies if len(copy)]
    return pd.concat([tests, *copies], ignore_index=True) if copies else tests
