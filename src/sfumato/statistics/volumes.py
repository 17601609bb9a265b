"""How well predicted volumes agree with the reference's, per method and structure, from tidy rows alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from sfumato.errors import InputError
from sfumato.metrics.volume import BlandAltman, bland_altman
from sfumato.statistics.tidy import Rows, tidy
from sfumato.statistics.units import require_single, scores_of

PREDICTED, REFERENCE = "volume", "volume_ref"
COLUMNS = (
    *("dataset", "structure", "rater", "method", "n", "left_out", "unit"),
    *("correlation", "mean_difference", "deviation", "lower", "upper", "status"),
)


@dataclass(frozen=True)
class VolumePairs:
    """One method's volumes of one structure, beside the reference's; one value per case.

    Attributes:
        dataset: The data set.
        structure: The structure.
        rater: The rater whose volumes are the reference; empty for the consensus.
        method: The method.
        measure: The unit of the volumes, e.g. "ml".
        predicted: The predicted volumes of the cases with both, each the mean over its seeds and folds.
        reference: Their reference volumes, averaged likewise.
        left_out: Cases without a pair, because either volume is missing or undefined.
    """

    dataset: str
    structure: str
    rater: str
    method: str
    measure: str
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
        if len(self.predicted) < 2:
            return "one_case" if self.predicted else "no_case"
        return "constant_volume" if math.isnan(self.agreement.correlation) else "ok"


def volume_pairs(rows: Rows) -> list[VolumePairs]:
    """Pair the volumes of every case with those of its reference.

    A case's seeds and folds are averaged first, so that they never count as independent cases. Rows that
    name no case are left out, and so is a structure or method with just one of the two metrics.

    Args:
        rows: As for :func:`~sfumato.statistics.tidy.tidy`, among them those of the metrics ``volume`` and
            ``volume_ref``.

    Returns:
        One item per data set, structure, rater and method, in order of appearance; none without such rows.

    Raises:
        InputError: Two volumes for one place, or volumes in several units.
    """
    checked = tidy(rows)
    checked = checked[checked["metric"].isin((PREDICTED, REFERENCE)) & (checked["case"] != "")]
    pairs = []
    for _, structure in checked.groupby(["dataset", "structure", "rater"], sort=False):
        for method, part in structure.groupby("method", sort=False):
            if set(part["metric"]) == {PREDICTED, REFERENCE}:
                pairs.append(_pairs(str(method), part))
    return pairs


def _pairs(method: str, rows: pd.DataFrame) -> VolumePairs:
    measures = dict(rows.groupby("metric")["unit"].first())
    if measures[PREDICTED] != measures[REFERENCE]:
        raise InputError(
            f"volume of {rows['structure'].iloc[0]} comes in {measures[PREDICTED]!r}, volume_ref in "
            f"{measures[REFERENCE]!r}: convert the values to one unit"
        )
    require_single(rows)
    # The two volumes are paired as two methods are.
    (scores,) = scores_of(rows.assign(method=rows["metric"], metric=PREDICTED), "case")
    predicted, reference = scores.aligned((PREDICTED, REFERENCE)).values.T.tolist()
    place = (scores.dataset, scores.structure, scores.rater, method, scores.measure)
    left_out = len({place.case for place in scores.places}) - len(predicted)
    return VolumePairs(*place, tuple(predicted), tuple(reference), left_out)


def volume_table(rows: Rows) -> pd.DataFrame:
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
        limits, place = pairs.agreement, (pairs.dataset, pairs.structure, pairs.rater, pairs.method)
        numbers = (limits.correlation, limits.bias, limits.deviation, limits.lower, limits.upper)
        records.append((*place, limits.cases, pairs.left_out, pairs.measure, *numbers, pairs.status))
    return pd.DataFrame(records, columns=list(COLUMNS))
