import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sfumato.errors import UnknownNameError, ValueRangeError
from sfumato.labels import one_hot, uniform
from strategies import label_maps


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@given(label_maps(), st.sampled_from((0.0, 0.1, 0.3, 1.0)), st.sampled_from(("all", "others")))
def test_the_annotated_class_keeps_what_the_scheme_says_and_the_sum_is_one(case, alpha, scheme):
    labels, num_classes, _ = case
    soft = uniform(labels, num_classes=num_classes, alpha=alpha, scheme=scheme)
    share = alpha / num_classes if scheme == "all" else alpha / (num_classes - 1)
    own = 1 - alpha + (share if scheme == "all" else 0.0)
    hard = one_hot(labels, num_classes=num_classes).bool()
    torch.testing.assert_close(soft[hard], torch.full_like(soft[hard], own))
    torch.testing.assert_close(soft[~hard], torch.full_like(soft[~hard], share))
    torch.testing.assert_close(soft.sum(0), torch.ones(labels.shape))


def test_all_classes_agrees_with_the_smoothing_inside_torch():
    logits, labels = torch.randn(1, 3, 4, 5), torch.randint(0, 3, (4, 5))
    theirs = torch.nn.functional.cross_entropy(logits, labels[None], label_smoothing=0.2)
    soft = uniform(labels, num_classes=3, alpha=0.2)
    torch.testing.assert_close(torch.nn.functional.cross_entropy(logits, soft[None]), theirs)


def test_alpha_zero_is_one_hot():
    labels = torch.tensor([[0, 1, 2]])
    for scheme in ("all", "others"):
        assert torch.equal(
            uniform(labels, num_classes=3, alpha=0.0, scheme=scheme), one_hot(labels, num_classes=3)
        )


def test_alpha_above_one_is_refused():
    with pytest.raises(ValueRangeError, match=r"alpha is 1\.5"):
        uniform(torch.tensor([0, 1]), num_classes=2, alpha=1.5)


def test_an_unknown_scheme_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'others'"):
        uniform(torch.tensor([0, 1]), num_classes=2, scheme="other")


def test_sharing_among_the_others_needs_two_classes():
    with pytest.raises(ValueRangeError, match="needs at least 2 classes"):
        uniform(torch.tensor([0, 0]), num_classes=1, scheme="others")
