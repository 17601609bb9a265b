"""Experiments of version 1 are read as what they meant."""

from pathlib import Path

import pytest

from sfumato.reproduction.experiments import EXPERIMENTS, experiment, read_experiment

STORED = Path(__file__).parents[1] / "stored" / "version-1" / "recipes"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_stored_experiment_is_the_shipped_one(name):
    stored, shipped = read_experiment(STORED / name / "experiment.yaml"), experiment(name)
    assert stored.content == shipped.content
    assert stored.recipes == shipped.recipes
