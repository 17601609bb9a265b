import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from sfumato.errors import DTypeError, InputError, ShapeError, ValueRangeError
from sfumato.metrics import (
    CalibrationBins,
    fit_map_temperature,
    fit_temperature,
    scale_maps,
    scale_probabilities,
)
from strategies import seeds


def sampled(seed, true_temperature, num_classes=3, size=(2, 20, 25)):
    """Logits, and labels drawn from their softmax at another temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(size[0], num_classes, *size[1:], generator=generator)
    probs = torch.softmax(logits / true_temperature, dim=1).movedim(1, -1).reshape(-1, num_classes)
    labels = torch.multinomial(probs, 1, generator=generator).reshape(size)
    return logits, labels


def nll(logits, labels, temperature):
    return float(torch.nn.functional.cross_entropy(logits.double() / temperature, labels))


@given(seeds, st.sampled_from((0.4, 1.0, 2.5)))
@settings(max_examples=10)
def test_the_temperature_minimises_the_loss_as_scipy_finds_it(seed, true_temperature):
    logits, labels = sampled(seed, true_temperature)
    found = fit_temperature([(logits, labels)])
    oracle = minimize_scalar(lambda t: nll(logits, labels, t), bounds=(0.05, 20), method="bounded").x
    assert found == pytest.approx(oracle, rel=1e-3)
    assert nll(logits, labels, found) <= nll(logits, labels, oracle) + 1e-12
    assert found == pytest.approx(true_temperature, rel=0.2)


def test_batches_cases_and_probabilities_give_the_same_temperature():
    logits, labels = sampled(1, 1.7)
    whole = fit_temperature([(logits, labels)])
    cases = [(logits[i].numpy(), labels[i].to(torch.uint8)) for i in (1, 0)]
    assert fit_temperature(cases) == pytest.approx(whole, rel=1e-9)
    probs = [(logits.softmax(dim=1), labels)]
    assert fit_temperature(probs, kind="probs") == pytest.approx(whole, rel=1e-4)


def test_scaling_calibrates_an_overconfident_model_and_keeps_its_decisions():
    logits, labels = sampled(3, 3.0, size=(2, 60, 60))
    probs = logits.softmax(dim=1)
    scaled = scale_probabilities(probs, fit_temperature([(logits, labels)]))
    assert torch.equal(scaled.argmax(dim=1), probs.argmax(dim=1))
    torch.testing.assert_close(scaled.sum(dim=1), torch.ones(labels.shape))
    errors = []
    for maps in (probs, scaled):
        bins = CalibrationBins(3)
        bins.update(maps, labels)
        errors.append(bins.compute().ece)
    assert errors[1] < errors[0] / 3


@given(seeds, st.sampled_from((0.01, 0.5, 1.0, 7.0, 100.0)))
def test_the_largest_class_stays_the_largest_even_by_one_rounding_step(seed, temperature):
    rng = np.random.default_rng(seed)
    probs = torch.from_numpy(rng.dirichlet((1, 1, 1), 50).T.astype(np.float32).copy())
    probs[1] = torch.nextafter(probs[0], torch.ones(50))  # a near tie
    scaled = scale_probabilities(probs, temperature, axis=0)
    assert torch.equal(scaled.argmax(dim=0), probs.argmax(dim=0))
    assert scaled.isfinite().all()


def test_scaling_by_one_changes_nothing():
    probs = sampled(5, 1.0)[0].softmax(dim=1)
    torch.testing.assert_close(scale_probabilities(probs, 1.0), probs)


def test_the_bounds_are_given_where_there_is_no_minimum():
    right = torch.tensor([[[3.0, -3.0], [-3.0, 3.0]]])  # (B, K, n)
    cooled = fit_temperature([(right, torch.tensor([[0, 1]]))])
    assert 0.01 <= cooled < 0.5
    assert nll(right, torch.tensor([[0, 1]]), cooled) == 0
    assert fit_temperature([(right, torch.tensor([[1, 0]]))]) == pytest.approx(100.0)


def test_zero_probabilities_give_a_finite_temperature():
    probs = torch.tensor([[[1.0, 0.0, 0.9], [0.0, 1.0, 0.1]]])
    assert 0.01 <= fit_temperature([(probs, torch.tensor([[0, 0, 0]]))], kind="probs") <= 100


def test_wrong_input_is_named():
    logits, labels = torch.zeros(1, 2, 3), torch.zeros(1, 3, dtype=torch.int64)
    with pytest.raises(InputError, match="only once"):
        fit_temperature(pair for pair in [(logits, labels)])
    with pytest.raises(ValueRangeError, match="hold no voxel"):
        fit_temperature([])
    with pytest.raises(ValueRangeError, match="NaN or infinite"):
        fit_temperature([(logits / 0, labels)])
    with pytest.raises(ShapeError, match="give probs"):
        fit_temperature([(logits, labels[:, 1:])])
    with pytest.raises(ValueRangeError, match="temperature is 0"):
        scale_probabilities(logits, 0.0)
    with pytest.raises(InputError, match="unknown kind of input 'odds'"):
        fit_temperature([(logits, labels)], kind="odds")


def drawn_masks(seed, true_temperature, shape=(3, 30, 17)):
    """Sigmoid maps of three regions, and masks drawn from them at another temperature."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=generator)
    masks = torch.rand(shape, generator=generator) < (logits / true_temperature).sigmoid()
    return logits, masks


