"""Networks by name; activations live in ``sfumato.activations``, never inside a network."""

from sfumato.networks.build import build, needs_image_size, require_image_size, require_options, size_divisor
from sfumato.networks.table import NETWORKS

__all__ = ["NETWORKS", "build", "needs_image_size", "require_image_size", "require_options", "size_divisor"]
