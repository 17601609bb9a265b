"""How well raters agree with one another: the ceiling that a prediction is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sfumato.data.case import Case, Dataset
from sfumato.evaluation.case import CaseReference, evaluate_agreement
from sfumato.evaluation.rows import Origin, Row
from sfumato.structures import Structures

METRIC = "rater_dice"
EVERYONE = "all raters"


def agreement_rows(dataset: Dataset, cases: Iterable[Case]) -> list[Row]:
    """Score the raters of a data set that no run was evaluated on; ``raters`` stands for the method.

    Args:
        dataset: Names the labels and regions, and says which raters drew a case.
        cases: Cases with several raters; the others are left out.

    Returns:
        The rows of :func:`~sfumato.evaluation.case.evaluate_agreement` of every case.
    """
    structures = Structures(dataset.label_names, dataset.regions)
    rows: list[Row] = []
    for case in cases:
        if case.labels_per_rater is not None:
            origin = Origin("raters", "raters", dataset.name, None, None, case.name)
            reference = CaseReference.of(case, dataset, structures=structures, origin=origin)
            rows += evaluate_agreement(reference)
    return rows


def agreement_table(rows: Iterable[Row]) -> tuple[dict[str, object], ...]:
    """Average each rater's Dice with the others, per structure, over cases.

    Returns:
        One line per structure and rater (``structure``, ``rater``, ``Dice with the others``, ``lowest``,
        ``cases``), then one of all pairs. Empty where no row is of raters. Runs repeat the numbers of their
        cases: each case counts once.
    """
    values: dict[str, dict[str, dict[tuple[str, str], float]]] = {}
    for row in rows:
        if row.metric == METRIC and row.rater:
            mine = values.setdefault(row.structure, {}).setdefault(row.rater, {})
            mine.setdefault((row.dataset, row.case), row.value)
    lines: list[dict[str, object]] = []
    for structure, raters in values.items():
        lines += [_line(structure, rater, list(of_cases.values())) for rater, of_cases in raters.items()]
        cases = {case for of_cases in raters.values() for case in of_cases}
        everything = [value for of_cases in raters.values() for value in of_cases.values()]
        lines.append(_line(structure, EVERYONE, everything) | {"cases": len(cases)})
    return tuple(lines)


def _line(structure: str, rater: str, values: Sequence[float]) -> dict[str, object]:
    return {
        "structure": structure,
        "rater": rater,
        "Dice with the others": f"{math.fsum(values) / len(values):.3f}",
        "lowest": f"{min(values):.3f}",
        "cases": len(values),
    }
