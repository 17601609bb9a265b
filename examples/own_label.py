"""A label of your own in one file, and a training with it: python examples/own_label.py."""

from pathlib import Path

import torch
from torch import Tensor

from sfumato.data import open_dataset
from sfumato.labels import one_hot
from sfumato.recipe import parse_recipe
from sfumato.study import complete_run


def blurred(labels: Tensor, *, num_classes: int, width: int = 3) -> Tensor:
    """Average the one-hot label over a square of ``width`` voxels: (K, H, W), summing to 1."""
    pool = torch.nn.AvgPool2d(width, stride=1, padding=width // 2, count_include_pad=False)
    return pool(one_hot(labels, num_classes=num_classes))


if __name__ == "__main__":
    content = {
        "method": "ce",  # its softmax and cross-entropy; the label is ours
        "label": {"name": "own_label:blurred", "width": 5},
        "patch": {"size": [64, 64]},
        "network": {"name": "unet", "options": {"channels": [8, 16, 32]}},
        "epochs": 3,
    }
    recipe = parse_recipe(content, source="own_label.py")
    run = complete_run(recipe, open_dataset("sample:cells"), Path("run"), overwrite=True)
    print(f"trained with {recipe.label.name}: Dice of every test case in {run.path / 'metrics.csv'}")
