import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato.data import CaseFiles, Dataset, explicit_splits, make_splits, read_splits, samples, write_splits
from sfumato.data.splits import Split, Splits, count_note
from sfumato.errors import (
    DataError,
    FileFormatError,
    OutputExistsError,
    UnknownNameError,
    ValueRangeError,
)


def _dataset(count, groups=None, reverse=False, centres=None):
    cases = [
        CaseFiles(
            f"c{number:03d}",
            (Path("i"),),
            None,
            group=groups and groups[number],
            centre=centres and centres[number],
        )
        for number in range(count)
    ]
    return Dataset("tiny", tuple(cases[::-1] if reverse else cases), {0: "b"}, ("i",), Path())


def _sizes(split):
    return len(split.train), len(split.val), len(split.test)


@given(
    st.integers(4, 60),
    st.sampled_from([(0.6, 0.2, 0.2), (0.7, 0.1, 0.2), (0.9, 0.0, 0.1)]),
    st.integers(0, 99),
)
def test_every_case_is_in_exactly_one_part_of_about_the_right_size(count, fractions, seed):
    dataset = _dataset(count)
    (split,) = make_splits(dataset, seed=seed, fractions=fractions).splits
    assert sorted(split.train + split.val + split.test) == list(dataset.names)
    for size, share in zip(_sizes(split), fractions, strict=True):
        assert abs(size - share * count) <= 1
        assert (size > 0) == (share > 0)


def test_the_seed_decides_and_the_order_of_the_files_does_not():
    first = make_splits(_dataset(30), seed=3)
    assert first == make_splits(_dataset(30, reverse=True), seed=3)
    assert first != make_splits(_dataset(30), seed=4)


def test_a_split_is_the_same_on_every_machine():
    split = make_splits(_dataset(6), seed=0, fractions=(0.5, 0.0, 0.5)).fold(0)
    # Written down once: a change of Python's shuffle would change every published split.
    assert split == Split(("c001", "c004", "c005"), (), ("c000", "c002", "c003"))


def test_counts_are_kept_to_the_case():
    dataset = _dataset(41)
    split = make_splits(dataset, seed=1, counts=(25, 7, 9)).fold(0)
    assert _sizes(split) == (25, 7, 9)
    assert count_note(dataset, (25, 7, 9)) is None
    assert count_note(dataset, None) is None


@given(st.integers(3, 80), st.integers(0, 99))
def test_counts_of_another_size_are_taken_in_proportion(count, seed):
    dataset = _dataset(count)
    (split,) = make_splits(dataset, seed=seed, counts=(235, 32, 68)).splits
    assert sum(_sizes(split)) == count
    for size, wanted in zip(_sizes(split), (235, 32, 68), strict=True):
        assert abs(size - count * wanted / 335) < 1 or count < 11
        assert size > 0
    note = count_note(dataset, (235, 32, 68))
    assert f"counts [235, 32, 68] sum to 335, but tiny has {count} cases" in note


def test_counts_divide_the_rest_of_a_fold():
    for split in make_splits(_dataset(30), seed=0, counts=(20, 4, 6), folds=5).splits:
        assert _sizes(split) == (20, 4, 6)


def test_counts_never_divide_a_patient():
    groups = [f"p{number // 4}" for number in range(20)]
    dataset = _dataset(20, groups)
    split = make_splits(dataset, seed=0, counts=(10, 5, 5)).fold(0)
    assert sorted(_sizes(split)) == [4, 4, 12]
    by_case = make_splits(dataset, seed=0, counts=(10, 5, 5), by="case").fold(0)
    assert _sizes(by_case) == (10, 5, 5)


def test_every_centre_is_tested_by_the_fold_of_its_place():
    centres = ["york", "bonn", "lyon", "oslo"]
    dataset = _dataset(40, centres=[centres[number % 4] for number in range(40)])
    at = {files.name: files.centre for files in dataset.cases}
    for seed in range(3):
        splits = make_splits(dataset, seed=seed, fractions=(0.5, 0.25, 0.25), by="centre").splits
        assert [{at[name] for name in split.test} for split in splits] == [
            {"bonn"},
            {"lyon"},
            {"oslo"},
            {"york"},
        ]
        for split in splits:
            train, val = ({at[name] for name in part} for part in (split.train, split.val))
            # Two centres, one, and one, as SoftSeg divides its four.
            assert (len(train), len(val)) == (2, 1)
            assert not train & val
            assert sorted(split.train + split.val + split.test) == list(dataset.names)
    assert make_splits(dataset, seed=0, by="centre", folds=4) == make_splits(dataset, seed=0, by="centre")


def test_the_seed_decides_which_centre_validates():
    dataset = _dataset(8, centres=[str(number % 4) for number in range(8)])
    found = {make_splits(dataset, seed=seed, by="centre").fold(0).val for seed in range(20)}
    assert len(found) == 3


def test_centres_that_cannot_be_split_by_are_named():
    dataset = _dataset(3, centres=["a", None, None])
    with pytest.raises(DataError) as caught:
        make_splits(dataset, seed=0, by="centre")
    assert [problem.split(" states")[0] for problem in caught.value.problems] == ["case c001", "case c002"]
    two = _dataset(4, centres=["a", "b"] * 2)
    with pytest.raises(ValueRangeError, match=r"folds is 3, but tiny has 2 centres \(a, b\)"):
        make_splits(two, seed=0, by="centre", folds=3)
    with pytest.raises(ValueRangeError, match="1 cases or groups cannot be divided into 2 parts"):
        make_splits(two, seed=0, by="centre")
    with pytest.raises(ValueRangeError, match=r"fold is 4, but there are 4 folds"):
        make_splits(_dataset(4, centres=list("abcd")), seed=0, by="centre").fold(4)


