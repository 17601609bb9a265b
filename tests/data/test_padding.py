import pytest
import torch

from sfumato.data.padding import BACKGROUND, channel_values
from sfumato.errors import ShapeError


@pytest.mark.parametrize(
    ("padding", "channels", "expected"),
    [
        (0.5, 3, [0.5, 0.5, 0.5]),
        ((-1.0, -1.0), 1, [-1.0]),
        (BACKGROUND, 4, [1.0, 0.0, 0.0, 0.0]),
        (BACKGROUND, 2, [1.0, 0.0]),
        ([0.1, 0.2, 0.7], 3, [0.1, 0.2, 0.7]),
    ],
)
def test_one_two_or_all_values_name_the_outside_of_every_channel(padding, channels, expected):
    values = channel_values(padding, torch.zeros(channels, 2, 2))
    torch.testing.assert_close(values, torch.tensor(expected))


def test_another_number_of_values_is_named():
    with pytest.raises(ShapeError, match="padding has 3 values, but there are 4 channels"):
        channel_values([0, 0, 0], torch.zeros(4, 2, 2))
