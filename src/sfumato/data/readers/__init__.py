"""From files to cases; one layout a module."""

from sfumato.data.readers.cases import load_case
from sfumato.data.readers.files import Volume, read_volume, write_volume

__all__ = ["Volume", "load_case", "read_volume", "write_volume"]
