"""Structures and target kinds: every rule checked against a value by hand."""

import pytest
import torch

from sfumato.errors import ValueRangeError
from sfumato.structures import CLASSES, REGIONS, SIGNED, TARGET_KINDS, Structures

NAMES = {0: "background", 1: "core", 2: "rim"}


def test_without_regions_every_foreground_label_is_a_structure():
    structures = Structures(NAMES)
    assert (structures.num_classes, structures.overlap) == (3, False)
    assert (structures.names, structures.values) == (("core", "rim"), ((1,), (2,)))


def test_regions_take_the_place_of_labels_and_may_share_them():
    structures = Structures(NAMES, {"whole": [1, 2], "core": [1]})
    assert (structures.names, structures.values) == (("whole", "core"), ((1, 2), (1,)))
    assert structures.overlap
    labels = torch.tensor([[0, 1, 2], [2, 1, 0]])
    assert structures.masks(labels).int().tolist() == [[[0, 1, 1], [1, 1, 0]], [[0, 1, 0], [0, 1, 0]]]
    soft = torch.tensor([[[0.5]], [[0.25]], [[0.25]]])
    assert structures.weights(soft).flatten().tolist() == [0.5, 0.25]


@pytest.mark.parametrize("regions", [{}, {"whole": ()}])
def test_no_region_or_an_empty_one_is_refused(regions):
    with pytest.raises(ValueRangeError, match="there is no region"):
        Structures(NAMES, regions)


def test_background_alone_is_refused():
    with pytest.raises(ValueRangeError, match="there is no region"):
        Structures.numbered(1)


@pytest.mark.parametrize("regions", [None, {"whole": (1, 2)}])
def test_plain_data_reads_back_equal(regions):
    structures = Structures(NAMES, regions)
    assert Structures.from_plain(structures.to_plain()) == structures


def test_channels_are_classes_or_structures():
    structures = Structures(NAMES, {"whole": (1, 2)})
    assert [kind.channels(structures) for kind in (CLASSES, REGIONS, SIGNED)] == [3, 1, 1]
    assert [kind.outside(3) for kind in (CLASSES, REGIONS, SIGNED)] == [[1, 0, 0], [0, 0, 0], [-1, -1, -1]]


def test_signed_maps_are_brought_to_the_unit_range_and_others_stay():
    values = torch.tensor([-1.0, -0.5, 0.0, 1.0])
    assert SIGNED.to_unit(values).tolist() == [0.0, 0.25, 0.5, 1.0]
    assert REGIONS.to_unit(values) is values


def test_maps_of_classes_are_the_sums_over_each_structures_labels():
    structures = Structures(NAMES, {"whole": (1, 2), "rim": (2,)})
    probs = torch.tensor([[0.2], [0.5], [0.3]])
    torch.testing.assert_close(CLASSES.maps(probs, structures), torch.tensor([[0.8], [0.3]]))
    signed = torch.tensor([[-3.0], [0.5]])
    assert SIGNED.maps(signed, structures).tolist() == [[0.0], [0.75]]


def test_probabilities_of_regions_leave_the_rest_to_the_background():
    assert REGIONS.probabilities(torch.tensor([[0.25], [0.5]])).tolist() == [[0.25], [0.25], [0.5]]
    crowded = SIGNED.probabilities(torch.tensor([[1.0], [1.0]]))
    assert crowded.tolist() == [[0.0], [0.5], [0.5]]
    probs = torch.rand(3, 2)
    assert CLASSES.probabilities(probs) is probs


def test_hard_targets_are_one_hot_or_rounded_at_the_middle_of_the_range():
    classes = torch.tensor([[0.4, 0.1], [0.4, 0.3], [0.2, 0.6]])
    assert CLASSES.hardened(classes).tolist() == [[1, 0], [0, 0], [0, 1]]
    assert REGIONS.hardened(torch.tensor([[0.49, 0.5, 1.0]])).tolist() == [[0, 1, 1]]
    assert SIGNED.hardened(torch.tensor([[-0.1, 0.0, 0.2]])).tolist() == [[-1, 1, 1]]


def test_kinds_are_known_by_the_names_that_files_hold():
    assert {name: kind.name for name, kind in TARGET_KINDS.items()} == {
        "classes": "classes",
        "regions": "regions",
        "signed": "signed",
    }
