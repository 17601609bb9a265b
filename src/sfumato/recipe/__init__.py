"""A recipe: everything that decides a training, validated, versioned, migrated."""

from sfumato.errors import optional_libraries

with optional_libraries():
    from sfumato.recipe.parts import PartChoice
    from sfumato.recipe.recipe import Recipe, parse_recipe, read_recipe, write_recipe

__all__ = ["PartChoice", "Recipe", "parse_recipe", "read_recipe", "write_recipe"]
