"""Windows join to what the network would give on the whole volume."""

import pytest
import torch
from torch import nn

from sfumato.errors import ShapeError
from sfumato.prediction.tiles import whole_volume_logits


class PointWise(nn.Module):
    """Depends on each voxel alone: windows cannot change it."""

    def forward(self, image):
        return torch.cat((image, 2 * image + 1), dim=1)


class Recorder(PointWise):
    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, image):
        self.sizes.append(tuple(image.shape[2:]))
        return super().forward(image)


@pytest.mark.parametrize("size", [(5, 7), (40, 9), (1, 30), (3, 4, 5), (20, 6, 33)])
def test_windows_join_to_the_whole(size):
    image = torch.randn(1, *size)
    window = (8,) * len(size)
    logits = whole_volume_logits(PointWise(), image, window=window, overlap=0.5, divisor=4)
    expected = torch.cat((image, 2 * image + 1)).unsqueeze(0)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_small_volume_goes_through_in_one_piece_of_the_right_multiple():
    network = Recorder()
    whole_volume_logits(network, torch.randn(1, 9, 10), window=(8, 8), overlap=0.5, divisor=4)
    assert network.sizes == [(12, 12)]


def test_large_volume_is_seen_window_by_window():
    network = Recorder()
    whole_volume_logits(network, torch.randn(1, 9, 40), window=(8, 8), overlap=0.5, divisor=4)
    assert set(network.sizes) == {(8, 8)}
    assert len(network.sizes) > 4


def test_window_of_the_wrong_dimension_is_refused():
    with pytest.raises(ShapeError, match="2-D windows"):
        whole_volume_logits(PointWise(), torch.randn(1, 4, 4, 4), window=(8, 8), overlap=0.5)
