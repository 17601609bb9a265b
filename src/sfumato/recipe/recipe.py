"""A recipe: everything that decides a training, in one validated YAML file.

A file may leave out every key that has a default; the run folder keeps the complete recipe. Files of older
versions are read as what they meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from sfumato.data import Augmentation, Dataset, Preprocessing
from sfumato.data.splits import Splits, make_splits, part_shares
from sfumato.errors import ShapeError, UnknownNameError
from sfumato.methods import Method, compose
from sfumato.methods.parts import importable
from sfumato.networks import NETWORKS, require_image_size, require_options
from sfumato.recipe.migrations import VERSION, migrated
from sfumato.recipe.parts import Choice, PartChoice
from sfumato.recipe.yaml_files import Part, read_yaml, validated

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
NotNegativeCount = Annotated[int, Field(ge=0)]

# At least one letter or digit, so that a folder can be called after it.
_NAME = r"^[A-Za-z0-9.\-()%= ]*[A-Za-z0-9][A-Za-z0-9.\-()%= ]*$"


class SplitPart(Part):
    """How the cases are divided; the result is written to ``splits.json``."""

    seed: int = 0
    """Seed of the shuffle; apart from the training's own."""
    fractions: tuple[Fraction, Fraction, Fraction] = (0.6, 0.2, 0.2)
    """Train, validation and test share; they sum to 1."""
    counts: tuple[NotNegativeCount, NotNegativeCount, NotNegativeCount] | None = None
    """Train, validation and test cases, in place of ``fractions``. A folder with another number of cases is
    divided in proportion, and the log says so."""
    by: Literal["case", "patient", "centre"] = "patient"
    """What is never divided. ``patient``: the cases of one patient stay together. ``case``: each case stands
    by itself. ``centre``: fold ``i`` tests the ``i``-th centre by name, and the others are divided, as whole
    centres, between training and validation."""
    folds: Count | None = None
    """Cross-validation: the number of folds. Null: one split, or with ``by: centre`` one fold per centre."""
    fold: NotNegativeCount = 0
    """Which fold is this run's test set; 0 where there is one split."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        part_shares(self.fractions, None)
        part_shares(self.fractions, self.counts)
        # How many centres there are, only the data can tell.
        if (self.by != "centre" or self.folds is not None) and self.fold >= (self.folds or 1):
            raise ValueError(f"fold is {self.fold}, but there are {self.folds or 1} folds, counted from 0")
        return self

    def splits(self, dataset: Dataset) -> Splits:
        """Divide a data set, into every fold."""
        return make_splits(dataset, **self.model_dump(exclude={"fold"}))


class PatchPart(Part):
    """What the network sees in training, and the window in prediction."""

    size: tuple[Count, ...]
    """Voxels per axis, two or three of them."""
    foreground: Fraction = 0.0
    """Share of the patches that are centred on a random foreground voxel."""


class NetworkPart(Part):
    """The network by name with its own options."""

    name: str = "unet"
    """One of ``sfumato.networks.NETWORKS``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What differs from the network's own defaults, such as ``channels``."""


class OptimizerPart(Part):
    """Optimiser and learning-rate schedule."""

    name: Literal["adam", "adamw"] = "adam"
    """AdamW decays the weights apart from the gradient."""
    learning_rate: Positive = 0.001
    """The first epoch's."""
    weight_decay: NotNegative = 0.00001
    """Penalty on the weights' squares."""
    schedule: Literal["constant", "cosine", "milestones"] = "cosine"
    """How the learning rate falls: not at all, to 0 over all epochs, or at ``milestones``."""
    milestones: tuple[Count, ...] = ()
    """Epochs at which the learning rate is multiplied by ``gamma``."""
    gamma: Positive = 0.1
    """Factor of ``schedule: milestones``."""


