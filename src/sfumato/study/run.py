"""One complete run: fit, predict the test cases, evaluate them; everything lies in the run's folder."""

from __future__ import annotations

import csv
import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from sfumato.data.case import Case, Dataset
from sfumato.data.inspection import check_dataset
from sfumato.data.output import atomic_output
from sfumato.data.readers.cases import load_case
from sfumato.data.splits import read_splits
from sfumato.errors import DataError
from sfumato.metrics import CalibrationBins
from sfumato.metrics.boundary import boundary_band
from sfumato.metrics.evaluation import (
    MASK_METRICS,
    Origin,
    Settings,
    evaluate_calibration,
    evaluate_case,
    evaluate_maps,
)
from sfumato.metrics.table import Row, write_rows
from sfumato.prediction.predict import (
    Prediction,
    describe,
    load_checkpoint,
    predict_case,
    run_name,
    write_prediction,
)
from sfumato.study.temperature import run_temperature, scaled_case
from sfumato.study.twins import SUFFIX
from sfumato.training.fit import fit
from sfumato.training.module import SegmentationModule
from sfumato.training.recipe import Recipe
from sfumato.training.run_folder import RunFolder
from sfumato.types import ArrayLike

LOG = logging.getLogger("sfumato.study")
BAND_MM = 3.0  # reach of the boundary band in the calibration table, to either side of the surface
VALUE_BINS = 50
Progress = Callable[[Iterable[str]], Iterable[str]]


def complete_run(
    recipe: Recipe,
    dataset: Dataset,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = iter,
) -> RunFolder:
    """Train one recipe, then predict and evaluate its test cases.

    With ``resume``, a run that has its ``metrics.csv`` is complete and left as it is.

    Args:
        recipe: What to train.
        dataset: Its cases.
        out: The run folder.
        resume: Go on with an interrupted run.
        overwrite: Replace an existing one.
        progress: Wraps the test cases' names, for a progress bar.

    Returns:
        The run's folder, with predictions (hard and graded), ``metrics.csv``, ``calibration.csv`` and
        ``values.csv`` of the test cases. A split without test cases leaves the tables empty. A softmax
        method also has its ``temperature.json``, fitted on the validation cases: ``metrics.csv`` then holds
        its temperature-scaled twin (run and method end in ``+T``; the decisions are the same, the graded
        values are not), and ``calibration+T.csv`` the twin's reliability.

    Raises:
        DataError: every problem of every case, the test cases included, before any training.
        SfumatoError: as :func:`sfumato.training.fit.fit`.
    """
    if not (out / "recipe.yaml").exists():
        # A broken test case must not come to light after days of training.
        problems = check_dataset(dataset)
        if problems:
            raise DataError(problems)
    folder = fit(recipe, dataset, out, resume=resume, overwrite=overwrite)
    if folder.writes and not (folder.path / "metrics.csv").exists():
        with folder.logging():
            evaluate_run(folder, dataset, progress=progress)
    return folder


def evaluate_run(folder: RunFolder, dataset: Dataset, *, progress: Progress = iter) -> list[Row]:
    """Predict and evaluate the test cases of a trained run; ``metrics.csv`` is written last."""
    module = load_checkpoint(folder.best_checkpoint)
    split = read_splits(folder.path / "splits.json").fold(module.recipe.split.fold)
    files = {entry.name: entry for entry in dataset.cases}
    fitted = run_temperature(folder.path, module, dataset, split.val)
    tables = _Tables(module, temperature=None if fitted is None else fitted.temperature)
    out = folder.path / "predictions"
    for name in progress(split.test):
        case = load_case(files[name], dataset)
        found = predict_case(module, case)
        write_prediction(found, module, out, soft="float32")
        tables.add(found, case, dataset)
        LOG.info("predicted and evaluated %s", name)
    describe(module, out, soft="float32")
    tables.write(folder.path)
    return tables.rows


