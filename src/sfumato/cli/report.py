"""``sfumato report``: one page of tables, figures and cases from a folder of runs."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato.cli.options import DatasetLayout
from sfumato.errors import DataError, GeometryError, MissingExtraError, SfumatoError, ValueRangeError

if TYPE_CHECKING:
    from sfumato.data.case import Case, Dataset
    from sfumato.report import Overlay, ReportCase, ReportData
    from sfumato.statistics.comparison import Comparison

    Regions = Mapping[str, Sequence[int]]

MOST_TARGET_VOXELS = 1_000_000  # soft labels of larger cases are not computed again for the viewer


def report(
    runs: Annotated[Path, typer.Argument(help="Folder that holds the run folders, or one run folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, report.html; figures/ goes beside it.")],
    title: Annotated[str, typer.Option(help="Heading; by default the data set's name.")] = "",
    data: Annotated[
        str | None,
        typer.Option(help="The data set, where it no longer lies where the runs read it; as for train."),
    ] = None,
    kind: DatasetLayout = "auto",
    proposed: Annotated[
        str | None, typer.Option(help="Test every method against this one, as sfumato compare does.")
    ] = None,
    max_cases: Annotated[int, typer.Option(help="Cases in the viewer, the worst and the best first.")] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing page.")] = False,
) -> None:
    """Write one self-contained HTML page: tables, calibration, curves and a viewer of the cases."""
    try:
        from sfumato.output import require_free
        from sfumato.report import write_report
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the report needs {error.name}: install it with pip install 'sfumato[report]'"
        ) from error
    if max_cases < 0:
        raise ValueRangeError(f"--max-cases is {max_cases}: it must be 0 or more")
    require_free(out, overwrite=overwrite)
    found = assembled(runs, title=title, source=data, kind=kind, max_cases=max_cases)
    if proposed is not None:
        found = compared(found, proposed)
    path = write_report(found, out, overwrite=overwrite)
    typer.echo(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")


def assembled(
    runs: Path,
    *,
    title: str = "",
    source: Dataset | str | None = None,
    kind: str = "auto",
    max_cases: int = 16,
    without: Container[str] = (),
) -> ReportData:
    """Read everything that the report shows: tables and texts, and the images of some cases.

    Args:
        runs: A folder of run folders, or one run folder.
        title: The heading; by default the data set's name.
        source: The data set; by default where the first run's ``environment.json`` says.
        kind: The layout of the data set's files; ``auto`` takes the one that the first run read.
        max_cases: Cases to read, the worst and the best first.
        without: Names of runs in the folder that are left out.

    Returns:
        The ``ReportData``. Where the images cannot be read it has no cases, and a note says why.

    Raises:
        FileFormatError: no run, or a broken table.
        SfumatoError: ``source`` was given and is no data set.
    """
    from sfumato.report import load_runs, run_folders

    found = load_runs(runs, title=title, without=without)
    folders = run_folders(runs, without=without)
    if max_cases == 0:
        return found
    try:
        dataset = _dataset(folders, source, kind)
        cases, notes = _cases(dataset, folders, found, max_cases)
    except SfumatoError as error:
        if source is not None:
            raise
        note = f"There is no case viewer, because the images could not be read: {error}"
        return replace(found, notes=(*found.notes, note))
    return replace(found, cases=cases, notes=(*found.notes, *notes))


def compared(found: ReportData, proposed: str) -> ReportData:
    """Add the tests of every method against the proposed one, and what a reader must know of them.

    Raises:
        UnknownNameError: no row is of that method.
    """
    from sfumato.statistics.comparison import compare_methods

    return with_tests(found, compare_methods(found.rows, proposed=proposed))


def with_tests(found: ReportData, comparison: Comparison) -> ReportData:
    """Add a comparison's tests, per metric and structure."""
    names = ["metric", "structure", "method", "n", "wins", "ties", "losses", "p", "test", "p_holm"]
    records = comparison.tests[[*names, "rank_biserial"]].to_dict("records")
    tests = tuple({str(name): value for name, value in record.items()} for record in records)
    note = f"Tests: Wilcoxon signed-rank against {comparison.proposed}, unit {comparison.unit}."
    return replace(found, comparisons=tests, notes=(*found.notes, note, *comparison.notes))


