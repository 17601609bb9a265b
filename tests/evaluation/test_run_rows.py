"""The rows of a run: its soft scores, and the histogram of soft values that it keeps."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sfumato.data.case import Case, Dataset
from sfumato.evaluation.run import RunRows, value_counts
from sfumato.model import Model
from sfumato.model.predict import Prediction
from sfumato.recipe.recipe import parse_recipe
from tiny_cases import tiny_recipe, tiny_task


def test_histogram_is_numpys_on_values_at_and_between_the_edges():
    edges = [index / 50 for index in range(51)]
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.random(999), edges]).astype(np.float32)
    expected, _ = np.histogram(values, np.asarray(edges, dtype=np.float32))
    assert value_counts(torch.from_numpy(values.reshape(3, -1)), edges).tolist() == expected.tolist()


def test_histogram_counts_more_voxels_than_float32_can():
    count = 2**24 + 3
    assert value_counts(torch.zeros(count), [0.0, 0.5, 1.0]).tolist() == [count, 0]


def test_rounding_beyond_the_range_counts_at_its_ends():
    values = torch.tensor([-1 - 1e-6, -1.0, 0.0, 1.0, 1 + 1e-6])
    assert value_counts(values, [-1.0, 0.0, 1.0]).tolist() == [2, 3]


def test_no_value_is_counted_nowhere():
    assert value_counts(torch.zeros(2, 0), [0.0, 0.5, 1.0]).tolist() == [0, 0]


def scored(*, labels_from_soft):
    """The rows of a prediction that equals the class weights, on a case that has them."""
    soft = torch.rand(3, 5, 4, 3, generator=torch.Generator().manual_seed(0)).softmax(0)
    task = tiny_task("core", "rim")
    recipe = parse_recipe(tiny_recipe() | {"method": "ce"}, source="test")
    case = Case(
        name="a",
        image=soft[:1],
        labels=soft.argmax(0),
        labels_per_rater=None,
        spacing=(1.0, 2.0, 0.5),
        affine=None,
        soft=soft,
        labels_from_soft=labels_from_soft,
    )
    data = Dataset("weights", (), {0: "background", 1: "core", 2: "rim"}, ("T1",), Path())
    rows = RunRows(Model(recipe, task), temperature=1.0)
    rows.add(Prediction(case, soft, soft.argmax(0), None), case, data)
    found = {(row.run, row.structure, row.metric): row.value for row in rows.rows() if row.case == "a"}
    return soft, found


@pytest.mark.parametrize("run", ["ce-seed0-fold0", "ce-seed0-fold0+T"])
def test_graded_scores_compare_with_class_weights_where_there_is_no_mask(run):
    _, found = scored(labels_from_soft=True)
    for structure in ("core", "rim"):
        assert found[run, structure, "mse"] == pytest.approx(0, abs=1e-9)
        assert found[run, structure, "soft_dice"] == pytest.approx(1, abs=1e-6)
        assert found[run, structure, "dice"] == 1


@pytest.mark.parametrize("run", ["ce-seed0-fold0", "ce-seed0-fold0+T"])
def test_beside_a_mask_graded_scores_compare_with_the_mask(run):
    soft, found = scored(labels_from_soft=False)
    expected = np.mean((soft[1].numpy() - (soft.argmax(0) == 1).numpy()) ** 2)
    assert found[run, "core", "mse"] == pytest.approx(expected, rel=1e-5)
