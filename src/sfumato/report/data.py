"""What a report is made of: plain, frozen data that the caller has read already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sfumato.checks import require_same_shape, require_spacing
from sfumato.errors import ShapeError, ValueRangeError
from sfumato.evaluation.rows import Row
from sfumato.structures import TargetKind
from sfumato.tables.table import Table
from sfumato.types import ArrayLike, Spacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BinSet = Literal["all", "foreground", "boundary"]
BIN_SETS: tuple[BinSet, ...] = ("all", "foreground", "boundary")
SET_TITLES: Mapping[BinSet, str] = {
    "all": "All voxels",
    "foreground": "Foreground of the reference",
    "boundary": "Near the boundary",
}


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability diagram.

    Attributes:
        low: Lower edge of the confidence.
        high: Upper edge.
        count: Voxels in the bin.
        confidence: Their mean confidence; nan for an empty bin.
        accuracy: The fraction of them that is right; nan for an empty bin.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class ValueBin:
    """How many voxels of the soft predictions lie between ``low`` and ``high``."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, eq=False)
class Progression:
    """What a run predicted for one slice of a validation case as it learned.

    Attributes:
        case: The case.
        structure: Which structure is predicted.
        axis: The spatial axis of the case that the slice is perpendicular to; ``None`` for a picture.
        index: Number of the slice.
        spacing: Millimetres between voxel centres, two values.
        image: The slice's grey values, ``(*S)`` with two axes in the stored order.
        reference: Mask of the structure, ``(*S)``.
        predictions: Finished epochs, ascending, to the prediction then, ``(*S)`` in [0, 1]; at least one. The
            last is that of the last epoch, once the run is finished.

    Raises:
        ShapeError: an array does not fit the image.
    """

    case: str
    structure: str
    axis: int | None
    index: int
    spacing: Spacing
    image: ArrayLike
    reference: ArrayLike
    predictions: Mapping[int, ArrayLike]

    def __post_init__(self) -> None:
        space, place = tuple(self.image.shape), f"image of slice {self.index} of {self.case}"
        require_spacing(self.spacing, space, name=place)
        for name, array in (("reference", self.reference), *self.predictions.items()):
            require_same_shape(str(name), array.shape, place, space)

    @property
    def last(self) -> int:
        """The last epoch."""
        return max(self.predictions)


@dataclass(frozen=True, eq=False)
class Overlay:
    """What one method says about one case.

    Attributes:
        labels: Predicted class per voxel, ``(*S)``, integers, 0 the background.
        soft: Soft prediction ``(channels, *S)``, or ``None``.
        kind: Its kind.
        uncertainty: One value per voxel, ``(*S)``, at least 0, or ``None``.
        target: The soft label that the method is trained with, shaped and scaled as ``soft``, or ``None``.
    """

    labels: ArrayLike
    soft: ArrayLike | None
    kind: TargetKind
    uncertainty: ArrayLike | None = None
    target: ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class ReportCase:
    """One case to look at.

    Attributes:
        name: The case's name, as in the rows.
        image: Channels, ``(C, *S)``, in the stored axis order, two or three spatial axes.
        reference: Class per voxel, ``(*S)``, or ``None`` without a reference.
        spacing: Millimetres between voxel centres, one value per spatial axis.
        predictions: Method name to what it says; may be empty.

    Raises:
        ShapeError: an array does not fit the image.
    """

    name: str
    image: ArrayLike
    reference: ArrayLike | None
    spacing: Spacing
    predictions: Mapping[str, Overlay]

    def __post_init__(self) -> None:
        if self.image.ndim not in (3, 4):
            raise ShapeError(
                f"image of case {self.name} has shape {tuple(self.image.shape)}: expected (C, *S) with two "
                "or three spatial axes"
            )
        space = tuple(self.image.shape[1:])
        require_spacing(self.spacing, space, name=f"image of case {self.name}")
        if self.reference is not None:
            require_same_shape("reference", self.reference.shape, f"image of {self.name}", space)
        for method, overlay in self.predictions.items():
            place = f"of {method} for {self.name}"
            require_same_shape(f"labels {place}", overlay.labels.shape, "image", space)
            for name in ("soft", "target"):
                array = getattr(overlay, name)
                if array is not None:
                    require_same_shape(f"{name} {place}", array.shape[1:], "image", space)
            if overlay.uncertainty is not None:
                require_same_shape(f"uncertainty {place}", overlay.uncertainty.shape, "image", space)


