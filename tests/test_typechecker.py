"""``make test`` really checks shapes: a wrong one is caught where the hook is on."""

import pytest
import torch

from sfumato.decode import argmax_labels


def test_annotations_are_enforced_under_the_hook(request):
    if not request.config.getoption("--jaxtyping-packages"):
        pytest.skip("run without --jaxtyping-packages; make test turns it on")
    from jaxtyping import TypeCheckError

    with pytest.raises(TypeCheckError):
        argmax_labels("no tensor")
    assert argmax_labels(torch.zeros(2, 3, 4)).shape == (3, 4)
