"""Training on one rater of several, where some cases lack some raters."""

import pytest
import torch

from sfumato.data import load_case, open_dataset
from sfumato.errors import DataError
from sfumato.recipe.recipe import parse_recipe
from sfumato.training.cases import prepare_case
from tiny_cases import tiny_recipe, write_rated_cases


@pytest.fixture
def data(tmp_path):
    """Three raters per case; the first case lacks the second."""
    folder = write_rated_cases(tmp_path / "data", count=2)
    manifest = folder / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("labelsTr/case0_rater2.nii.gz", ""))
    return open_dataset(folder)


def recipe(rater):
    content = tiny_recipe() | {"method": "ce", "raters": rater}
    content["preprocess"] |= {"spacing": None, "crop_size": None}
    return parse_recipe(content, source="test")


def test_a_rater_is_found_also_where_another_lacks(data):
    case = load_case(data.cases[0], data)
    assert case.labels_per_rater.shape[0] == 2
    found = prepare_case(recipe("mask_rater3"), data, data.cases[0])
    assert torch.equal(found.labels, case.labels_per_rater[1])
    assert not torch.equal(found.labels, case.labels_per_rater[0])


def test_a_case_that_the_rater_did_not_draw_is_named(data):
    prepare_case(recipe("mask_rater2"), data, data.cases[1])
    with pytest.raises(DataError, match="case case0 has no mask of rater mask_rater2"):
        prepare_case(recipe("mask_rater2"), data, data.cases[0])