class _Tables:
    """What a run's test cases add up to: rows, reliability bins, histogram of the graded values.

    Args:
        module: The trained model.
        temperature: Of its temperature-scaled twin; None for a method that has none.
    """

    def __init__(self, module: SegmentationModule, *, temperature: float | None = None) -> None:
        self.module, self.temperature = module, temperature
        self.rows: list[Row] = []
        # Overlapping regions have no joint distribution over classes: each is calibrated against the rest.
        classes = 2 if module.regions else module.task["num_classes"]
        variants = ("",) if temperature is None else ("", SUFFIX)
        self.bins = {
            variant: {name: CalibrationBins(classes) for name in ("all", "foreground", "boundary")}
            for variant in variants
        }
        low = -1.0 if module.method.kind == "signed" else 0.0
        self.edges = torch.linspace(low, 1.0, VALUE_BINS + 1)
        self.values = torch.zeros(VALUE_BINS, dtype=torch.int64)

    def add(self, found: Prediction, case: Case, dataset: Dataset) -> None:
        """Score one case against its consensus and, where there are several raters, each of them."""
        if case.labels is None:
            LOG.warning("%s has no mask: it is predicted, not evaluated", case.name)
            return
        recipe, structures = self.module.recipe, _structures(dataset)
        names = ["", *dataset.rater_names] if case.labels_per_rater is not None else [""]
        targets = [case.labels, *(case.labels_per_rater if case.labels_per_rater is not None else ())]
        hard: ArrayLike = found.labels if found.regions is None else found.regions
        maps, probs = self._graded(found.soft)
        scaled = None if self.temperature is None else scaled_case(found.soft, self.temperature)
        for rater, labels in zip(names, targets, strict=True):
            origin = Origin(
                run=run_name(self.module),
                method=recipe.method,
                dataset=dataset.name,
                seed=recipe.seed,
                fold=recipe.split.fold,
                case=case.name,
                rater=rater,
            )
            rows = evaluate_case(
                hard,
                labels,
                structures=structures,
                spacing=case.spacing,
                origin=origin,
                settings=Settings(tolerance_mm=recipe.tolerance_mm),
                soft=maps,
                probs=probs,
            )
            self.rows += rows
            if scaled is not None:
                self.rows += self._twin(rows, scaled, labels, origin, structures, case.spacing)
        self.values += torch.histogram(found.soft.float(), self.edges)[0].to(torch.int64)
        self._count("", case.labels, maps, probs, case.spacing)
        if scaled is not None:
            self._count(SUFFIX, case.labels, *self._graded(scaled), case.spacing)

    def _twin(
        self,
        rows: list[Row],
        scaled: torch.Tensor,
        labels: torch.Tensor,
        origin: Origin,
        structures: dict[str, tuple[int, ...]],
        spacing: tuple[float, ...],
    ) -> list[Row]:
        """Score the temperature-scaled probabilities; what the decisions alone decide stays as it is."""
        origin = dataclasses.replace(origin, run=origin.run + SUFFIX, method=origin.method + SUFFIX)
        twins = [
            dataclasses.replace(row, run=origin.run, method=origin.method)
            for row in rows
            if row.metric in MASK_METRICS
        ]
        maps, probs = self._graded(scaled)
        twins += evaluate_maps(maps, labels, structures=structures, spacing=spacing, origin=origin)
        return twins if probs is None else [*twins, *evaluate_calibration(probs, labels, origin=origin)]

    def _graded(self, soft: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One map in [0, 1] per structure, and class probabilities where the classes exclude each other."""
        method = self.module.method
        if method.kind == "classes":
            groups = self.module.region_values()
            return torch.stack([soft[list(group)].sum(0) for group in groups]).clamp(0, 1), soft
        maps = ((soft + 1) / 2 if method.kind == "signed" else soft).clamp(0, 1)
        return maps, None if self.module.regions else method.probabilities(soft, batched=False)

    def _count(
        self,
        variant: str,
        labels: torch.Tensor,
        maps: torch.Tensor,
        probs: torch.Tensor | None,
        spacing: tuple[float, ...],
    ) -> None:
        bins = self.bins[variant]
        if probs is not None and not self.module.regions:
            pairs = [(probs, labels)]
        else:
            masks = [torch.isin(labels, labels.new_tensor(group)) for group in self.module.region_values()]
            pairs = [
                (torch.stack((1 - one, one)), mask.long()) for one, mask in zip(maps, masks, strict=True)
            ]
        for values, reference in pairs:
            bins["all"].update(values, reference)
            bins["foreground"].update(values, reference, reference > 0)
            band = boundary_band(reference, spacing=spacing, width_mm=max(BAND_MM, *spacing))
            bins["boundary"].update(values, reference, band)

    def write(self, out: Path) -> None:
        """Write the tables; ``metrics.csv`` last, because it marks the run as complete."""
        for variant, sets in self.bins.items():
            _write_csv(out / f"calibration{variant}.csv", _reliability_lines(sets))
        edges = self.edges.tolist()
        counts = [(edges[index], edges[index + 1], count) for index, count in enumerate(self.values.tolist())]
        _write_csv(out / "values.csv", [("low", "high", "count"), *counts])
        write_rows(self.rows, out / "metrics.csv", overwrite=True)


def _reliability_lines(sets: dict[str, CalibrationBins]) -> list[Sequence[object]]:
    lines: list[Sequence[object]] = [("set", "bin_low", "bin_high", "count", "confidence", "accuracy")]
    for name, bins in sets.items():
        found = bins.compute().reliability
        width = 1 / len(found.voxels)
        for index, row in enumerate(zip(found.voxels, found.confidence, found.accuracy, strict=True)):
            lines.append((name, index * width, (index + 1) * width, *row))
    return lines


def _structures(dataset: Dataset) -> dict[str, tuple[int, ...]]:
    if dataset.regions:
        return {name: tuple(values) for name, values in dataset.regions.items()}
    return {name: (label,) for label, name in dataset.label_names.items() if label != 0}


def _write_csv(path: Path, lines: Sequence[Sequence[object]]) -> None:
    with atomic_output(path, overwrite=True) as temporary, temporary.open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
