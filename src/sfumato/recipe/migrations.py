"""Recipes of older versions, brought to the present form step by step.

A key is renamed, removed or given another default only together with a step here, and a test on a stored
file of the version before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from sfumato.errors import RecipeError

VERSION: Literal[2] = 2
"""The version that :class:`sfumato.recipe.recipe.Recipe` reads."""

Content = dict[str, Any]


def _from_version_1(content: Content) -> Content:
    """Keep everything: files were complete, and keys that came later have defaults that change nothing."""
    return content


_STEPS: dict[int, Callable[[Content], Content]] = {1: _from_version_1}
"""From each older version to the next."""


def migrated(content: Mapping[str, Any], *, source: str) -> Content:
    """Bring the content of a recipe to the present version.

    Args:
        content: What a file or a checkpoint holds. Without ``recipe_version`` it is of version 1.
        source: The file's name, for messages.

    Raises:
        RecipeError: its version is newer than this one, or none at all.
    """
    version = content.get("recipe_version", 1)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise RecipeError(
            f"{source}: recipe_version is {version!r}: expected a whole number from 1 to {VERSION}"
        )
    if version > VERSION:
        raise RecipeError(
            f"{source}: recipe_version is {version}, but this Sfumato reads 1 to {VERSION}: update Sfumato"
        )
    present = dict(content)
    for step in range(version, VERSION):
        present = {**_STEPS[step](present), "recipe_version": step + 1}
    return present
