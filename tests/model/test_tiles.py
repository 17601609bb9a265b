"""Windows join to what the network would give on the whole volume."""

import pytest
import torch
from torch import nn

from sfumato.errors import ShapeError
from sfumato.model.tiles import slice_logits, whole_volume_logits


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


@pytest.mark.parametrize("size", [(5, 7), (8, 12), (9, 13), (12, 18), (40, 9)])
def test_window_as_divisor_shows_nothing_but_windows(size):
    network, image = Recorder(), torch.randn(1, *size)
    logits = whole_volume_logits(network, image, window=(8, 12), overlap=0.5, divisor=(8, 12))
    assert set(network.sizes) == {(8, 12)}
    torch.testing.assert_close(logits[0, 1:], 2 * image + 1, rtol=1e-4, atol=1e-5)


def test_large_volume_is_seen_window_by_window():
    network = Recorder()
    whole_volume_logits(network, torch.randn(1, 9, 40), window=(8, 8), overlap=0.5, divisor=4)
    assert set(network.sizes) == {(8, 8)}
    assert len(network.sizes) > 4


def test_window_of_the_wrong_dimension_is_refused():
    with pytest.raises(ShapeError, match="2-D windows"):
        whole_volume_logits(PointWise(), torch.randn(1, 4, 4, 4), window=(8, 8), overlap=0.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [(5, 20, 3), (1, 1, 1), (7, 30, 40)])
def test_slices_stack_to_the_volume(axis, size):
    image = torch.randn(2, *size)
    logits = slice_logits(PointWise(), image, axis=axis, window=(8, 8), overlap=0.5, divisor=4, batch_size=3)
    expected = torch.cat((image, 2 * image + 1)).unsqueeze(0)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


class Shifts(nn.Module):
    """Looks one voxel back along each of the slice's axes: what lies in another slice never shows."""

    def forward(self, image):
        return torch.cat((image.roll(1, 2), image.roll(1, 3)), dim=1)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_knows_nothing_of_its_neighbours(axis):
    image = torch.randn(1, 8, 8, 8)
    logits = slice_logits(Shifts(), image, axis=axis, window=(8, 8), overlap=0.5, batch_size=5)
    first, second = [other for other in range(3) if other != axis]
    assert torch.equal(logits[0, 0], image[0].roll(1, first))
    assert torch.equal(logits[0, 1], image[0].roll(1, second))


def test_slices_go_through_several_at_a_time():
    network = Recorder()
    slice_logits(network, torch.randn(1, 9, 8, 8), axis=0, window=(8, 8), overlap=0.5, batch_size=4)
    assert len(network.sizes) == 3
    assert set(network.sizes) == {(8, 8)}


@pytest.mark.parametrize(("shape", "window"), [((1, 8, 8), (8, 8)), ((1, 8, 8, 8), (8, 8, 8))])
def test_slices_of_what_is_no_volume_are_refused(shape, window):
    with pytest.raises(ShapeError, match="a network of slices sees 2-D windows of volumes"):
        slice_logits(PointWise(), torch.randn(shape), axis=0, window=window, overlap=0.5)
