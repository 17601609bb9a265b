"""Train on SVLS labels in a plain PyTorch loop: Sfumato's label, loss and metric, your network.

python examples/own_loop.py [--steps 30]
"""

from __future__ import annotations

import argparse

import torch

import sfumato
from sfumato.data import samples


def main() -> None:
    """Train a small 2-D network on one slice of each case, and print its Dice on cases it never saw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    steps = parser.parse_args().steps
    torch.manual_seed(0)
    images, labels = [], []
    for case in samples.load("hippocampus")[:12]:
        middle = case.shape[2] // 2
        plane = case.image[:, :32, :48, middle]
        images.append((plane - plane.mean()) / plane.std())
        labels.append((case.labels[:32, :48, middle] > 0).long())
    image = torch.stack([plane[:, :28, :40] for plane in images])
    label = torch.stack([plane[:28, :40] for plane in labels])
    target = torch.stack([sfumato.labels.svls(plane, num_classes=2) for plane in label])

    network = sfumato.networks.build(
        "unet", in_channels=1, out_channels=2, image_size=(28, 40), channels=(8, 16, 32), res_units=1
    )
    loss_function = sfumato.losses.SoftCrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        loss = loss_function(network(image[:8]), target[:8])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    prediction = network(image[8:]).argmax(dim=1, keepdim=True) == 1
    dice = sfumato.metrics.dice(prediction, label[8:, None] == 1, spatial_axes=2)
    print(f"loss {loss.item():.3f}, Dice on 4 unseen slices {dice.mean():.3f}")


if __name__ == "__main__":
    main()
