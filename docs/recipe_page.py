"""Write docs/recipe.md, every key of a recipe, from the docstrings: python docs/recipe_page.py."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from sfumato.recipe.recipe import Recipe

PAGE = Path(__file__).parent / "recipe.md"
INTRODUCTION = f"""# Every key of a recipe

{inspect.getdoc(sys.modules[Recipe.__module__])}

A file states its `recipe_version`, a `method`, the `patch.size`, and what else differs from the defaults:

```yaml
recipe_version: 2
method: geols
patch: {{size: [64, 64, 64]}}
epochs: 100
network: {{name: unet, options: {{channels: [16, 32, 64]}}}}
```

This page is made by `docs/recipe_page.py` from the docstrings of `sfumato.recipe`.
"""


def meanings(part: type) -> dict[str, str]:
    """Return what a model's attribute docstrings, or a data class's ``Attributes``, say of each key."""
    if dataclasses.is_dataclass(part):
        section = inspect.getdoc(part).split("Attributes:\n")[1].split("\n\n")[0]
        entries = re.split(r"^ {4}(\w+): ", section, flags=re.MULTILINE)[1:]
        return {key: " ".join(text.split()) for key, text in zip(entries[::2], entries[1::2], strict=True)}
    body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0].body
    return {
        entry.target.id: " ".join(following.value.value.split())
        for entry, following in itertools.pairwise(body)
        if isinstance(entry, ast.AnnAssign) and isinstance(following, ast.Expr)
    }


def keys(part: type) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, type and default of every key."""
    if dataclasses.is_dataclass(part):
        types = inspect.get_annotations(part, eval_str=True)
        yield from ((field.name, types[field.name], field.default) for field in dataclasses.fields(part))
    else:
        for name, field in part.model_fields.items():
            yield name, field.annotation, field.get_default(call_default_factory=True)


def as_yaml(value: object) -> str:
    """Return a default as a recipe would state it."""
    if value is PydanticUndefined:
        return "required"
    if dataclasses.is_dataclass(value):
        value = {}
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def rows(part: type) -> Iterator[str]:
    """Yield the lines of one part's table; parts within have tables of their own."""
    known = meanings(part)
    for name, annotation, default in keys(part):
        if is_part(annotation):
            continue
        meaning = known[name].replace("``", "`").replace("`None`", "null").replace("|", "\\|")
        if get_origin(annotation) is Literal and len(get_args(annotation)) > 1:
            meaning = f"One of {', '.join(f'`{choice}`' for choice in get_args(annotation))}. {meaning}"
        yield f"| `{name}` | {as_yaml(default)} | {meaning} |"


def is_part(annotation: object) -> bool:
    """Return whether a key holds keys of its own."""
    model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return model or annotation in (Recipe.model_fields[key].annotation for key in ("preprocess", "augment"))


def page() -> str:
    """Return the whole page."""
    parts = {
        name: field.annotation for name, field in Recipe.model_fields.items() if is_part(field.annotation)
    }
    blocks = [INTRODUCTION]
    for title, part in {
        "The recipe itself": Recipe,
        **{f"`{name}:`": part for name, part in parts.items()},
    }.items():
        summary = inspect.getdoc(part).splitlines()[0].replace("``", "`")
        table = ["| key | default | meaning |", "|---|---|---|", *rows(part)]
        blocks.append("\n".join([f"## {title}", "", summary, "", *table]) + "\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
