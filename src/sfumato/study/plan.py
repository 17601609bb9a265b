"""A study's plan: which methods, seeds and folds of one recipe are trained, read from YAML."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sfumato.errors import FileFormatError, InputError, RecipeError, UnknownNameError
from sfumato.methods import METHODS
from sfumato.training.recipe import Recipe, read_recipe


class _Strict(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Overrides(_Strict):
    """Options of one method that differ from its published ones."""

    label: dict[str, Any] = Field(default_factory=dict)
    loss: dict[str, Any] = Field(default_factory=dict)


class Plan(_Strict):
    """Methods times seeds times folds of one recipe.

    As a file::

        recipe: demo.yaml                   # seen from the plan's folder
        data: sample:hippocampus            # or a path, seen from the plan's folder
        methods: [ce, ls, geols, softseg]
        seeds: [0, 1, 2]
        folds: null                         # 5: five-fold cross-validation, every fold trained
        proposed: geols                     # null: the first of methods
        overrides:                          # options that differ from the method's published ones
          ls: {label: {alpha: 0.2}}
    """

    recipe: str
    """The recipe's file, seen from the plan's folder."""
    data: str
    """The data set: ``sample:NAME``, or a path seen from the plan's folder."""
    methods: Annotated[tuple[str, ...], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    """Of the weights and the patches; the split of the cases is the recipe's ``split.seed`` in every run."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Cross-validation with so many folds, all of them trained; null takes the recipe's own split."""
    proposed: str | None = None
    """The method that the others are tested against; null takes the first of ``methods``."""
    overrides: dict[str, Overrides] = Field(default_factory=dict)
    """Options per method. A method without an entry has its published ones, but for the recipe's own
    method, which keeps the recipe's."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in self.methods:
            if name not in METHODS:
                raise UnknownNameError("method", name, METHODS)
        for key, values in (("methods", self.methods), ("seeds", self.seeds)):
            twice = sorted({str(value) for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"{key} names {', '.join(twice)} twice")
        for key, names in (
            ("proposed", [self.proposed] if self.proposed is not None else []),
            ("overrides", self.overrides),
        ):
            for name in names:
                if name not in self.methods:
                    raise UnknownNameError(f"method of the plan, under {key},", name, self.methods)
        return self


@dataclass(frozen=True)
class PlannedRun:
    """One training of a study: its name, which is its folder's too, and its complete recipe."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Study:
    """A plan with everything it refers to."""

    plan: Plan
    data: str
    runs: tuple[PlannedRun, ...]

    @property
    def proposed(self) -> str:
        """The method that the others are tested against."""
        return self.plan.proposed or self.plan.methods[0]


def read_study(path: Path) -> Study:
    """Read and validate a plan, its recipe, and the recipe of every run.

    Raises:
        FileFormatError: no such plan or recipe, or not YAML.
        RecipeError: every unknown key, method or option (with the nearest known one), missing key and
            impossible value.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileFormatError(f"plan {path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"plan {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise FileFormatError(f"plan {path} is not YAML: {' '.join(str(error).split())}") from error
    plan = parse_plan(content, source=str(path))
    base = read_recipe(path.parent / plan.recipe)
    data = plan.data if plan.data.startswith("sample:") else str(path.parent / plan.data)
    return Study(plan, data, planned_runs(plan, base))


def parse_plan(content: object, *, source: str) -> Plan:
    """Validate the content of a plan.

    Args:
        content: What the YAML file holds: a mapping.
        source: The file's name, for messages.

    Raises:
        RecipeError: see :func:`read_study`.
    """
    if not isinstance(content, dict):
        raise RecipeError(f"{source}: a plan is a mapping of keys to values, found {type(content).__name__}")
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        sentences = [_sentence(problem) for problem in error.errors()]
        raise RecipeError(f"{source}: " + "\n  ".join(sentences)) from error


def planned_runs(plan: Plan, base: Recipe) -> tuple[PlannedRun, ...]:
    """Give the recipe of every run; all methods of one seed and fold come before the next.

    Raises:
        RecipeError: a method lacks an option that the plan gives it.
        InputError: the recipe's split leaves no test case to compare on.
    """
    if plan.folds is None and base.split.folds is None and base.split.fractions[2] == 0:
        raise InputError(
            "the recipe's split.fractions leave no test case, so there would be nothing to compare: "
            "give the test cases a share, or set folds"
        )
    folds: Sequence[int] = [base.split.fold] if plan.folds is None else range(plan.folds)
    runs = []
    for seed in plan.seeds:
        for fold in folds:
            split = base.split.model_dump(mode="json")
            if plan.folds is not None:
                split |= {"folds": plan.folds, "fold": fold}
            for name in plan.methods:
                options = _options(plan, base, name)
                recipe = base.replace(method=name, seed=seed, split=split, **options)
                runs.append(PlannedRun(f"{name}-seed{seed}-fold{fold}", recipe))
    return tuple(runs)


def _options(plan: Plan, base: Recipe, name: str) -> dict[str, dict[str, Any]]:
    if name in plan.overrides:
        return plan.overrides[name].model_dump()
    # The recipe's options are those of its own method; another method may not even know their names.
    return {"label": base.label, "loss": base.loss} if name == base.method else {"label": {}, "loss": {}}


def _sentence(problem: Any) -> str:  # noqa: ANN401 - pydantic's error dictionaries are untyped
    path, kind = tuple(problem["loc"]), problem["type"]
    name = ".".join(str(part) for part in path)
    if kind in ("extra_forbidden", "missing"):
        # Below a method's name under overrides lie an override's own keys.
        known = list((Overrides if path[0] == "overrides" and len(path) > 1 else Plan).model_fields)
        word = "unknown key" if kind == "extra_forbidden" else "missing key"
        near = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near and kind == "extra_forbidden" else ""
        return f"{word} {name!r}{hint}; known here: {', '.join(known)}"
    message = problem["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{name}: {message}" if name else message
    return f"{name}: {message}, found {problem['input']!r}"
