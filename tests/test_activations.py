import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.activations import ACTIVATIONS, norm_relu
from sfumato.errors import ShapeError, UnknownNameError

SHAPES = [(3, 2, 4, 5), (2, 3, 2, 3, 4)]


def logits_of(shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_sample_and_channel_is_divided_by_its_own_largest_value(shape):
    logits = logits_of(shape)
    prediction = norm_relu(logits)
    for item in range(shape[0]):
        for channel in range(shape[1]):
            positive = logits[item, channel].clamp_min(0)
            torch.testing.assert_close(prediction[item, channel], positive / positive.max())
            assert prediction[item, channel].max() == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_case_does_not_depend_on_its_batch_unless_asked_to(shape):
    logits = logits_of(shape)
    louder = logits.clone()
    louder[1:] *= 10
    assert torch.equal(norm_relu(louder)[0], norm_relu(logits)[0])
    assert not torch.allclose(
        norm_relu(louder, scope="batch")[0, :1], norm_relu(logits, scope="batch")[0, :1]
    ) or (shape[1] > 1)
    one = logits[:, :1]
    assert not torch.allclose(norm_relu(louder[:, :1], scope="batch")[0], norm_relu(one, scope="batch")[0])


def test_the_batch_scope_divides_by_the_largest_value_of_all_and_by_the_class_sum():
    logits = logits_of((3, 2, 4, 5))
    scaled = logits.clamp_min(0) / logits.max()
    total = scaled.sum(1, keepdim=True)
    expected = torch.where(total > 0, scaled / total, 0.0)
    torch.testing.assert_close(norm_relu(logits, scope="batch"), expected)
    torch.testing.assert_close(
        norm_relu(logits[:, :1], scope="batch"), logits[:, :1].clamp_min(0) / logits[:, :1].max()
    )


@pytest.mark.parametrize("scope", ["sample", "batch"])
@pytest.mark.parametrize("value", [0.0, -1.0, -0.0, 1e-40])
def test_nothing_above_zero_gives_zero_and_a_finite_gradient(scope, value):
    logits = torch.full((2, 2, 3, 4), value, requires_grad=True)
    prediction = norm_relu(logits, scope=scope)
    prediction.sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert prediction.abs().max() <= 1e-27 or scope == "batch"
    if value <= 0:
        assert prediction.abs().max() == 0
        assert logits.grad.abs().max() == 0


@given(st.sampled_from((1e-3, 1.0, 1e4)))
def test_the_scale_of_the_logits_does_not_matter(scale):
    logits = logits_of((2, 2, 4, 5))
    torch.testing.assert_close(norm_relu(scale * logits), norm_relu(logits))


def test_gradients_are_right():
    logits = logits_of((2, 2, 3, 2), dtype=torch.float64).requires_grad_()
    for scope in ("sample", "batch"):
        assert torch.autograd.gradcheck(lambda x, scope=scope: norm_relu(x, scope=scope)[:, :1], logits)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_is_kept(dtype):
    logits = logits_of((2, 2, 4, 5)).to(dtype)
    prediction = norm_relu(logits)
    assert prediction.dtype == dtype
    torch.testing.assert_close(prediction.float(), norm_relu(logits.float()), atol=1e-2, rtol=0)


def test_every_activation_keeps_its_range():
    logits = 5 * logits_of((2, 3, 4, 5))
    ranges = {"softmax": (0, 1), "sigmoid": (0, 1), "tanh": (-1, 1), "norm-relu": (0, 1)}
    assert set(ranges) == set(ACTIVATIONS)
    for name, (low, high) in ranges.items():
        prediction = ACTIVATIONS[name](logits)
        assert prediction.min() >= low
        assert prediction.max() <= high
        assert prediction.max() > 0.9
    torch.testing.assert_close(ACTIVATIONS["softmax"](logits).sum(1), torch.ones(2, 4, 5))
    torch.testing.assert_close(ACTIVATIONS["tanh"](logits), 2 * ACTIVATIONS["sigmoid"](2 * logits) - 1)


def test_options_are_those_of_the_signature_and_can_be_changed():
    row = ACTIVATIONS["norm-relu"]
    assert row.options == {"scope": "sample"}
    assert ACTIVATIONS["softmax"].options == {}
    logits = logits_of((3, 2, 4, 5))
    changed = row.with_options({"scope": "batch"})
    assert torch.equal(changed(logits), norm_relu(logits, scope="batch"))
    assert changed.options == {"scope": "batch"}


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match=r"give \(B, C, \*S\)"):
        norm_relu(torch.zeros(3, 4))
    with pytest.raises(UnknownNameError, match="Did you mean 'sample'"):
        norm_relu(torch.zeros(1, 1, 2), scope="samples")