@given(seeds, st.sampled_from((0.4, 1.0, 2.5)))
@settings(max_examples=10)
def test_map_temperature_is_that_of_the_binary_loss_as_scipy_finds_it(seed, true_temperature):
    logits, masks = drawn_masks(seed, true_temperature)
    found = fit_map_temperature([(logits.sigmoid(), masks)])

    def loss(temperature):
        return float(
            torch.nn.functional.binary_cross_entropy_with_logits(
                logits.double() / temperature, masks.double()
            )
        )

    oracle = minimize_scalar(loss, bounds=(0.05, 20), method="bounded").x
    assert found == pytest.approx(oracle, rel=2e-3)
    halves = [(logits.sigmoid()[:, rows], masks[:, rows].numpy()) for rows in (slice(9), slice(9, None))]
    assert fit_map_temperature(halves) == pytest.approx(found, rel=1e-6)


def test_scaled_maps_are_the_sigmoid_of_the_divided_logit_and_never_certain():
    logits = torch.linspace(-12, 12, 101, dtype=torch.float64).reshape(1, 101)
    np.testing.assert_allclose(
        scale_maps(logits.sigmoid(), 2.5).numpy(), (logits / 2.5).sigmoid().numpy(), rtol=1e-6
    )
    certain = torch.tensor([0.0, 0.5, 1.0])
    scaled = scale_maps(certain, 3.0)
    assert scaled.dtype == torch.float32
    # logit(1e-6) = -13.8155; a third of it is the logit of 0.0099.
    np.testing.assert_allclose(scaled.numpy(), [0.00990, 0.5, 0.99010], atol=1e-5)
    assert scale_maps(certain, 0.01).tolist() == pytest.approx([1e-6, 0.5, 1 - 1e-6])


def test_maps_beyond_their_range_and_masks_of_another_shape_are_refused():
    logits, masks = drawn_masks(0, 1.0)
    with pytest.raises(ValueRangeError, match=r"maps hold values -1 \.\. 0: they must lie in \[0, 1\]"):
        scale_maps(torch.tensor([-1.0, 0.0]), 1.0)
    with pytest.raises(ValueRangeError, match="maps hold values nan"):
        fit_map_temperature([(logits * math.nan, masks)])
    with pytest.raises(ShapeError, match="maps has shape"):
        fit_map_temperature([(logits.sigmoid(), masks[:2])])
    with pytest.raises(DTypeError, match="floating"):
        scale_maps(masks, 1.0)
    with pytest.raises(ValueRangeError, match="no voxel"):
        fit_map_temperature([])
