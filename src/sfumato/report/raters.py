"""The raters of one case, beside the soft labels that are made of them."""

from __future__ import annotations

from sfumato.data.case import Case, Dataset
from sfumato.errors import InputError
from sfumato.methods import method
from sfumato.report.data import RaterPanel


def rater_panel(dataset: Dataset, case: Case) -> RaterPanel:
    """Return the masks of a case's raters, with the soft labels that ``moh`` and ``msvls`` make of them.

    Raises:
        InputError: the case has no masks of several raters.
    """
    if case.labels is None or case.labels_per_rater is None:
        raise InputError(f"case {case.name} of {dataset.name} has no masks of several raters")
    soft = {
        name: method(name).target(
            case.labels,
            case.image,
            num_classes=dataset.num_classes,
            spacing=case.spacing,
            labels_per_rater=case.labels_per_rater,
        )
        for name in ("moh", "msvls")
    }
    return RaterPanel(case.name, case.image, case.labels_per_rater, dataset.rater_names, soft)
