"""Where the published recipes lie: inside an installed package, beside ``src`` in a checkout."""

from __future__ import annotations

from pathlib import Path

from sfumato.errors import FileFormatError

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "recipes", _PACKAGE.parents[1] / "recipes")


def recipe_file(name: str) -> Path:
    """Find a recipe that comes with Sfumato, such as ``demo.yaml``.

    Raises:
        FileFormatError: no such recipe; the places looked at are named.
    """
    for place in _PLACES:
        if (place / name).is_file():
            return place / name
    raise FileFormatError(f"recipe {name} is in none of {', '.join(str(place) for place in _PLACES)}")
