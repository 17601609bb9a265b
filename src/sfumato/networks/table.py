"""Every network by its name in recipes: the rows that the network files end with."""

from __future__ import annotations

from sfumato.networks.definition import Network
from sfumato.rows import rows_of

NETWORKS: dict[str, Network] = rows_of("sfumato.networks", Network)