@dataclass(frozen=True, eq=False)
class RaterPanel:
    """One image that several raters outlined, and the soft labels made of their masks.

    Attributes:
        name: The case's name.
        image: Channels, ``(C, *S)``; of a volume, the slice on which the raters differ most is shown.
        labels_per_rater: One label map per rater, ``(D, *S)``, integers.
        rater_names: One name per rater.
        soft: Label method (``moh``, ``msvls``) to its class weights ``(K, *S)``.

    Raises:
        ShapeError: an array does not fit the image.
        ValueRangeError: not one name per rater.
    """

    name: str
    image: ArrayLike
    labels_per_rater: ArrayLike
    rater_names: tuple[str, ...]
    soft: Mapping[str, ArrayLike]

    def __post_init__(self) -> None:
        space = tuple(self.image.shape[1:])
        if len(space) not in (2, 3):
            raise ShapeError(
                f"image of rater panel {self.name} has shape {tuple(self.image.shape)}: expected (C, *S)"
            )
        require_same_shape("labels_per_rater[0]", self.labels_per_rater.shape[1:], "image", space)
        if len(self.rater_names) != len(self.labels_per_rater):
            raise ValueRangeError(
                f"rater panel {self.name} has {len(self.rater_names)} rater names for "
                f"{len(self.labels_per_rater)} raters: give one each"
            )
        for method, weights in self.soft.items():
            require_same_shape(f"soft label {method}", weights.shape[1:], "image", space)


TableRow = Mapping[str, object]


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page that the caller makes, above the results.

    Attributes:
        title: Its heading.
        text: One paragraph.
        tables: Its tables, each with its title.
        figures: File name without ending, description and figure of each plot.
    """

    title: str
    text: str
    tables: tuple[Table, ...] = ()
    figures: tuple[tuple[str, str, Figure], ...] = ()


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything a report shows. Only ``title`` and ``rows`` are needed.

    Attributes:
        title: The page's heading.
        rows: The tidy table of results, without the points of diagrams; every number in the report's tables
            comes from it.
        histories: Run name to its learning curve, one mapping per epoch (``epoch``, ``train_loss``,
            ``val_loss``, ``val_dice``; absent or nan where not measured).
        reliability: Run name to its bins, per set of voxels.
        values: Run name to the histogram of its soft predictions.
        thresholds: Run name to (threshold, Dice) pairs of its threshold sweep.
        progressions: Run name to its predictions of one slice, epoch by epoch.
        recipes: Run name to the text of its recipe.
        environments: Run name to the text of its environment.
        methods: Run name to method name, for runs whose name does not say it.
        label_names: Class index to its name, background 0 included.
        cases: The cases of the viewer and of the static overlays.
        raters: Images outlined by several raters.
        agreement: A table of agreement between raters, one mapping per line.
        comparisons: Statistical tests, one mapping per line; those of a
            ``structure`` also stand with its tables.
        sections: Further parts, in this order, before the results.
        introduction: One paragraph on what was done; made from the rows when empty.
        notes: Sentences shown below it: what is missing, and why.
    """

    title: str
    rows: tuple[Row, ...]
    histories: Mapping[str, tuple[Mapping[str, float], ...]] = field(default_factory=dict)
    reliability: Mapping[str, Mapping[BinSet, tuple[ReliabilityBin, ...]]] = field(default_factory=dict)
    values: Mapping[str, tuple[ValueBin, ...]] = field(default_factory=dict)
    thresholds: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    progressions: Mapping[str, Progression] = field(default_factory=dict)
    recipes: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=dict)
    label_names: Mapping[int, str] = field(default_factory=dict)
    cases: tuple[ReportCase, ...] = ()
    raters: tuple[RaterPanel, ...] = ()
    agreement: tuple[TableRow, ...] = ()
    comparisons: tuple[TableRow, ...] = ()
    sections: tuple[Section, ...] = ()
    introduction: str = ""
    notes: tuple[str, ...] = ()

    def method_of(self, run: str) -> str:
        """Return the method of a run: as stated, as in the rows, or from ``<method>-seed<k>-fold<j>``."""
        if run in self.methods:
            return self.methods[run]
        for row in self.rows:
            if row.run == run:
                return row.method
        return run.rsplit("-seed", 1)[0]

    @property
    def method_names(self) -> tuple[str, ...]:
        """Every method, in the order of first appearance in the rows, then in the curves."""
        names = dict.fromkeys(row.method for row in self.rows)
        for mapping in (self.histories, self.reliability, self.values, self.thresholds):
            names |= dict.fromkeys(self.method_of(run) for run in mapping)
        return tuple(names)
