import torch

from sfumato.losses.base import checked_pair, reduced


def test_half_precision_becomes_float32_and_float64_stays():
    target = torch.zeros(1, 1, 2, dtype=torch.int64)
    for dtype, wide in (
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float64),
    ):
        pair = checked_pair(torch.zeros(1, 1, 2, dtype=dtype), target)
        assert [tensor.dtype for tensor in pair] == [wide, wide]


def test_reductions_are_mean_sum_and_none():
    values = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert reduced(values, "mean") == 3
    assert reduced(values, "sum") == 12
    assert torch.equal(reduced(values, "none"), values)
