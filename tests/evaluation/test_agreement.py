"""The agreement of raters, against a count by hand."""

import dataclasses
from pathlib import Path

import torch

from sfumato.data import Case, CaseFiles, Dataset
from sfumato.evaluation.agreement import agreement_rows, agreement_table


def dataset(raters, regions=None):
    names = {0: "background", 1: "cell"} if regions is None else {0: "background", 1: "rim", 2: "core"}
    masks = tuple(Path(rater) for rater in raters)
    files = tuple(CaseFiles(name, (), None, masks) for name in "xy")
    return Dataset("made-up", files, names, ("image",), Path(), regions, raters)


def case(name, *labels):
    stack = torch.tensor(labels)
    return Case(name, torch.zeros(1, *stack.shape[1:]), None, stack, (1.0, 1.0), None)


def table(data, cases):
    return agreement_table(agreement_rows(data, cases))


def test_mean_dice_with_the_others_is_that_counted_by_hand():
    # Dice: a-b 2*1/3, a-c 0, b-c 2*1/3.
    one = case("x", [[1, 0, 0]], [[1, 1, 0]], [[0, 1, 0]])
    lines = table(dataset(("a", "b", "c")), [one])
    assert [line["Dice with the others"] for line in lines] == ["0.333", "0.667", "0.333", "0.444"]
    assert [line["rater"] for line in lines] == ["a", "b", "c", "all raters"]


def test_mean_and_lowest_run_over_cases():
    same = case("x", [[1, 0]], [[1, 0]])
    apart = case("y", [[1, 0]], [[0, 1]])
    lines = table(dataset(("a", "b")), [same, apart])
    assert [(line["Dice with the others"], line["lowest"], line["cases"]) for line in lines] == [
        ("0.500", "0.000", 2)
    ] * 3


def test_overlapping_regions_are_structures():
    one = case("x", [[1, 2, 0]], [[2, 2, 0]])
    lines = table(dataset(("a", "b"), {"whole": (1, 2), "core": (2,)}), [one])
    found = {(line["structure"], line["rater"]): line["Dice with the others"] for line in lines}
    assert found["whole", "a"] == "1.000"
    assert found["core", "a"] == "0.667"


def test_runs_that_repeat_a_case_count_it_once():
    rows = agreement_rows(dataset(("a", "b", "c")), [case("x", [[1, 0, 0]], [[1, 1, 0]], [[0, 1, 0]])])
    twice = [*rows, *(dataclasses.replace(row, run="other", method="other") for row in rows)]
    assert agreement_table(twice) == agreement_table(rows)


def test_cases_with_one_rater_make_no_table():
    assert table(dataset(("a",)), [case("x", [[1, 0]])]) == ()


def test_raters_of_a_case_that_lacks_one_keep_their_own_names():
    data = dataset(("a", "b", "c"))
    masks = (Path("a"), Path("c"))
    data = dataclasses.replace(data, cases=(CaseFiles("x", (), None, masks, raters=(0, 2)),))
    lines = table(data, [case("x", [[1, 0]], [[1, 1]])])
    assert [line["rater"] for line in lines] == ["a", "c", "all raters"]
