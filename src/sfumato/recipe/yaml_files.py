"""YAML files that become frozen, validated models, and sentences for what is wrong with them."""

from __future__ import annotations

import dataclasses
import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sfumato.errors import FileFormatError, RecipeError


class Part(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


Model = TypeVar("Model", bound=Part)


def read_yaml(path: Path, *, noun: str) -> object:
    """Read a YAML file.

    Args:
        path: The file.
        noun: What it is called in messages: ``recipe``, ``plan``.

    Raises:
        FileFormatError: no such file, or not YAML; the line is named.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileFormatError(f"{noun} {path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{noun} {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise FileFormatError(f"{noun} {path} is not YAML: {' '.join(str(error).split())}") from error


def validated(model: type[Model], content: object, *, noun: str, source: str) -> Model:
    """Turn the content of a YAML file into a model.

    Args:
        model: What it is to become.
        content: What the file holds: a mapping.
        noun: What it is called in messages.
        source: The file's name, for messages.

    Raises:
        RecipeError: every unknown key (with the nearest known one), missing key and impossible value.
    """
    if not isinstance(content, dict):
        raise RecipeError(
            f"{source}: a {noun} is a mapping of keys to values, found {type(content).__name__}"
        )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        sentences = [_sentence(model, problem) for problem in error.errors()]
        raise RecipeError(f"{source}: " + "\n  ".join(sentences)) from error


def _sentence(model: type[Part], problem: Any) -> str:  # noqa: ANN401 - pydantic's error dictionaries are untyped
    path, error = tuple(problem["loc"]), problem["type"]
    name = ".".join(str(part) for part in path)
    if error == "missing":
        return f"missing key {name!r}; known here: {', '.join(_known_keys(model, path[:-1]))}"
    if error in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _known_keys(model, path[:-1])
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"unknown key {name!r}{hint}; known here: {', '.join(known)}"
    if error != "value_error":
        return f"{name}: {problem['msg']}, found {problem['input']!r}"
    message = str(problem["msg"].removeprefix("Value error, "))
    # A message about one key of a part begins with that key.
    joint = "." if message.split(maxsplit=1)[0] in _known_keys(model, path) else ": "
    return f"{name}{joint}{message}" if name else message


def _known_keys(model: Any, path: tuple[str | int, ...]) -> list[str]:  # noqa: ANN401 - or a type annotation
    for key in path:
        if isinstance(key, int):
            # A number is a place in a tuple, whose parts are all of one kind.
            model = get_args(model)[0] if get_origin(model) is tuple else None
        elif get_origin(model) is dict:
            # Below a free name, such as a method's, lie the keys of the mapping's values.
            model = get_args(model)[1]
        elif isinstance(key, str) and key in getattr(model, "model_fields", {}):
            model = model.model_fields[key].annotation
        else:
            return []
    if dataclasses.is_dataclass(model):
        return [part.name for part in dataclasses.fields(model)]
    return [field.alias or name for name, field in getattr(model, "model_fields", {}).items()]
