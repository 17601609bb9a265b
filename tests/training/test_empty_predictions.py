"""A NormReLU network without a logit above 0 cannot learn: its training says so, and of which structure."""

import logging

import pytest
import torch

from sfumato.data import open_dataset
from sfumato.recipe.recipe import parse_recipe
from sfumato.training import fit as fitting
from sfumato.training.module import SegmentationModule
from tiny_cases import write_cases

FAR = 1e4


@pytest.fixture
def train(content, tmp_path, monkeypatch, caplog):
    """Train with logits moved by an offset per channel, and give the warnings."""

    def run(offset, *, method="softseg", **changes):
        class Moved(SegmentationModule):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                self.network.register_forward_hook(self.moved)

            def moved(self, network, inputs, logits):
                return logits + torch.tensor(offset(self)).view(1, -1, 1, 1, 1)

        monkeypatch.setattr(fitting, "SegmentationModule", Moved)
        recipe = parse_recipe({**content, "method": method, "epochs": 3} | changes, source="test")
        with caplog.at_level(logging.WARNING, logger="sfumato"):
            folder = fitting.fit(
                recipe, open_dataset(write_cases(tmp_path / "data", count=4)), tmp_path / "run"
            )
        said = [entry.getMessage() for entry in caplog.records if entry.name == "sfumato.training"]
        for line in said:
            assert line in (folder.path / "log.txt").read_text()
        return said

    return run


def test_a_structure_without_a_gradient_is_named_once(train):
    (line,) = train(lambda module: [FAR, -FAR])
    assert line.startswith("epoch 1: no logit of part2 was above 0 in any training patch")
    assert "another seed, a lower learning rate" in line


def test_what_begins_later_and_what_begins_anew_is_said_then(train):
    epochs = {0: FAR, 1: -FAR, 2: FAR, 3: -FAR}
    lines = train(lambda module: [FAR, epochs[module.current_epoch]], epochs=4)
    assert [line.split(":")[0] for line in lines] == ["epoch 2", "epoch 4"]


def test_emptiness_in_validation_alone_has_its_own_words(train):
    (line,) = train(lambda module: [FAR, FAR if module.network.training else -FAR])
    assert line.startswith("epoch 1: no logit of part2 was above 0 in any validation case, but in training")


def test_one_batch_above_zero_is_enough(train):
    def offset(module):
        return [FAR, -FAR if module.network.training and module.global_step % 2 == 1 else FAR]

    assert train(offset, batch_size=1) == []


def test_a_sigmoid_has_a_gradient_everywhere_and_is_not_watched(train):
    assert train(lambda module: [FAR, -FAR], method="hard-sig-dice") == []
