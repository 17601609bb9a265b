"""Labels made after augmentation on the device are those that the data loader would have made."""

import pytest
import torch
from torch.utils.data import default_collate

from sfumato.data import open_dataset
from sfumato.model import SegmentationTask
from sfumato.recipe.recipe import parse_recipe
from sfumato.structures import Structures
from sfumato.training import module
from sfumato.training import patches as patching
from sfumato.training.cases import prepare_cases, prepare_training_case
from sfumato.training.fit import fit
from sfumato.training.late import late_targets, made_on
from sfumato.training.patches import Patches
from tiny_cases import tiny_recipe, write_cases, write_rated_cases

MOVING = {
    "flip_axes": [0],
    "probability": 1.0,
    "rotation_deg": 20.0,
    "scale": 0.1,
    "translation_fraction": 0.05,
    "intensity_scale": 0.1,
    "intensity_shift": 0.1,
}


def late_recipe(method, *, axes=3, **changes):
    content = tiny_recipe(axes=axes) | {"method": method, "when": "after", "augment": MOVING} | changes
    return parse_recipe(content, source="test")


def both_ways(recipe, data, tmp_path):
    """A batch of two patches as the data loader labels it, and as it goes to a GPU."""
    cases = prepare_cases(
        recipe, data, data.names[:2], prepare=prepare_training_case, cache=tmp_path / "c", title="cases"
    )
    options = {"structures": Structures(data.label_names, data.regions)}
    ready, bare = (Patches(cases, recipe, **options, device=device) for device in ("cpu", "cuda"))
    return *(default_collate([each[0, 0], each[0, 1]]) for each in (ready, bare)), options


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("method", "label"),
    [
        ("ls", {}),
        ("svls", {}),
        ("geols", {}),
        ("geols", {"seeds": "random"}),
        ("geols", {"seeds": "erosion", "preset": "reference"}),
        ("singr", {}),
        ("singr", {"boundary": "inner"}),
    ],
    ids=str,
)
def test_late_targets_are_the_data_loaders(tmp_path, axes, method, label):
    data = open_dataset(write_cases(tmp_path / "data", axes=axes, channels=2))
    recipe = late_recipe(method, axes=axes, label=label)
    ready, bare, options = both_ways(recipe, data, tmp_path)
    assert "target" not in bare
    assert torch.equal(ready["image"], bare["image"])
    with torch.autocast("cpu", torch.bfloat16):
        found = late_targets(recipe, bare, **options)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, ready["target"], rtol=1e-6, atol=1e-6)


def test_cases_with_different_numbers_of_raters_make_one_batch(tmp_path):
    data = open_dataset(write_rated_cases(tmp_path / "data", axes=2))
    recipe = late_recipe("svls", axes=2)
    ready, bare, options = both_ways(recipe, data, tmp_path)
    assert set(bare) == {"image", "labels", "spacing"}
    torch.testing.assert_close(late_targets(recipe, bare, **options), ready["target"])


def test_training_with_late_targets_ends_with_the_same_weights(tmp_path, monkeypatch):
    data = open_dataset(write_cases(tmp_path / "data"))
    recipe = late_recipe("singr", epochs=1, validate_every=1)
    ends, made = [], []

    def counted(*arguments, **options):
        made.append(1)
        return late_targets(*arguments, **options)

    monkeypatch.setattr(module, "late_targets", counted)
    for name, late in (("loader", False), ("device", True)):
        monkeypatch.setattr(patching, "made_on", lambda *_, late=late: late)
        folder = fit(recipe, data, tmp_path / name)
        ends.append(torch.load(folder.best_checkpoint, weights_only=True)["state_dict"])
    assert made
    for key, weight in ends[0].items():
        torch.testing.assert_close(ends[1][key], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("device", "method", "when", "expected"),
    [
        ("cuda", "geols", "after", True),
        ("cuda", "geols", "before", False),
        ("cpu", "geols", "after", False),
        ("cuda", "softseg", "after", False),
        ("cuda", "superpixel", "after", False),
        ("cuda", "svls", "method", True),
        ("cuda", "msvls", "after", False),
    ],
)
def test_only_late_labels_that_the_gpu_can_make_go_there(device, method, when, expected):
    recipe = parse_recipe(tiny_recipe() | {"method": method, "when": when}, source="test")
    assert made_on(device, recipe) is expected
    halved = parse_recipe({**recipe.model_dump(mode="json"), "precision": "bf16-true"}, source="test")
    assert not made_on(device, halved)


def test_a_compiled_network_in_mixed_precision_takes_late_targets(tmp_path):
    data = open_dataset(write_cases(tmp_path / "data", axes=2))
    recipe = late_recipe("singr", axes=2)
    _, bare, options = both_ways(recipe, data, tmp_path)
    structures = options["structures"]
    task = SegmentationTask(1, structures, ("c0",), "tiny")
    found = module.SegmentationModule(recipe, task)
    found.network.compile(backend="eager")
    with torch.autocast("cpu", torch.bfloat16):
        batch = found.on_after_batch_transfer(bare, 0)
        logits = found(batch["image"])
        loss = found.loss(logits, batch["target"])
    loss.backward()
    assert batch["target"].dtype == torch.float32
    assert logits.dtype == torch.bfloat16
    assert all(torch.isfinite(weight.grad).all() for weight in found.network.parameters())