class Recipe(Part):
    """One training, complete. Lengths in mm, sizes in voxels, angles in degrees."""

    recipe_version: Literal[2] = VERSION
    """The form of the file. A file without it is of version 1."""
    name: Annotated[str, Field(pattern=_NAME)] | None = None
    """What tables and folders call this training; null takes the method's name."""
    method: str
    """One of ``sfumato methods``, or a method of your own as ``module.path:NAME``."""
    label: Choice = PartChoice()
    """Options of the method's label that differ from its published ones; or another label by name, or its
    ``name`` and options together."""
    activation: Choice = PartChoice()
    """What turns the network's output into the target's range, likewise."""
    loss: Choice = PartChoice()
    """The loss, likewise."""
    decoder: Choice = PartChoice()
    """How a prediction becomes a mask, likewise."""
    when: Literal["before", "after", "method"] = "method"
    """Is the soft label made before or after augmentation? ``method`` takes the method's own moment."""
    raters: str = "consensus"
    """Which masks train. ``consensus``: the one reference mask (labels made of several raters see them all).
    ``all``: every image with every rater's mask is a sample. ``random``: every sample has one rater, drawn
    anew in each epoch. Or a rater's name: that one alone, for training, validation and threshold;
    the temperature is fitted on the consensus."""
    regions: (
        Annotated[dict[str, Annotated[tuple[Count, ...], Field(min_length=1)]], Field(min_length=1)] | None
    ) = None
    """Name of each region, and the labels that form it, in place of the data set's own; null keeps those."""
    slice_axis: Literal[0, 1, 2] | None = None
    """Train a 2-D network on the slices of 3-D volumes perpendicular to this axis; null: the network has the
    data's axes."""
    seed: NotNegativeCount = 0
    """Seed of the weights, the patches and the random parts of labels."""
    epochs: Count = 200
    """In each, every training sample is seen once."""
    batch_size: Count = 2
    """Patches per step, on each device."""
    validate_every: Count = 1
    """Epochs between validations."""
    patience: Count | None = None
    """Stop after this many validations without a better Dice; null never stops early."""
    min_delta: NotNegative = 0.0
    """What counts as better, in Dice."""
    accelerator: Literal["cpu", "gpu", "auto"] = "auto"
    """``auto``: a GPU where there is one."""
    devices: Count = 1
    """GPUs, or processes on the CPU, that train together."""
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true", "64-true"] = "32-true"
    """Of the network's arithmetic; distances and labels are always computed in full."""
    workers: NotNegativeCount = 0
    """Data-loading processes; 0 loads in the training process."""
    cache: Literal["memory", "disk"] = "memory"
    """Where prepared cases wait between epochs; ``disk`` for data sets larger than the memory."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Overlap of neighbouring windows in prediction."""
    tolerance_mm: Positive = 1.0
    """Tolerance of the surface Dice."""
    split: SplitPart = SplitPart()
    preprocess: Preprocessing = Preprocessing()
    augment: Augmentation = Augmentation()
    patch: PatchPart
    network: NetworkPart = NetworkPart()
    optimizer: OptimizerPart = OptimizerPart()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.network.name not in NETWORKS:
            raise UnknownNameError("network", self.network.name, NETWORKS)
        axes = len(self.patch.size)
        if axes not in (2, 3):
            raise ValueError(f"patch.size has {axes} values: give one per spatial axis, 2 or 3")
        require_options(self.network.name, self.network.options)
        require_image_size(self.network.name, self.network.options, self.patch.size, what="patch.size")
        if self.slice_axis is not None and axes != 2:
            raise ValueError(f"slice_axis cuts volumes into slices, but patch.size has {axes} values: give 2")
        try:
            part = "preprocess"
            self.preprocess.require_axes(self.data_axes, "the data have")
            part = "augment"
            self.augment.require_axes(axes)
        except ShapeError as error:
            raise ValueError(f"{part}.{error}") from error
        if self.validate_every > self.epochs:
            raise ValueError(f"validate_every is {self.validate_every}, but there are {self.epochs} epochs")
        if self.composed.label_row.takes_raters and self.raters != "consensus":
            raise ValueError(
                f"method {self.method!r} makes one label of all raters, but raters is {self.raters!r}: "
                "give consensus, or another method"
            )
        return self

    @property
    def composed(self) -> Method:
        """The method, with the parts and options that the recipe gives it."""
        parts = {part: getattr(self, part).choice for part in ("label", "activation", "loss", "decoder")}
        return compose(self.method, **parts)

    @property
    def title(self) -> str:
        """What tables call this training: its name, or its method's."""
        return self.method if self.name is None else self.name

    @property
    def run_name(self) -> str:
        """What the run's folder is called: ``<title>-seed<k>-fold<j>``, in letters safe for a folder."""
        title = re.sub(r"[^a-z0-9.]+", "-", self.title.lower()).strip("-.")
        return f"{title}-seed{self.seed}-fold{self.split.fold}"

    @property
    def data_axes(self) -> int:
        """Spatial axes of the data: the network's, and one more where it sees slices."""
        return len(self.patch.size) + (self.slice_axis is not None)

    @property
    def network_axes(self) -> tuple[int, ...]:
        """The data's axes that the network sees, in its order."""
        return tuple(axis for axis in range(self.data_axes) if axis != self.slice_axis)

    @property
    def moment(self) -> Literal["before", "after"]:
        """When the soft label is made: as asked, or the method's own moment."""
        return self.composed.label_row.when if self.when == "method" else self.when

    def replace(self, **changes: object) -> Recipe:
        """Return a validated copy with some top-level keys changed."""
        return parse_recipe({**self.model_dump(mode="json"), **changes}, source="recipe")


def parse_recipe(content: object, *, source: str) -> Recipe:
    """Validate the content of a recipe of any version.

    Args:
        content: What the YAML file, a checkpoint or a plan holds: a mapping.
        source: The file's name, for messages.

    Raises:
        RecipeError: every unknown key (with the nearest known one), missing key and impossible value; an
            unknown method, network or option; a recipe of a newer version.
    """
    if isinstance(content, Mapping):
        content = migrated(content, source=source)
    return validated(Recipe, content, noun="recipe", source=source)


def read_recipe(path: Path) -> Recipe:
    """Read and validate a recipe file.

    Raises:
        FileFormatError: no such file, or not YAML; the line is named.
        RecipeError: see :func:`parse_recipe`.
    """
    # A method of one's own may lie in a module beside the recipe.
    with importable(path.parent):
        return parse_recipe(read_yaml(path, noun="recipe"), source=str(path))


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write the complete recipe as YAML; :func:`read_recipe` reads an equal one back."""
    path.write_text(
        yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, default_flow_style=None), "utf-8"
    )


def differences(first: Recipe, second: Recipe) -> list[str]:
    """Name the keys in which two recipes differ, with both values."""
    left, right = first.model_dump(mode="json"), second.model_dump(mode="json")
    return [f"{key}: {left[key]!r} and {right[key]!r}" for key in left if left[key] != right[key]]
