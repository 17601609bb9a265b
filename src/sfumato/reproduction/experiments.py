"""The published experiments: which trainings make which printed numbers, read from ``recipes/``.

An experiment is a folder with one recipe per data set and network and an ``experiment.yaml``, which says
what is substituted in the recipe for every row of the published table, and how the table's metrics and
structures are called here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sfumato.errors import UnknownNameError
from sfumato.evaluation.metrics_table import METRICS
from sfumato.methods import METHODS
from sfumato.recipe.files import recipe_file
from sfumato.recipe.parts import Choice, PartChoice
from sfumato.recipe.recipe import Recipe, read_recipe
from sfumato.recipe.yaml_files import Part, read_yaml, validated
from sfumato.reproduction.published import PublishedRow, RowKey, published_rows, published_tables

EXPERIMENTS = (
    *("geols-table1", "geols-table2", "geols-table3", "geols-figure3"),
    *("singr-table1", "singr-table2", "singr-table3", "singr-figure3"),
    *("svls-table1", "svls-table2", "svls-figure5"),
    *("softseg-table3", "softseg-table4", "softseg-table5", "softseg-figures2-4"),
)
"""Every experiment, in the order of the papers."""
ALIASES = dict.fromkeys(("softseg-figure2", "softseg-figure3", "softseg-figure4"), "softseg-figures2-4")
"""The single figures of a set, whose trainings are shared: each name makes them all."""
FILE = "experiment.yaml"
Figure = Literal["alpha", "pairs", "reliability", "softseg"]


class Measure(Part):
    """One metric of a published table in our words."""

    ours: str
    """Our metric, as in ``metrics.csv``."""
    unit: Literal["%", "mm", "fraction"]
    """The table's unit."""
    structures: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]]
    """The table's structure to ours; several are averaged."""


class Draw(Part):
    """Some cases of a data set, drawn by a seed."""

    cases: Annotated[int, Field(ge=3)]
    seed: Annotated[int, Field(ge=0)]
    within: str
    """Only cases that lie in a folder of this name."""


class DataPart(Part):
    """One data set of an experiment."""

    dataset: str
    """As the published table calls it."""
    layout: str = Field(alias="kind")
    """Its layout on disk, as for ``--dataset``."""
    draw: Draw | None = None
    """Null: all cases."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Every fold is trained; null takes the recipe's own split."""
    spread: Literal["printed", "pooled"] = "printed"
    """What our ± is: of the table's own sort, or over all (training, test case) values."""
    recipes: Annotated[dict[str, str], Field(min_length=1)]
    """The table's architecture to the recipe's file, seen from the experiment's folder."""
    metrics: Annotated[dict[str, Measure], Field(min_length=1)]
    """The table's metric to ours."""


class Printed(Part):
    """The columns of a published table that tell its trainings apart; empty texts where they are empty."""

    method: str
    label: str
    loss: str


class Training(Part):
    """One row of a table, or one point of a figure: what it changes in the recipe."""

    name: str
    """What our tables call it."""
    data: Annotated[tuple[str, ...], Field(min_length=1)]
    """Kinds of the data sets that it is trained on."""
    architecture: str
    row: Printed | None = None
    """Where its numbers stand in the published tables; null: they are not printed."""
    method: str
    label: Choice = PartChoice()
    """Options of the method's label, or another label, as in a recipe; likewise the other parts."""
    activation: Choice = PartChoice()
    loss: Choice = PartChoice()
    decoder: Choice = PartChoice()
    raters: str = "consensus"


class Listed(Part):
    """One of several figures that are made together, as the list shows it."""

    title: str
    data: Annotated[tuple[str, ...], Field(min_length=1)]
    """Kinds of the data sets that it shows."""