@given(st.integers(0, 99), st.integers(2, 5))
def test_groups_stay_together(seed, folds):
    groups = [f"p{number // 3}" if number < 18 else None for number in range(24)]
    dataset = _dataset(24, groups)
    by_name = dict(zip(dataset.names, groups, strict=True))
    splits = make_splits(dataset, seed=seed).splits + make_splits(dataset, seed=seed, folds=folds).splits
    for split in splits:
        parts = [{by_name[name] for name in part} - {None} for part in (split.train, split.val, split.test)]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]
        assert sum(_sizes(split)) == 24


def test_a_case_named_like_a_group_is_not_of_it():
    dataset = _dataset(4, ["c001", None, "c001", None])
    split = make_splits(dataset, seed=0, fractions=(0.5, 0.25, 0.25)).fold(0)
    assert _sizes(split) == (2, 1, 1)


@given(st.integers(5, 40), st.integers(2, 5), st.integers(0, 99))
def test_folds_test_every_case_once(count, folds, seed):
    splits = make_splits(_dataset(count), seed=seed, fractions=(0.75, 0.25, 0.0), folds=folds)
    assert len(splits.splits) == folds
    tested = [name for split in splits.splits for name in split.test]
    assert sorted(tested) == list(_dataset(count).names)
    sizes = [len(split.test) for split in splits.splits]
    assert max(sizes) - min(sizes) <= 1
    for split in splits.splits:
        assert sum(_sizes(split)) == count
        assert len(set(split.train + split.val + split.test)) == count
        assert abs(len(split.val) - 0.25 * (count - len(split.test))) <= 1


def test_impossible_splits_are_named():
    with pytest.raises(ValueRangeError, match=r"sum to 0\.9, not 1"):
        make_splits(_dataset(10), seed=0, fractions=(0.5, 0.2, 0.2))
    with pytest.raises(ValueRangeError, match="2 cases or groups cannot be divided into 3 parts"):
        make_splits(_dataset(2), seed=0)
    with pytest.raises(ValueRangeError, match=r"folds is 11: it must lie in 2 \.\. 10"):
        make_splits(_dataset(10), seed=0, folds=11)
    with pytest.raises(ValueRangeError, match="leave nothing to train on"):
        make_splits(_dataset(10), seed=0, fractions=(0.0, 0.0, 1.0), folds=2)
    with pytest.raises(ValueRangeError, match=r"counts is \(0, 0, 0\)"):
        make_splits(_dataset(10), seed=0, counts=(0, 0, 0))
    with pytest.raises(ValueRangeError, match="2 cases or groups cannot be divided into 3 parts"):
        make_splits(_dataset(2), seed=0, counts=(235, 32, 68))
    with pytest.raises(UnknownNameError, match="unknown unit of a split 'center'"):
        make_splits(_dataset(10), seed=0, by="center")
    with pytest.raises(ValueRangeError, match="fractions has 2 values"):
        make_splits(_dataset(10), seed=0, fractions=(0.5, 0.5))
    with pytest.raises(ValueRangeError, match="fold is 2, but there are 2 folds"):
        make_splits(_dataset(10), seed=0, folds=2).fold(2)


def test_splits_are_written_and_read_back(tmp_path):
    splits = make_splits(samples.dataset("hippocampus"), seed=7, folds=3)
    path = tmp_path / "splits.json"
    write_splits(splits, path)
    assert read_splits(path, samples.dataset("hippocampus")) == splits
    assert json.loads(path.read_text())["seed"] == 7
    with pytest.raises(OutputExistsError, match="exists already"):
        write_splits(splits, path)
    write_splits(splits, path, overwrite=True)


def test_lists_may_be_given(tmp_path):
    dataset = _dataset(4)
    splits = explicit_splits(dataset, train=["c000", "c001"], test=["c003"])
    assert splits == Splits(None, (Split(("c000", "c001"), (), ("c003",)),))
    path = tmp_path / "mine.json"
    path.write_text('{"train": ["c000", "c001"], "test": ["c003"]}')
    assert read_splits(path, dataset) == splits
    path.write_text('[{"train": ["c000"], "val": ["c001"]}, {"train": ["c001"], "val": ["c000"]}]')
    assert read_splits(path, dataset).fold(1) == Split(("c001",), ("c000",), ())


def test_unknown_and_doubled_names_are_all_listed(tmp_path):
    with pytest.raises(DataError) as caught:
        explicit_splits(_dataset(3), train=["c000", "c001", "c001"], val=["x"], test=["c000"])
    assert len(caught.value.problems) == 3
    path = tmp_path / "splits.json"
    path.write_text('{"train": ["c000", "y"]}')
    with pytest.raises(DataError, match="has no case y"):
        read_splits(path, _dataset(3))


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"folds": 3}', '{"splits": [1]}', '{"train": 5}'])
def test_what_is_no_split_file_is_refused(tmp_path, text):
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"splits .*splits\.json"):
        read_splits(tmp_path / "splits.json")


def test_a_missing_split_file_is_said(tmp_path):
    with pytest.raises(FileFormatError, match="does not exist"):
        read_splits(tmp_path / "splits.json")
