"""How well raters agree with one another: the ceiling that a prediction is compared with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from sfumato.data.case import Case, Dataset
from sfumato.metrics.raters import rater_agreement


def agreement_table(dataset: Dataset, cases: Iterable[Case]) -> tuple[dict[str, object], ...]:
    """Mean Dice of each rater with the others, per structure, over cases.

    Args:
        dataset: Names the raters, labels and regions.
        cases: Cases with several raters; the others are left out.

    Returns:
        One line per structure and rater (``structure``, ``rater``, ``Dice with the others``, ``lowest``,
        ``cases``), then one of all pairs. Empty where no case has two raters.
    """
    groups = dataset.regions or {name: (label,) for label, name in dataset.label_names.items() if label != 0}
    tables = []
    for case in cases:
        if case.labels_per_rater is None or len(case.labels_per_rater) < 2:
            continue
        labels = case.labels_per_rater
        masks = [torch.isin(labels, labels.new_tensor(values)) for values in groups.values()]
        tables.append(rater_agreement(torch.stack(masks, dim=1)))
    if not tables:
        return ()
    lines: list[dict[str, object]] = []
    for index, structure in enumerate(groups):
        lines += _lines(structure, dataset.rater_names, [table[:, :, index] for table in tables])
    return tuple(lines)


def _lines(structure: str, raters: Sequence[str], tables: Sequence[torch.Tensor]) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    everything: list[float] = []
    for number, rater in enumerate(raters):
        means = []
        for table in tables:
            row = table[number]
            others = torch.cat((row[:number], row[number + 1 :]))
            defined = others[~others.isnan()]
            if len(defined):
                means.append(float(defined.mean()))
        everything += means
        lines.append(_line(structure, rater, means))
    lines.append(_line(structure, "all raters", everything) | {"cases": len(tables)})
    return lines


def _line(structure: str, rater: str, means: Sequence[float]) -> dict[str, object]:
    mean = math.fsum(means) / len(means) if means else math.nan
    lowest = min(means, default=math.nan)
    return {
        "structure": structure,
        "rater": rater,
        "Dice with the others": f"{mean:.3f}",
        "lowest": f"{lowest:.3f}",
        "cases": len(means),
    }
