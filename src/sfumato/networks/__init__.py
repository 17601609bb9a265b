"""Networks by name; activations live in ``sfumato.activations``, never inside a network."""

from sfumato.networks.build import NETWORKS, build, size_divisor

__all__ = ["NETWORKS", "build", "size_divisor"]
