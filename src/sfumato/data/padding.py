"""What lies outside the image: one value per channel of a target."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sfumato.errors import ShapeError

BACKGROUND = (1.0, 0.0)


def channel_values(padding: float | Sequence[float], target: Tensor) -> Tensor:
    """Return the value outside the image for each channel of ``target``.

    Args:
        padding: One value for all channels; one per channel; or two: for channel 0 and for all others.
        target: ``(C, *S)``.

    Returns:
        ``(C,)``, float32, on the target's device.

    Raises:
        ShapeError: another number of values.
    """
    values = [padding] if isinstance(padding, (int, float)) else list(padding)
    channels = len(target)
    if len(values) == 2 and channels != 2:
        values = [values[0]] + [values[1]] * (channels - 1)
    if len(values) not in (1, channels):
        raise ShapeError(f"padding has {len(values)} values, but there are {channels} channels")
    return torch.tensor(values, dtype=torch.float32, device=target.device).expand(channels)