def _dataset(folders: tuple[Path, ...], source: Dataset | str | None, kind: str) -> Dataset:
    from sfumato.data import open_dataset

    if source is not None:
        return open_dataset(source, layout=kind) if isinstance(source, str) else source
    for folder in folders:
        try:
            content = json.loads((folder / "environment.json").read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and content.get("data"):
            known = str(content.get("kind", "auto"))
            return open_dataset(str(content["data"]), layout=known if kind == "auto" else kind)
    raise DataError(["no run's environment.json says where the data lies; give --data"])


def _cases(
    dataset: Dataset,
    folders: tuple[Path, ...],
    found: ReportData,
    max_cases: int,
) -> tuple[tuple[ReportCase, ...], list[str]]:
    """Read the images of the chosen cases and what the first run of each method predicts for them."""
    from sfumato.data import load_case
    from sfumato.report import ReportCase
    from sfumato.report.viewer import from_both_ends
    from sfumato.tables.results import case_lines

    files = {each.name: each for each in dataset.cases}
    order = [line.case for line in case_lines(found.rows) if line.case in files]
    order = order or [row.case for row in found.rows if row.case in files]
    chosen = list(dict.fromkeys(from_both_ends(order)))[:max_cases]
    if not chosen:
        raise DataError([f"data set {dataset.name} has none of the cases in the runs' metrics.csv"])
    regions = _shown_regions(folders, dataset)
    shown, notes = _alike(folders, regions)
    cases = []
    for name in chosen:
        case = load_case(files[name], dataset)
        predictions: dict[str, Overlay] = {}
        for folder in shown:
            method = found.methods[folder.resolve().name]
            if method in predictions or not (folder / "predictions" / f"{name}.nii.gz").is_file():
                continue
            predictions[method] = _overlay(folder, case, dataset)
        reference = None if case.labels is None else _painted(case, regions)
        cases.append(ReportCase(name, case.image, reference, case.spacing, predictions))
    if not any(case.predictions for case in cases):
        notes.append("The runs hold no predictions: the viewer shows images and references only.")
    return tuple(cases), notes


def _shown_regions(folders: tuple[Path, ...], dataset: Dataset) -> Regions | None:
    """Give the regions of the first run that says what it predicts, as the page's legend does."""
    for folder in folders:
        described = _described(folder / "predictions" / "prediction.json")
        if described.get("regions") or described.get("label_names"):
            return described.get("regions") or None
    return dataset.regions


def _alike(folders: tuple[Path, ...], regions: Regions | None) -> tuple[list[Path], list[str]]:
    """Choose the runs that predict these regions: colours and names of others would mean something else."""
    shown, notes = [], []
    for folder in folders:
        described = _described(folder / "predictions" / "prediction.json")
        if "regions" in described and _plain(described["regions"]) != _plain(regions):
            notes.append(f"{folder.resolve().name} predicts other regions: it is not in the case viewer.")
        else:
            shown.append(folder)
    return shown, notes


def _plain(regions: Regions | None) -> list[tuple[str, list[int]]]:
    return [(name, list(labels)) for name, labels in (regions or {}).items()]


def _painted(case: Case, regions: Regions | None) -> Any:  # noqa: ANN401 - a tensor; torch is imported late
    """Give the reference as one label map; of overlapping regions the later lies on top."""
    import torch

    if case.labels is None or not regions:
        return case.labels
    painted = torch.zeros_like(case.labels)
    for number, labels in enumerate(regions.values(), start=1):
        painted[torch.isin(case.labels, torch.tensor(labels))] = number
    return painted


def _overlay(folder: Path, case: Case, dataset: Dataset) -> Overlay:
    import numpy as np

    from sfumato.report import Overlay

    files = folder / "predictions"
    described = _described(files / "prediction.json")
    labels = _stored(files / f"{case.name}.nii.gz", case)
    if labels.ndim > len(case.spacing):
        # One mask per overlapping region, last axis: the later region lies on top.
        numbers = np.arange(1, labels.shape[-1] + 1)
        labels = (numbers * (labels > 0)).max(axis=-1)
    path = files / f"{case.name}_soft.nii.gz"
    soft = _channels_first(_stored(path, case), case) if path.is_file() else None
    target = _target(folder, described, case, dataset)
    kind = described.get("kind", "classes")
    regions = described.get("regions")
    if regions and kind == "classes":
        # The legend counts regions: a region weighs what its classes weigh together.
        soft, target, kind = _summed(soft, regions), _summed(target, regions), "regions"
    uncertainty = next(iter(sorted(files.glob(f"{case.name}_uncertainty-*.nii.gz"))), None)
    for name, array in (("prediction", labels), ("soft prediction", None if soft is None else soft[0])):
        if array is not None and array.shape != case.shape:
            raise GeometryError(
                f"the {name} of {case.name} in {files} has shape {array.shape}, its image {case.shape}"
            )
    return Overlay(
        labels=np.ascontiguousarray(labels.astype(np.int64)),
        soft=None if soft is None else np.ascontiguousarray(soft, dtype=np.float32),
        kind=kind,
        uncertainty=None
        if uncertainty is None
        else np.ascontiguousarray(_stored(uncertainty, case), dtype=np.float32),
        target=target,
    )


def _summed(weights: Any, regions: Regions) -> Any:  # noqa: ANN401 - an array, a tensor, or None
    """Add up class weights ``(K, *S)`` per region: ``(R, *S)``, an array; ``None`` stays ``None``."""
    import numpy as np

    if weights is None:
        return None
    return np.stack([np.asarray(weights)[list(labels)].sum(axis=0) for labels in regions.values()])


def _described(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _stored(path: Path, case: Case) -> Any:  # noqa: ANN401 - arrays
    """Read a prediction's array; NIfTI puts a picture's channels behind a third axis of one slice."""
    from sfumato.data import read_volume

    array, axes = read_volume(path).array, len(case.spacing)
    return array.squeeze(axes) if array.ndim == axes + 2 and array.shape[axes] == 1 else array


def _channels_first(array: Any, case: Case) -> Any:  # noqa: ANN401 - arrays
    import numpy as np

    return np.moveaxis(array, -1, 0) if array.ndim > len(case.spacing) else array[None]


def _target(folder: Path, described: Mapping[str, Any], case: Case, dataset: Dataset) -> Any:  # noqa: ANN401 - a tensor or None
    """Make the soft label that the run trains with, on the case's own grid; ``None`` where it cannot be."""
    import math

    import torch

    from sfumato.methods import METHODS
    from sfumato.recipe.recipe import read_recipe

    if case.labels is None or math.prod(case.shape) > MOST_TARGET_VOXELS:
        return None
    path = folder / "recipe.yaml"
    try:
        recipe = read_recipe(path) if path.exists() else None
        # The prediction's method is what tables call the run; the recipe's is the one that trained it.
        method = recipe.composed if recipe else METHODS.get(str(described.get("method")))
        if method is None:
            return None
        taken = (recipe is None or recipe.raters == "consensus") and method.takes_weights(
            beside_mask=not case.labels_from_soft
        )
        target = method.target(
            case.labels,
            case.image if method.needs_image else None,
            num_classes=dataset.num_classes,
            spacing=case.spacing,
            labels_per_rater=case.labels_per_rater,
            regions=(recipe.regions if recipe else None) or dataset.regions,
            generator=torch.Generator().manual_seed(0),
            soft=case.soft if taken else None,
        )
        # Masks that training rounds after it moved them are shown as it sees them.
        return method.finished(target)
    except SfumatoError:
        # A damaged recipe, or one with an option that is gone: the page does without this layer.
        return None
