"""Every loss by its name in recipes: the rows that the loss files end with."""

from __future__ import annotations

from sfumato.losses.definition import Loss
from sfumato.rows import rows_of

LOSSES: dict[str, Loss] = rows_of("sfumato.losses", Loss)