class Content(Part):
    """What an ``experiment.yaml`` holds."""

    title: str
    tables: tuple[str, ...]
    """Published tables with numbers of this experiment."""
    figure: Figure | None = None
    """What is drawn besides the table."""
    listed: dict[str, Listed] = Field(default_factory=dict)
    """The published figures that the experiment makes together, by name; {}: the experiment is one."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    resplit: bool = False
    """Every seed divides the cases anew; else the split is the same for all."""
    data: Annotated[tuple[DataPart, ...], Field(min_length=1)]
    trainings: Annotated[tuple[Training, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for table in self.tables:
            if table not in published_tables():
                raise UnknownNameError("published table", table, published_tables())
        parts = {part.layout: part for part in self.data}
        names = [f"{training.name} on {layout}" for training in self.trainings for layout in training.data]
        for what, several in (("kind", [part.layout for part in self.data]), ("training", names)):
            twice = sorted({name for name in several if several.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {', '.join(twice)} is given twice")
        for measure in (measure for part in self.data for measure in part.metrics.values()):
            if measure.ours not in METRICS:
                raise UnknownNameError("metric", measure.ours, METRICS)
        for name, entry in self.listed.items():
            for layout in entry.data:
                if layout not in parts:
                    raise UnknownNameError(f"data of {name}", layout, parts)
        for training in self.trainings:
            if training.method not in METHODS:
                raise UnknownNameError(f"method of training {training.name!r}", training.method, METHODS)
            for layout in training.data:
                if layout not in parts:
                    raise UnknownNameError(f"data of training {training.name!r}", layout, parts)
                if training.architecture not in parts[layout].recipes:
                    known = parts[layout].recipes
                    raise UnknownNameError(f"architecture on {layout}", training.architecture, known)
        return self


@dataclass(frozen=True)
class Experiment:
    """A published experiment with the folder of its recipes."""

    name: str
    folder: Path
    content: Content

    def part(self, layout: str) -> DataPart:
        """Return one data set of the experiment.

        Raises:
            UnknownNameError: the experiment has no data set in that layout.
        """
        for part in self.content.data:
            if part.layout == layout:
                return part
        raise UnknownNameError(
            f"data set of {self.name}", layout, [part.layout for part in self.content.data]
        )

    def trainings(self, layout: str) -> tuple[Training, ...]:
        """Return the trainings on one data set, in the table's order."""
        return tuple(training for training in self.content.trainings if layout in training.data)

    @cached_property
    def recipes(self) -> dict[tuple[str, str], Recipe]:
        """The recipe of every (data set, architecture).

        Raises:
            RecipeError, UnknownNameError, FileFormatError: a recipe is not valid.
        """
        return {
            (part.layout, architecture): read_recipe((self.folder / file).resolve())
            for part in self.content.data
            for architecture, file in part.recipes.items()
        }

    @cached_property
    def rows(self) -> dict[RowKey, list[PublishedRow]]:
        """The published numbers of the experiment's tables, by training."""
        rows: dict[RowKey, list[PublishedRow]] = {}
        for table in self.content.tables:
            for row in published_rows(table):
                rows.setdefault(row.key, []).append(row)
        return rows

    @property
    def listed(self) -> dict[str, Listed]:
        """What it makes, by the published names: a table or figure, or several figures together."""
        layouts = tuple(part.layout for part in self.content.data)
        return self.content.listed or {self.name: Listed(title=self.content.title, data=layouts)}


def experiment(name: str) -> Experiment:
    """Read one of :data:`EXPERIMENTS`, or the set of one of :data:`ALIASES`.

    Raises:
        UnknownNameError: there is no such experiment; the nearest name is suggested.
    """
    if name not in (*EXPERIMENTS, *ALIASES):
        raise UnknownNameError("experiment", name, (*EXPERIMENTS, *ALIASES))
    name = ALIASES.get(name, name)
    return read_experiment(recipe_file(f"{name}/{FILE}"))


def read_experiment(path: Path) -> Experiment:
    """Read and validate an ``experiment.yaml``; its folder's name is the experiment's.

    Raises:
        FileFormatError: no such file, or not YAML.
        RecipeError: every unknown key (with the nearest known one), missing key and impossible value.
    """
    content = validated(Content, read_yaml(path, noun="experiment"), noun="experiment", source=str(path))
    return Experiment(path.parent.name, path.parent, content)
