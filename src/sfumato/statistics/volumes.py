"""How well predicted volumes agree with the reference's, per method and structure, from tidy rows alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from sfumato.errors import InputError
from sfumato.evaluation.rows import Row
from sfumato.metrics.volume import BlandAltman, bland_altman
from sfumato.statistics.tidy import Value, tidy
from sfumato.statistics.units import columns, unit_means

PREDICTED, REFERENCE = "volume", "volume_ref"
COLUMNS = (
    *("dataset", "structure", "method", "n", "left_out", "unit"),
    *("correlation", "mean_difference", "deviation", "lower", "upper", "status"),
)


@dataclass(frozen=True)
class VolumePairs:
    """One method's volumes of one structure, beside the reference's; one value per case.

    Attributes:
        dataset: The data set.
        structure: The structure.
        method: The method.
        measure: The unit of the volumes, e.g. "ml".
        cases: The cases with both volumes.
        predicted: Their predicted volumes, each the mean over the case's seeds and folds.
        reference: Their reference volumes, averaged likewise.
        left_out: Cases without a pair, because either volume is missing or undefined.
    """

    dataset: str
    structure: str
    method: str
    measure: str
    cases: tuple[str, ...]
    predicted: tuple[float, ...]
    reference: tuple[float, ...]
    left_out: int

    @property
    def agreement(self) -> BlandAltman:
        """Bias, limits of agreement and correlation, nan where they do not exist."""
        return bland_altman(self.predicted, self.reference)

    @property
    def status(self) -> str:
        """``ok``, or why numbers are missing: ``no_case``, ``one_case``, ``constant_volume``."""
        if len(self.cases) < 2:
            return "one_case" if self.cases else "no_case"
        return "constant_volume" if math.isnan(self.agreement.correlation) else "ok"


def volume_pairs(rows: Iterable[Row] | Sequence[Value] | pd.DataFrame) -> list[VolumePairs]:
    """Pair the volumes of every case with those of its reference.

    A case's seeds and folds are averaged first, so that they never count as independent cases. Rows that
    name no case are left out, and so is a structure or method with just one of the two metrics.

    Args:
        rows: Tidy rows, as for :func:`~sfumato.statistics.tests.wilcoxon_table`, among them those of the
            metrics ``volume`` and ``volume_ref``.

    Returns:
        One item per data set, structure and method, in order of appearance; none without such rows.

    Raises:
        InputError: Two volumes for one place, or volumes in several units.
    """
    values = [value for value in tidy(rows) if value.metric in (PREDICTED, REFERENCE) and value.case]
    single = [column for column in columns(values) if len(column.parts) == 1]
    references = {
        (column.dataset, column.structure): column for column in single if column.metric == REFERENCE
    }
    found = []
    for column in single:
        reference = references.get((column.dataset, column.structure))
        if column.metric != PREDICTED or reference is None:
            continue
        if column.measure != reference.measure:
            raise InputError(
                f"volume of {column.structure} comes in {column.measure!r}, volume_ref in "
                f"{reference.measure!r}: convert the values to one unit"
            )
        for method in column.parts[0]:
            (first,), (second,) = column.series(method), reference.series(method)
            if not second.keys():
                continue
            both = [key for key in first.defined if key in second.defined]
            one = unit_means({key: first.defined[key] for key in both}, "case")
            two = unit_means({key: second.defined[key] for key in both}, "case")
            cases = {key.case for key in first.keys() | second.keys()}
            place = (column.dataset, column.structure, method, column.measure)
            numbers = tuple(one.values()), tuple(two[case] for case in one)
            found.append(VolumePairs(*place, tuple(one), *numbers, len(cases) - len(one)))
    return found


def volume_table(rows: Iterable[Row] | Sequence[Value] | pd.DataFrame) -> pd.DataFrame:
    """Tabulate the agreement of predicted and reference volumes, per data set, structure and method.

    Args:
        rows: As in :func:`volume_pairs`.

    Returns:
        One row each, with ``n`` cases, ``left_out`` cases without both volumes, Pearson's ``correlation``,
        ``mean_difference`` of prediction - reference, its standard ``deviation`` (ddof 1), and the 95 %
        limits of agreement ``lower`` and ``upper``, ``mean_difference -+ 1.96 deviation``. ``status`` is
        ``ok``, or says which numbers are nan: ``no_case`` (all), ``one_case`` (all but the difference),
        ``constant_volume`` (the correlation: the predictions or the references are all alike). No rows
        where nothing has both volumes.

    Raises:
        InputError: As in :func:`volume_pairs`.

    References:
        Bland and Altman (1986), Statistical methods for assessing agreement between two methods of
        clinical measurement, 10.1016/S0140-6736(86)90837-8
    """
    records = []
    for pairs in volume_pairs(rows):
        found = pairs.agreement
        place = (pairs.dataset, pairs.structure, pairs.method, found.cases, pairs.left_out, pairs.measure)
        numbers = (found.correlation, found.bias, found.deviation, found.lower, found.upper)
        records.append((*place, *numbers, pairs.status))
    return pd.DataFrame(records, columns=list(COLUMNS))
