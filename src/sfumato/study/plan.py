"""A study's plan: which methods, seeds and folds of one recipe are trained, read from YAML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from sfumato.errors import InputError, UnknownNameError
from sfumato.methods import method
from sfumato.recipe.parts import Choice, PartChoice
from sfumato.recipe.recipe import Recipe, read_recipe
from sfumato.recipe.yaml_files import Part, read_yaml, validated


class Overrides(Part):
    """What one method has in place of its published parts and options."""

    label: Choice = PartChoice()
    activation: Choice = PartChoice()
    loss: Choice = PartChoice()
    decoder: Choice = PartChoice()


class StudyPlan(Part):
    """Methods times seeds times folds of one recipe.

    As a file::

        recipe: demo.yaml                   # seen from the plan's folder
        data: sample:hippocampus            # or a path, seen from the plan's folder
        methods: [ce, ls, geols, softseg]
        seeds: [0, 1, 2]
        folds: null                         # 5: five-fold cross-validation, every fold trained
        proposed: geols                     # null: the first of methods
        overrides:                          # parts and options in place of the method's published ones
          ls: {label: {alpha: 0.2}, loss: dice-ce}
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
    """Parts and options per method. A method without an entry has its published ones, but for the recipe's
    own method, which keeps the recipe's."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in self.methods:
            method(name)  # raises for an unknown one
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

    plan: StudyPlan
    data: str
    runs: tuple[PlannedRun, ...]

    @property
    def proposed(self) -> str:
        """The method that the others are tested against, by the name that tables give it."""
        name = self.plan.proposed or self.plan.methods[0]
        return next(run.recipe.title for run in self.runs if run.recipe.method == name)


def read_study(path: Path) -> Study:
    """Read and validate a plan, its recipe, and the recipe of every run.

    Raises:
        FileFormatError: no such plan or recipe, or not YAML.
        RecipeError: every unknown key, method or option (with the nearest known one), missing key and
            impossible value.
    """
    plan = parse_plan(read_yaml(path, noun="plan"), source=str(path))
    base = read_recipe(path.parent / plan.recipe)
    data = plan.data if plan.data.startswith("sample:") else str(path.parent / plan.data)
    return Study(plan, data, planned_runs(plan, base))


def parse_plan(content: object, *, source: str) -> StudyPlan:
    """Validate the content of a plan.

    Args:
        content: What the YAML file holds: a mapping.
        source: The file's name, for messages.

    Raises:
        RecipeError: see :func:`read_study`.
    """
    return validated(StudyPlan, content, noun="plan", source=source)


def planned_runs(plan: StudyPlan, base: Recipe) -> tuple[PlannedRun, ...]:
    """Return the recipe of every run; all methods of one seed and fold come before the next.

    Raises:
        RecipeError: a method lacks an option that the plan gives it.
        InputError: the recipe's split leaves no test case to compare on.
    """
    part = base.split
    shares = part.fractions if part.counts is None else part.counts
    if plan.folds is None and part.folds is None and part.by != "centre" and shares[2] == 0:
        raise InputError(
            f"the recipe's split.{'fractions' if part.counts is None else 'counts'} leave no test case, so "
            "there would be nothing to compare: give the test cases a share, or set folds"
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
                # A title belongs to the recipe's own method; the others would all be called by it.
                title = base.name if name == base.method else None
                recipe = base.replace(name=title, method=name, seed=seed, split=split, **options)
                runs.append(PlannedRun(recipe.run_name, recipe))
    return tuple(runs)


def _options(plan: StudyPlan, base: Recipe, name: str) -> dict[str, Any]:
    # The recipe's options are those of its own method; another method may not even know their names.
    own: Recipe | Overrides = base if name == base.method else Overrides()
    parts = plan.overrides.get(name, own)
    return {part: getattr(parts, part) for part in Overrides.model_fields}
