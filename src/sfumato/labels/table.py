"""Every label by its name in recipes: the rows that the label files end with."""

from __future__ import annotations

from sfumato.labels.definition import Label
from sfumato.rows import rows_of

LABELS: dict[str, Label] = rows_of("sfumato.labels", Label)
