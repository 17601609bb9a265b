"""The page of all keys says what the recipe's docstrings say."""

import importlib.util
from pathlib import Path

import yaml

from sfumato.recipe.recipe import Recipe, parse_recipe

SCRIPT = Path(__file__).parents[2] / "docs" / "recipe_page.py"
PAGE = SCRIPT.with_name("recipe.md")


def test_the_page_is_what_its_script_writes():
    spec = importlib.util.spec_from_file_location("recipe_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert PAGE.read_text() == module.page(), "run: python docs/recipe_page.py"


def test_the_page_has_every_key_and_its_example_is_a_recipe():
    text = PAGE.read_text()
    recipe = parse_recipe(yaml.safe_load(text.split("```yaml")[1].split("```")[0]), source="page")
    for key, value in recipe.model_dump(mode="json").items():
        part = key in ("split", "preprocess", "augment", "patch", "network", "optimizer")
        assert (f"## `{key}:`" if part else f"| `{key}` |") in text
        assert all(f"| `{name}` |" in text for name in (value if part else ()))
    assert set(Recipe.model_fields) == set(recipe.model_dump())
